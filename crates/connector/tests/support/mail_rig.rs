//! The real mail server with two accounts, and what a test asks it all the time: an error there ends the test.

use std::{
    fs,
    ops::{Deref, DerefMut},
    os::unix::fs::PermissionsExt,
};

use ::mail_rig::{MailClient, Setup};
use protocol::message::MailServer;

pub const ALICE: &str = "alice@example.test";
pub const BOB: &str = "bob@example.test";

/// A running mail server in a folder of its own, stopped and removed when it is dropped.
pub struct MailRig {
    rig: ::mail_rig::MailRig,
    // After the server, so that it is removed when nobody writes into it any more.
    _dir: tempfile::TempDir,
}

impl MailRig {
    pub fn start() -> Self {
        Self::with(|_| ())
    }

    /// With something changed in its configuration.
    pub fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let accounts = [(ALICE, "alice \"pw\" \\ é"), (BOB, "bob-pw")];
        let accounts = accounts.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let mut setup = Setup { version: "7.2.0".into(), accounts: accounts.into(), ..Setup::default() };
        setup.keep_one_of_each_submission();
        change(&mut setup);
        Self { rig: ::mail_rig::MailRig::with(&dir.path().join("mail"), setup).unwrap(), _dir: dir }
    }

    /// What the site's server says about it.
    pub fn mail_server(&self) -> MailServer {
        MailServer {
            imap: format!("localhost:{}", self.imaps),
            submission: format!("localhost:{}", self.submission),
            submission_starttls: true,
            certificate: Some(fs::read_to_string(self.certificate()).unwrap()),
            webmail: None,
        }
    }

    pub fn power_on(&mut self) {
        self.rig.power_on().unwrap();
    }

    /// Another mail program of the user: one IMAP command in a folder; gives the untagged answers.
    pub fn imap(&self, user: &str, folder: &str, command: &str) -> String {
        self.client(user).imap(folder, command).unwrap()
    }

    /// How many messages of the user's folder match.
    pub fn count(&self, user: &str, folder: &str, criteria: &str) -> usize {
        self.search(user, folder, criteria).len()
    }

    pub fn search(&self, user: &str, folder: &str, criteria: &str) -> Vec<String> {
        self.client(user).uids(folder, criteria).unwrap()
    }

    /// Another mail program puts a message into a folder.
    pub fn append(&self, user: &str, folder: &str, message: &[u8]) {
        self.client(user).append(folder, message).unwrap();
    }

    fn client(&self, user: &str) -> MailClient {
        MailClient::direct(self, user)
    }
}

impl Deref for MailRig {
    type Target = ::mail_rig::MailRig;

    fn deref(&self) -> &Self::Target {
        &self.rig
    }
}

impl DerefMut for MailRig {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.rig
    }
}
