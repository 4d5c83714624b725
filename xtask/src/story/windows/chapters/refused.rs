//! Steps 10, 11, 13 and 9: the prompt is answered with no, nobody else is blocked; later the page's package is installed, and the power fails.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;

use crate::{
    mail_client::MailClient,
    process::wait_until,
    programs::{NEW, OLD},
    story::{
        narrator::Narrator,
        windows::play::{SOON, World},
    },
};

/// What was written while bob's connector was offline.
#[derive(Debug)]
pub(in crate::story::windows) struct Offline {
    to_alice: String,
    to_bob: String,
}

impl World {
    /// bob answers the prompt with no: offline mode.
    pub(in crate::story::windows) fn refused(&mut self, narrator: Narrator) -> Result<Offline> {
        narrator.step("10", "WIN-REFUSES: the prompt is answered with no");
        let bobs = &self.refuses;
        bobs.wait_for_gate("offline", OLD, SOON)?;
        let stage = || Ok((bobs.status()?["installer"]["stage"] == "refused").then_some(()));
        wait_until("the prompt has been answered with no", SOON, stage).with_context(|| bobs.logs())?;
        bobs.was_asked_properly()?;
        let asked = bobs.pc.asked()?.len();
        let words = bobs.status()?["installer"]["detail"].as_str().unwrap_or_default().to_owned();
        ensure!(words == "the prompt was answered with no", "the connector says {words:?}");
        let bob = bobs.mail_program()?.clone();
        let notice = wait_until("the local notice", SOON, || {
            Ok(bob.message_with("INBOX", "Lockstep")?.filter(|text| text.contains(self.site.webmail())))
        })
        .with_context(|| bobs.logs())?;
        narrator.say("First the connector's own question said why; then Windows asked for an administrator's permission, and bob");
        narrator.say("answered with no (error 1223). His connector is offline, and a marked message in his INBOX says what to do:");
        narrator.show("the message in INBOX", notice.split_once("\r\n\r\n").map_or(&*notice, |(_, body)| body));
        let alert = bob.greeting()?;
        ensure!(alert.contains("[ALERT]"), "no ALERT at login:\n{alert}");
        ensure!(!bobs.has_updater(), "nothing was installed");

        for subject in self.ledger.subjects_to(&self.refuses.user) {
            ensure!(bob.count("INBOX", &subject)? == 1, "local mail is readable: {subject}");
        }
        let (bobs, alices) = (self.refuses.user.clone(), self.ready.user.clone());
        let to_alice = self.ledger.send(&bob, &bobs, &alices)?;
        let to_bob = self.ledger.send(self.ready.mail_program()?, &alices, &bobs)?;
        // The status file follows the store at a short distance.
        wait_until("one message waits to be sent", SOON, || {
            Ok((self.refuses.status()?["outbox"].as_u64() == Some(1)).then_some(()))
        })?;
        std::thread::sleep(Duration::from_secs(2));
        ensure!(bob.count("INBOX", &to_bob)? == 0, "nothing comes from the mail server");
        ensure!(MailClient::direct(&self.site.mail, &alices).count("INBOX", &to_alice)? == 0, "nothing goes to it");
        ensure!(self.refuses.pc.asked()?.len() == asked, "bob was asked again");
        narrator.say(
            "He reads and writes; nothing goes to the mail server, nothing comes from it, and he is not asked again.",
        );
        Ok(Offline { to_alice, to_bob })
    }

    /// Nothing but the outdated connector is blocked, and the administrator sees whose that is.
    pub(in crate::story::windows) fn nobody_else_is_blocked(&self, narrator: Narrator) -> Result<()> {
        narrator.step("11", "Nobody else is blocked, and the server knows who is");
        ensure!(MailClient::direct(&self.site.mail, &self.refuses.user).can_log_in(), "another mail program of bob's");
        let printed = self.site.must_lockstep(&["warn", "--now"])?;
        let named: Vec<&str> = printed.lines().filter_map(|l| l.split_once("User ").map(|(_, rest)| rest)).collect();
        let cut_off = [&self.refuses.user, &self.accepts.user];
        let expected = cut_off.map(|user| format!("{user} does not have installed Lockstep Updater."));
        ensure!(named == expected, "the report names {named:?}");
        let cut_off = || {
            let rows = self.site.readiness(NEW)?;
            let cut: Vec<&str> = rows.iter().filter(|(_, r, _)| r == "cut-off").map(|(user, ..)| &**user).collect();
            Ok((cut == [&*self.refuses.user, &*self.accepts.user]).then_some(()))
        };
        wait_until("bob and carol are cut off", SOON, cut_off)?;
        narrator
            .say("bob's other mail programs go on. The report and the preflight name him and carol, and nobody else:");
        narrator.show("lockstep warn --now", &printed);
        Ok(())
    }

    /// An administrator installs the connector again from the integration page after all; everything that was kept arrives, exactly once.
    pub(in crate::story::windows) fn later(&mut self, offline: &Offline, narrator: Narrator) -> Result<Timestamp> {
        narrator.step("13", "Later: an administrator installs the page's package on WIN-REFUSES");
        let download = self.refuses.download(&self.site, NEW)?;
        // As by a double click: nothing is said, and the site's files lie beside it.
        self.refuses.install(&download, NEW, &[])?;
        self.refuses.wait_for_connector(NEW)?;
        let online = self.refuses.wait_for_gate("online", NEW, SOON)?;
        MailClient::direct(&self.site.mail, &self.ready.user).wait_for("INBOX", &offline.to_alice, SOON)?;
        self.refuses.mail_program()?.wait_for("INBOX", &offline.to_bob, SOON)?;
        self.mail_in_a_circle(&["WIN-READY", "WIN-REFUSES"])?;
        narrator.say(&format!(
            "The page's MSI knew the site from the file beside it; connector {NEW} goes on with bob's mailbox and is online. What had waited"
        ));
        narrator.say("was sent, and what was written to him is there: each exactly once.");
        Ok(online)
    }

    /// The power of each PC fails; after it Windows starts service and connector by itself.
    pub(in crate::story::windows) fn power_cut(&mut self, narrator: Narrator) -> Result<usize> {
        narrator.step("9, 14", "The power fails, and comes back");
        for pc in [&mut self.refuses, &mut self.accepts] {
            let before = pc.status()?["pid"].clone();
            pc.power_cut()?;
            let again = || Ok((pc.status()?["pid"] != before).then_some(()));
            wait_until(&format!("{}: the connector starts at sign-in", pc.name), SOON, again)
                .with_context(|| pc.logs())?;
            pc.wait_for_gate("online", NEW, SOON)?;
            wait_until("the service answers", SOON, || Ok(pc.updater_status().ok())).with_context(|| pc.logs())?;
        }
        self.mail_in_a_circle(&["WIN-REFUSES", "WIN-ACCEPTS"])?;
        narrator
            .say("Windows starts the service, and at sign-in the connector; both are online, and mail goes both ways.");
        Ok(2)
    }
}
