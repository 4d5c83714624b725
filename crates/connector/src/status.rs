//! What `lockstep-connector status` tells: the running connector keeps it in `status.json` in its data directory.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use protocol::message::Gate;
use serde::{Deserialize, Serialize};

use crate::{account::Account, installer::state::Installer};

/// How a connector stands. Times are RFC 3339 with milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Format version, 1.
    pub v: u32,
    /// Whether it runs now; what follows is its last word if it does not.
    #[serde(default)]
    pub running: bool,
    /// Its version.
    pub version: String,
    /// The mail account.
    pub user: String,
    /// Where the gate stands.
    pub gate: Gate,
    /// When the gate last changed.
    pub since: Timestamp,
    /// When it last became online.
    pub last_online_at: Option<Timestamp>,
    /// When it last ceased to be online.
    pub last_offline_at: Option<Timestamp>,
    /// What the user should know.
    pub notice: Option<String>,
    /// Whether there is an updater on this computer. `None`: not looked yet.
    #[serde(default)]
    pub updater: Option<bool>,
    /// How the installer stands, on a computer without an updater.
    #[serde(default)]
    pub installer: Option<Installer>,
    /// A change that the mail server does not take for now.
    pub problem: Option<String>,
    /// Messages that wait to be sent.
    pub outbox: u64,
    /// Messages that the mail server will never take.
    pub failed: u64,
    /// Changes that the mail server has not heard of yet.
    pub pending: u64,
    /// When all folders were last the same on both sides.
    pub last_sync: Option<Timestamp>,
    /// When the site's server last answered.
    pub last_check_in: Option<Timestamp>,
    /// Messages by folder.
    pub folders: BTreeMap<String, FolderCounts>,
    /// Where the local IMAP server listens on 127.0.0.1.
    pub imap_port: u16,
    /// Where the local submission server listens on 127.0.0.1.
    pub smtp_port: u16,
    /// Its process.
    pub pid: u32,
    /// How far the upgrade of the mailbox's database is, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<Migration>,
}

/// How far an upgrade of the mailbox's database is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// Which step, from 1.
    pub step: u32,
    /// Of how many.
    pub steps: u32,
    /// What it does, for people.
    pub what: String,
    /// Messages done in this step.
    pub done: u64,
    /// Of how many.
    pub total: u64,
}

/// A folder's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderCounts {
    /// All messages.
    pub messages: u32,
    /// Those not read yet.
    pub unseen: u32,
}

impl Status {
    /// Where it is kept.
    pub fn path(data: &Path) -> PathBuf {
        data.join("status.json")
    }

