//! Steps 7 and 8: the cut-over, and the PC that was ready.

use anyhow::{Result, ensure};
use jiff::Timestamp;

use crate::{
    mail_client::MailClient,
    mail_rig::DOMAIN,
    programs::NEW,
    story::{
        narrator::Narrator,
        play::{SOON, World},
    },
};

impl World {
    pub(in crate::story) fn flip(&mut self, narrator: Narrator) -> Result<Timestamp> {
        narrator.step("7", "The cut-over");
        self.site.cut_over(NEW, narrator)
    }

    pub(in crate::story) fn after_the_flip(
        &mut self,
        flipped: Timestamp,
        narrator: Narrator,
    ) -> Result<[Timestamp; 3]> {
        let online = self.ready.wait_for_gate("online", NEW, SOON)?;
        narrator.step("8", "pc-ready moves by itself");
        let seconds = online.duration_since(flipped).as_secs_f64();
        narrator.say(&format!("Its connector is online again as {NEW} after {seconds:.2} s. Nobody typed a password."));
        ensure!(self.ready.active_version().as_deref() == Some(NEW), "{NEW} is active");
        let alice = self.ready.mail_program()?;
        let dave = format!("dave@{DOMAIN}");
        let to_dave = self.ledger.send(alice, &self.ready.user, &dave)?;
        MailClient::direct(&self.site.mail, &dave).wait_for("INBOX", &to_dave, SOON)?;
        let to_alice = self.ledger.send(&MailClient::direct(&self.site.mail, &dave), &dave, &self.ready.user)?;
        alice.wait_for("INBOX", &to_alice, SOON)?;
        narrator.say("Mail goes both ways.");
        let erin = self.reinstalls.wait_for_gate("online", NEW, SOON)?;
        let frank = self.admin.wait_for_gate("online", NEW, SOON)?;
        narrator.say("pc-reinstalls and pc-admin have moved just as silently: each has an updater by now.");
        Ok([online, erin, frank])
    }
}
