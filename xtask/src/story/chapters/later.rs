//! Step 13: the updater is installed on pc-refuses after all.

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;

use super::refused::{DRAFT, NOTES, Offline, PLAN, PLAN_HERE, PLAN_THERE};
use crate::{
    mail_client::MailClient,
    process::wait_until,
    programs::NEW,
    story::{
        narrator::Narrator,
        play::{SOON, UPDATER, World},
    },
};

impl World {
    /// Everything that was kept arrives, exactly once.
    pub(in crate::story) fn later(&mut self, offline: &Offline, narrator: Narrator) -> Result<Timestamp> {
        narrator.step("13", "Later: the updater is installed on pc-refuses from the integration page");
        let [read, flag, moved, deleted, quarrel] = NOTES;
        let there = MailClient::direct(&self.site.mail, &self.refuses.user);
        // Meanwhile, from another mail program: the same message is deleted, the same draft is changed.
        there.change("INBOX", quarrel, "UID STORE {} +FLAGS (\\Deleted)")?;
        there.imap("INBOX", "EXPUNGE")?;
        there.save("Drafts", PLAN_THERE, "Second thoughts, elsewhere.")?;
        there.change("Drafts", PLAN, "UID STORE {} +FLAGS (\\Deleted)")?;
        there.imap("Drafts", "EXPUNGE")?;

        self.refuses.install_updater(&self.site, UPDATER)?;
        self.refuses.wait_for_connector(NEW)?;
        let online = self.refuses.wait_for_gate("online", NEW, SOON)?;
        let here = self.refuses.mail_program()?;
        MailClient::direct(&self.site.mail, &self.ready.user).wait_for("INBOX", &offline.to_alice, SOON)?;
        here.wait_for("INBOX", &offline.to_bob, SOON)?;
        let settled = || {
            let all = there.uids("INBOX", &format!("FLAGGED SUBJECT \"{flag}\""))?.len() == 1
                && there.count("Projects", moved)? == 1
                && there.count("INBOX", moved)? == 0
                && there.count("INBOX", deleted)? == 0
                && there.count("Drafts", DRAFT)? == 1;
            Ok(all.then_some(()))
        };
        wait_until("what bob did is on the server", SOON, settled).with_context(|| self.refuses.logs())?;
        ensure!(there.count("INBOX", read)? == 1, "the message that was only read is there once");
        narrator.say(&format!(
            "pc-refuses is {NEW} and online. The queued message has arrived exactly once, and every flag,"
        ));
        narrator.say("move, deletion, folder and draft is on the server.");

        for (side, name) in [(&there, "on the server"), (here, "on the PC")] {
            wait_until(&format!("both drafts {name}"), SOON, || {
                let both = side.count("Drafts", PLAN_HERE)? == 1 && side.count("Drafts", PLAN_THERE)? == 1;
                Ok(both.then_some(()))
            })?;
            ensure!(side.uids("Drafts", "ALL")?.len() == 3, "the old draft is gone {name}");
        }
        wait_until("the message deleted there is gone here", SOON, || {
            Ok((here.count("INBOX", quarrel)? == 0).then_some(()))
        })?;
        narrator.say(
            "The draft that was changed on both sides is there in both versions; the message that was flagged here",
        );
        narrator.say("and deleted there is deleted.");
        Ok(online)
    }
}
