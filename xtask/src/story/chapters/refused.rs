//! Step 10: the administrator's password is refused, and the connector works offline.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{
    mail_client::MailClient,
    process::wait_until,
    programs::OLD,
    story::{
        narrator::Narrator,
        play::{SOON, World},
    },
};

/// What bob did while his connector was offline.
#[derive(Debug)]
pub struct Offline {
    /// The message that he wrote to alice.
    pub to_alice: String,
    /// The message that alice wrote to him meanwhile.
    pub to_bob: String,
}

/// Messages in bob's INBOX, each for one thing to happen to.
pub const NOTES: [&str; 5] = ["read it", "flag it", "move it", "delete it", "quarrel about it"];
/// A draft that both sides go on with.
pub const PLAN: &str = "first plan";
/// As [`PLAN`], as bob goes on with it on his PC.
pub const PLAN_HERE: &str = "second plan, of pc-refuses";
/// As [`PLAN`], as he goes on with it elsewhere.
pub const PLAN_THERE: &str = "second plan, of elsewhere";
/// A draft that bob begins offline.
pub const DRAFT: &str = "a draft of pc-refuses";

impl World {
    /// Before the move: fills bob's mailbox with things for something to happen to, and waits until they are on his PC.
    pub(in crate::story) fn fill_bobs_mailbox(&self) -> Result<()> {
        let alice = MailClient::direct(&self.site.mail, &self.ready.user);
        for subject in NOTES {
            alice.send(&self.refuses.user, subject, "Something will happen to this.")?;
        }
        let bob = self.refuses.mail_program()?;
        for subject in NOTES {
            bob.wait_for("INBOX", subject, SOON)?;
        }
        bob.save("Drafts", PLAN, "First thoughts.")?;
        MailClient::direct(&self.site.mail, &self.refuses.user).wait_for("Drafts", PLAN, SOON)
    }

    /// bob cancels the prompt for the administrator's password: offline mode.
    pub(in crate::story) fn refused(&mut self, narrator: Narrator) -> Result<Offline> {
        narrator.step("10", "pc-refuses: the administrator's password is refused");
        let bobs = &self.refuses;
        bobs.wait_for_gate("offline", OLD, SOON)?;
        let asked =
            wait_until("the prompt has been refused", SOON, || Ok(Some(bobs.times_asked()?).filter(|n| *n > 0)))
                .with_context(|| bobs.logs())?;
        let bob = bobs.mail_program()?.clone();
        let notice = wait_until("the local notice", SOON, || {
            Ok(bob.message_with("INBOX", "Lockstep")?.filter(|text| text.contains(self.site.webmail())))
        })
        .with_context(|| bobs.logs())?;
        narrator
            .say("sudo has asked for the administrator's password, and bob has cancelled. His connector is offline,");
        narrator.say("and a marked message on his PC says why, what to do, and where the WebMail is:");
        narrator.show("the message in INBOX", body_of(&notice));
        let alert = bob.greeting()?;
        ensure!(alert.contains("[ALERT]"), "no ALERT at login:\n{alert}");

        let quiet = self.site.mail.log().len();
        let offline = self.bob_works_offline(&bob)?;
        let log = self.site.mail.log();
        let talk = format!("user=<{}>", self.refuses.user);
        ensure!(!log[quiet..].contains(&talk), "something went to the mail server:\n{}", &log[quiet..]);
        ensure!(self.refuses.times_asked()? == asked, "bob was asked again");
        narrator
            .say("He reads, flags, moves into a new folder, deletes, drafts and sends. All of it is kept on the PC;");
        narrator.say("nothing goes to the mail server, nothing comes from it, and he is not asked again.");
        Ok(offline)
    }

    fn bob_works_offline(&mut self, bob: &MailClient) -> Result<Offline> {
        let [read, flag, moved, deleted, quarrel] = NOTES;
        ensure!(bob.message_with("INBOX", read)?.is_some(), "local mail is readable");
        bob.change("INBOX", flag, "UID STORE {} +FLAGS (\\Flagged)")?;
        bob.imap("INBOX", "CREATE Projects")?;
        bob.change("INBOX", moved, "UID MOVE {} Projects")?;
        bob.change("INBOX", deleted, "UID STORE {} +FLAGS (\\Deleted)")?;
        bob.imap("INBOX", "EXPUNGE")?;
        bob.change("INBOX", quarrel, "UID STORE {} +FLAGS (\\Flagged)")?;
        bob.save("Drafts", DRAFT, "Written without a connection.")?;
        bob.save("Drafts", PLAN_HERE, "Second thoughts, here.")?;
        bob.change("Drafts", PLAN, "UID STORE {} +FLAGS (\\Deleted)")?;
        bob.imap("Drafts", "EXPUNGE")?;
        let user = self.refuses.user.clone();
        let to_alice = self.ledger.send(bob, &user, &self.ready.user)?;
        // The same at the same time on the other side, which is up to a later chapter to bring together.
        let alice = self.ready.mail_program()?;
        let to_bob = self.ledger.send(alice, &self.ready.user, &user)?;
        // The status file follows the store at a short distance.
        wait_until("one message waits to be sent", SOON, || {
            Ok((self.refuses.status()?["outbox"].as_u64() == Some(1)).then_some(()))
        })?;
        ensure!(bob.count("Projects", moved)? == 1 && bob.count("INBOX", moved)? == 0, "it is moved here");
        ensure!(bob.count("INBOX", deleted)? == 0, "it is deleted here");
        ensure!(bob.count("Drafts", DRAFT)? == 1, "the draft is here");
        std::thread::sleep(Duration::from_secs(2));
        ensure!(bob.count("INBOX", &to_bob)? == 0, "nothing comes from the mail server");
        let alices = MailClient::direct(&self.site.mail, &self.ready.user);
        ensure!(alices.count("INBOX", &to_alice)? == 0, "nothing goes to the mail server");
        Ok(Offline { to_alice, to_bob })
    }
}

fn body_of(message: &str) -> &str {
    message.split_once("\r\n\r\n").map_or(message, |(_, body)| body)
}
