//! How the story ended, for each user.

use std::fmt::Write;

use anyhow::Result;

use super::ledger::Ledger;
use crate::{mail_client::MailClient, mail_rig::MailRig};

/// How long a user could not work with the mail server.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum CutOff {
    /// From the mail server's move to the connector being online again.
    Seconds(f64),
    /// It is not online again.
    #[default]
    Still,
    /// The PC was off at the move.
    WasOff,
}

/// One user on one PC.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// The mail account.
    pub user: String,
    /// The PC's name.
    pub pc: String,
    /// The connector's version and gate before the move.
    pub before: String,
    /// And after it.
    pub after: String,
    /// The mailbox on the mail server before the move, folder by folder.
    pub mailbox_before: String,
    /// And after everything.
    pub mailbox_after: String,
    /// How long the user was cut off.
    pub cut_off: CutOff,
    /// Messages that the user has sent.
    pub sent: usize,
    /// Messages for the user that are in the mailbox, exactly once each.
    pub received: usize,
    /// Messages for the user that are missing, or there twice.
    pub lost: usize,
}

impl Row {
    /// A user before the move, whose connector says this.
    ///
    /// # Errors
    /// When the mail server does not show the mailbox.
    pub(super) fn begun(user: &str, pc: &str, before: String, mail: &MailRig) -> Result<Self> {
        let mailbox_before = mailbox(mail, user)?;
        Ok(Self { user: user.into(), pc: pc.into(), before, mailbox_before, ..Self::default() })
    }

    /// What became of the user, whose connector says this now.
    ///
    /// # Errors
    /// As [`Row::begun`].
    pub(super) fn end(&mut self, after: String, mail: &MailRig, ledger: &Ledger) -> Result<()> {
        self.after = after;
        self.mailbox_after = mailbox(mail, &self.user)?;
        self.sent = ledger.sent(&self.user);
        (self.received, self.lost) = ledger.received_and_lost(mail, &self.user);
        Ok(())
    }
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// In the order of the story.
    pub rows: Vec<Row>,
    /// How often the updater was killed in the middle of an upgrade.
    pub kills: usize,
}

impl Outcome {
    /// The row of a PC.
    pub fn row(&self, pc: &str) -> Option<&Row> {
        self.rows.iter().find(|r| r.pc == pc)
    }

    /// Each mailbox before and after.
    pub fn mailboxes(&self) -> String {
        let head = ["user", "mailbox before", "mailbox after"].map(String::from);
        let body = self.rows.iter().map(|r| [r.user.clone(), r.mailbox_before.clone(), r.mailbox_after.clone()]);
        aligned(std::iter::once(head).chain(body).collect())
    }

    /// As a table.
    pub fn table(&self) -> String {
        let head = ["user", "PC", "before", "after", "cut off", "sent", "received", "lost"].map(String::from);
        let body = self.rows.iter().map(|r| {
            let cut_off = match r.cut_off {
                CutOff::Seconds(seconds) => format!("{seconds:.2} s"),
                CutOff::Still => "still".into(),
                CutOff::WasOff => "was off".into(),
            };
            [
                r.user.clone(),
                r.pc.clone(),
                r.before.clone(),
                r.after.clone(),
                cut_off,
                r.sent.to_string(),
                r.received.to_string(),
                r.lost.to_string(),
            ]
        });
        aligned(std::iter::once(head).chain(body).collect())
    }
}

/// What is in each folder of a user on the mail server.
fn mailbox(rig: &MailRig, user: &str) -> Result<String> {
    let mut folders = MailClient::direct(rig, user).folders()?;
    folders.retain(|(_, messages)| *messages > 0);
    folders.sort_by_key(|(name, _)| (name != "INBOX", name.clone()));
    Ok(folders.iter().map(|(name, messages)| format!("{name} {messages}")).collect::<Vec<_>>().join(", "))
}

/// Columns side by side.
fn aligned<const N: usize>(lines: Vec<[String; N]>) -> String {
    let widths: Vec<usize> = (0..N).map(|i| lines.iter().map(|l| l[i].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        for (cell, width) in line.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{cell:width$}  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_who_is_still_cut_off() {
        let row = |pc: &str, cut_off| Row { user: "a@b".into(), pc: pc.into(), cut_off, ..Row::default() };
        let rows = vec![row("pc-1", CutOff::Seconds(1.234)), row("pc-22", CutOff::Still)];
        let outcome = Outcome { rows, kills: 0 };
        let table = outcome.table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].contains("1.23 s"), "{table}");
        assert!(lines[2].contains("still"), "{table}");
    }
}
