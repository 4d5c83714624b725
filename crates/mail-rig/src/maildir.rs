//! The stored messages themselves, without any server in between: how many copies of a message there really are, and
//! mail that has come by another way.
//!
//! Dovecot keeps a mailbox as Maildir++: the inbox is the folder itself, `Work/Old` is its subfolder `.Work.Old` (in
//! modified UTF-7, as in IMAP); a message is one file, and its flags are letters at the end of the name.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result, ensure};

use crate::{
    MailRig,
    account::MAIL_USER,
    process::{is_root, must},
};

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its file.
    pub path: PathBuf,
    /// Maildir's letters for its flags, in their order: `D`raft, `F`lagged, `R`eplied, `S`een, `T`rashed (deleted).
    pub flags: String,
    /// The message; its lines end as they were stored: by Dovecot with LF alone.
    pub text: Vec<u8>,
}

impl MailRig {
    /// Where a folder of an account is stored; `INBOX` is the account itself.
    pub fn maildir(&self, user: &str, folder: &str) -> PathBuf {
        let (name, domain) = user.split_once('@').unwrap_or((user, ""));
        let account = self.dir().join("mail").join(domain).join(name);
        if folder == "INBOX" { account } else { account.join(format!(".{}", folder.replace('/', "."))) }
    }

    /// Every message that a folder of an account holds, in no order; none if there is no such folder.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn stored(&self, user: &str, folder: &str) -> Result<Vec<Stored>> {
        let mut all = Vec::new();
        for sub in ["new", "cur"] {
            let dir = self.maildir(user, folder).join(sub);
            if !dir.exists() {
                continue;
            }
            for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let flags = name.split_once(":2,").map_or("", |(_, flags)| flags);
                let flags = flags.chars().filter(char::is_ascii_uppercase).collect();
                let text = fs::read(&path).with_context(|| path.display().to_string())?;
                all.push(Stored { path, flags, text });
            }
        }
        Ok(all)
    }

    /// The folders that an account has, the inbox first.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub fn stored_folders(&self, user: &str) -> Result<Vec<String>> {
        let account = self.maildir(user, "INBOX");
        let mut folders = Vec::new();
        if account.exists() {
            for entry in fs::read_dir(&account)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                folders.extend(name.strip_prefix('.').map(|name| name.replace('.', "/")));
            }
        }
        folders.sort();
        folders.insert(0, "INBOX".into());
        Ok(folders)
    }

    /// Puts a message into a folder of an account, unread, as a delivery program that writes into maildirs does;
    /// works while the mail server is off. Gives its file.
    ///
    /// # Errors
    /// When there is no such account, or the file cannot be written.
    pub fn deliver(&self, user: &str, folder: &str, message: &[u8]) -> Result<PathBuf> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        ensure!(self.setup.accounts.iter().any(|(name, _)| name == user), "no account {user}");
        let dir = self.maildir(user, folder);
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{seconds}.{number}P{}.rig", std::process::id());
        let (temporary, there) = (dir.join("tmp").join(&name), dir.join("new").join(&name));
        fs::write(&temporary, message).with_context(|| temporary.display().to_string())?;
        if is_root() {
            must(Command::new("chown").args(["-R", MAIL_USER]).arg(self.dir().join("mail")))?;
        }
        fs::rename(&temporary, &there)?;
        Ok(there)
    }
}
