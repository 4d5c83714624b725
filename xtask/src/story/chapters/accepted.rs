//! Step 12: the administrator's password is typed.

use anyhow::{Result, ensure};
use jiff::Timestamp;

use crate::{
    programs::NEW,
    story::{
        narrator::Narrator,
        play::{SOON, World},
    },
};

impl World {
    /// The verified copy is installed, the connector becomes one for the whole machine with its store, and is online.
    pub(in crate::story) fn accepted(&mut self, narrator: Narrator) -> Result<Timestamp> {
        narrator.step("12", "pc-accepts: the administrator's password is typed");
        self.accepts.updater_comes_with_the_connector()?;
        let online = self.accepts.wait_for_gate("online", NEW, SOON)?;
        ensure!(self.accepts.active_version().as_deref() == Some(NEW), "{NEW} is installed for the machine");
        let carol = self.accepts.mail_program()?;
        for subject in self.ledger.subjects_to(&self.accepts.user) {
            carol.wait_for("INBOX", &subject, SOON)?;
        }
        self.mail_in_a_circle(&["pc-ready", "pc-accepts"])?;
        narrator.say("The payload was copied to where only root can write, that copy was verified, and updater and");
        narrator.say(&format!("connector {NEW} were installed from it. The mailbox stayed; mail goes both ways."));
        Ok(online)
    }
}
