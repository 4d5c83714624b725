//! Every message of the story: who sent it to whom, and whether it is there, exactly once.

use std::time::Duration;

use anyhow::Result;

use crate::{mail_client::MailClient, mail_rig::MailRig};

/// One message, known by its subject.
#[derive(Debug, Clone)]
struct Mail {
    from: String,
    to: String,
    subject: String,
}

/// All messages of the story.
#[derive(Debug, Default)]
pub struct Ledger {
    mails: Vec<Mail>,
}

impl Ledger {
    /// Sends a message with a subject of its own, and gives the subject.
    ///
    /// # Errors
    /// When it is not accepted.
    pub fn send(&mut self, with: &MailClient, from: &str, to: &str) -> Result<String> {
        let subject = self.note(from, to);
        with.send(to, &subject, &format!("From {from} to {to}."))?;
        Ok(subject)
    }

    /// Each of these people sends to the next, and everybody receives.
    ///
    /// # Errors
    /// When a message is not accepted, does not come within `limit`, or comes twice.
    pub fn circle(&mut self, people: &[(&str, &MailClient)], limit: Duration) -> Result<()> {
        let mut expected = Vec::new();
        for ((user, client), (next, receives)) in people.iter().zip(people.iter().cycle().skip(1)) {
            expected.push((receives, self.send(client, user, next)?));
        }
        expected.into_iter().try_for_each(|(client, subject)| client.wait_for("INBOX", &subject, limit))
    }

    /// Notes a message that is about to be sent in another way, and gives its subject.
    pub fn note(&mut self, from: &str, to: &str) -> String {
        let subject = format!("message {} of the story", self.mails.len() + 1);
        self.mails.push(Mail { from: from.into(), to: to.into(), subject: subject.clone() });
        subject
    }

    /// How many messages a user has sent.
    pub fn sent(&self, user: &str) -> usize {
        self.mails.iter().filter(|m| m.from == user).count()
    }

    /// The subjects of all messages for a user.
    pub fn subjects_to(&self, user: &str) -> Vec<String> {
        self.mails.iter().filter(|m| m.to == user).map(|m| m.subject.clone()).collect()
    }

    /// How many messages for a user are in the mailbox on the mail server exactly once, and how many are not.
    pub fn received_and_lost(&self, rig: &MailRig, user: &str) -> (usize, usize) {
        let mailbox = MailClient::direct(rig, user);
        let mine: Vec<&Mail> = self.mails.iter().filter(|m| m.to == user).collect();
        let there = |m: &&&Mail| mailbox.wait_for("INBOX", &m.subject, Duration::from_secs(10)).is_ok();
        let received = mine.iter().filter(there).count();
        (received, mine.len() - received)
    }
}