    /// The last one that was kept. `None` if there never was one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(data: &Path) -> std::io::Result<Option<Self>> {
        match std::fs::read(Self::path(data)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// How a connector stands that is just starting, or never has: `before` is its last word. It is offline from now on,
    /// also if it was online when it ended.
    pub fn at_start(account: &Account, version: &str, before: Option<&Self>, now: Timestamp) -> Self {
        let was_online = before.is_some_and(|before| before.gate == Gate::Online);
        Self {
            v: 1,
            running: false,
            version: version.into(),
            user: account.user.clone(),
            gate: Gate::Offline,
            since: now,
            last_online_at: before.and_then(|before| before.last_online_at),
            last_offline_at: if was_online { Some(now) } else { before.and_then(|before| before.last_offline_at) },
            notice: None,
            updater: None,
            installer: None,
            problem: None,
            outbox: before.map_or(0, |before| before.outbox),
            failed: before.map_or(0, |before| before.failed),
            pending: before.map_or(0, |before| before.pending),
            last_sync: before.and_then(|before| before.last_sync),
            last_check_in: before.and_then(|before| before.last_check_in),
            folders: before.map(|before| before.folders.clone()).unwrap_or_default(),
            imap_port: account.imap_port,
            smtp_port: account.smtp_port,
            pid: std::process::id(),
            migration: None,
        }
    }

    /// Keeps it.
    ///
    /// # Errors
    /// From the file system.
    pub fn save(&self, data: &Path) -> std::io::Result<()> {
        let (path, text) = (Self::path(data), serde_json::to_vec_pretty(self)?);
        match crate::files::replace_private_quickly(&path, &text) {
            // To say that the disk is full there must be room: the file has some.
            Err(e) if e.kind() == std::io::ErrorKind::StorageFull => crate::files::overwrite(&path, &text),
            other => other,
        }
    }

    /// For people.
    pub fn report(&self) -> String {
        let mut lines = Vec::new();
        let state = match (self.running, self.gate) {
            (false, _) => "not running",
            (true, Gate::Online) => "online",
            (true, Gate::Offline) => "offline",
            (true, Gate::Upgrading) => "upgrading",
        };
        lines.push(format!("lockstep-connector {} of {}: {state} since {:.0}", self.version, self.user, self.since));
        lines.extend(self.notice.clone().filter(|_| self.running));
        if let Some(Migration { step, steps, what, done, total }) = self.migration.as_ref().filter(|_| self.running) {
            lines.push(format!("Upgrading the mailbox, step {step} of {steps}: {what} ({done} of {total} messages)"));
        }
        if self.running && self.updater == Some(false) {
            lines.push("Updater: none on this computer, so an upgrade asks for the administrator's password".into());
        }
        if let Some(installer) = self.installer.as_ref().filter(|_| self.running) {
            let again = installer.next.map(|next| format!("; tried again on {next:.0}")).unwrap_or_default();
            lines.push(format!("Upgrade: {} ({:.0}){again}", installer.words(), installer.at));
        }
        lines.extend(self.problem.iter().map(|problem| format!("Not done yet: {problem}")));
        lines.push(format!(
            "Mail program: 127.0.0.1, IMAP port {}, SMTP port {}, user {}",
            self.imap_port, self.smtp_port, self.user
        ));
        let last = self.last_sync.map_or("not yet".to_owned(), |at| format!("{at:.0}"));
        lines.push(format!("Synchronised: {last}; {} changes wait", self.pending));
        lines.push(format!("Outgoing mail: {} waiting, {} not deliverable", self.outbox, self.failed));
        for (name, counts) in &self.folders {
            lines.push(format!("  {name}: {} messages, {} unread", counts.messages, counts.unseen));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_offline_whatever_the_run_before_was() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let account: Account = serde_json::from_str(
            r#"{"v":1,"user":"a@b","seat":"s","imap_port":1,"smtp_port":2,"mail":{"imap":"m:1","submission":"m:2"},"secrets":"file"}"#,
        )
        .unwrap();
        let never = Status::at_start(&account, "7.2.0", None, at(5));
        assert_eq!((never.gate, never.since, never.last_offline_at), (Gate::Offline, at(5), None));
        let mut online = never.clone();
        (online.gate, online.last_online_at) = (Gate::Online, Some(at(6)));
        let next = Status::at_start(&account, "7.3.0", Some(&online), at(9));
        assert_eq!((next.gate, next.last_online_at, next.last_offline_at), (Gate::Offline, Some(at(6)), Some(at(9))));
        // Cut off by the flip, before it was restarted: that moment counts.
        (online.gate, online.last_offline_at) = (Gate::Upgrading, Some(at(7)));
        assert_eq!(Status::at_start(&account, "7.3.0", Some(&online), at(9)).last_offline_at, Some(at(7)));
    }

    #[test]
    fn the_report_says_how_things_stand_and_why() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let status = Status {
            v: 1,
            running: true,
            version: "7.2.0".into(),
            user: "alice@example.test".into(),
            gate: Gate::Offline,
            since: at(1_700_000_000),
            last_online_at: Some(at(1_600_000_000)),
            last_offline_at: Some(at(1_700_000_000)),
            notice: Some("Offline: the mail server does not answer.".into()),
            updater: Some(false),
            installer: Some(Installer {
                stage: crate::installer::state::Stage::Refused,
                version: Some("7.3.0".parse().unwrap()),
                at: at(1_700_000_100),
                next: Some(at(1_700_086_500)),
                detail: Some("the prompt was dismissed".into()),
            }),
            problem: None,
            outbox: 2,
            failed: 0,
            pending: 3,
            last_sync: Some(at(1_699_999_000)),
            last_check_in: None,
            folders: [("INBOX".to_owned(), FolderCounts { messages: 10, unseen: 1 })].into(),
            imap_port: 1143,
            smtp_port: 1587,
            pid: 1,
            migration: None,
        };
        insta::assert_snapshot!("report", status.report());
        insta::assert_json_snapshot!("json", status);
        let data = tempfile::tempdir().unwrap();
        assert_eq!(Status::load(data.path()).unwrap(), None);
        status.save(data.path()).unwrap();
        assert_eq!(Status::load(data.path()).unwrap(), Some(status));
    }
}
