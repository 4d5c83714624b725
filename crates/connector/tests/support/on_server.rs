//! What lies on the mail server, in its own files.

use std::{cell::RefCell, collections::BTreeMap};

use ::mail_rig::maildir::Stored;

use super::mail_rig::MailRig;

/// The flags of each message of a folder, by its subject.
type Messages = BTreeMap<String, Vec<String>>;

/// One look at it. Each folder is read once, when it is first asked for: after many rounds there are many messages in it.
pub struct OnServer<'a> {
    rig: &'a MailRig,
    /// By user and folder.
    folders: RefCell<BTreeMap<(String, String), Messages>>,
}

impl<'a> OnServer<'a> {
    pub fn of(rig: &'a MailRig) -> Self {
        Self { rig, folders: RefCell::default() }
    }

    /// The flags of every message with this subject.
    pub fn flags(&self, user: &str, folder: &str, label: &str) -> Vec<String> {
        let mut folders = self.folders.borrow_mut();
        let messages = folders.entry((user.into(), folder.into())).or_insert_with(|| {
            let mut messages = Messages::new();
            for message in stored(self.rig, user, folder) {
                messages.entry(subject(&message.text)).or_default().push(message.flags);
            }
            messages
        });
        messages.get(label).cloned().unwrap_or_default()
    }
}

/// A folder's messages; none where there is no such folder.
pub fn stored(rig: &MailRig, user: &str, folder: &str) -> Vec<Stored> {
    // A file may be renamed while they are read.
    (0..20).find_map(|_| rig.stored(user, folder).ok()).unwrap_or_default()
}

/// A message's subject.
pub fn subject(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default().trim().to_owned()
}
