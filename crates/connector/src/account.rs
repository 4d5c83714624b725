//! The account on this PC: who the user is, which seat this is, and where the local servers listen. No secrets.

use std::path::{Path, PathBuf};

use protocol::message::MailServer;
use serde::{Deserialize, Serialize};

use crate::{files, secrets::Place, words::HERE};

/// `account.json` in the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Format version, 1.
    pub v: u32,
    /// The mail account.
    pub user: String,
    /// A random id for this user on this PC.
    pub seat: String,
    /// Where the local IMAP server listens on 127.0.0.1.
    pub imap_port: u16,
    /// Where the local submission server listens on 127.0.0.1.
    pub smtp_port: u16,
    /// Where the mail is, as the site's server said last.
    pub mail: MailServer,
    /// Where the secrets are.
    pub secrets: Place,
    /// The command that gets the administrator's rights, with its arguments. `None`: the machine's, or the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elevation: Option<Vec<String>>,
}

/// Why there is no account.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// It was never set up.
    #[error("this connector is not set up yet; run: {}", if cfg!(windows) { HERE.setup } else { "lockstep-connector setup --user YOU@YOUR.DOMAIN" })]
    NotSetUp,
    /// The file cannot be read or written.
    #[error("cannot use {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is damaged.
    #[error("{path} is damaged; run again: {}", HERE.setup)]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl Account {
    /// Where it is kept.
    pub fn path(data: &Path) -> PathBuf {
        data.join("account.json")
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn load(data: &Path) -> Result<Self, AccountError> {
        let path = Self::path(data);
        let text = std::fs::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => AccountError::NotSetUp,
            _ => AccountError::Io { path: path.clone(), source },
        })?;
        serde_json::from_slice(&text).map_err(|source| AccountError::Damaged { path, source })
    }

    /// Writes it, whole or not at all; only its owner can read it.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn save(&self, data: &Path) -> Result<(), AccountError> {
        let path = Self::path(data);
        let text =
            serde_json::to_vec_pretty(self).map_err(|source| AccountError::Damaged { path: path.clone(), source })?;
        files::replace_private(&path, &text).map_err(|source| AccountError::Io { path, source })
    }
}

/// A new random seat id.
pub fn new_seat() -> String {
    rand::random::<[u8; 16]>().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_and_private() {
        let data = tempfile::tempdir().unwrap();
        assert!(matches!(Account::load(data.path()), Err(AccountError::NotSetUp)));
        let account = Account {
            v: 1,
            user: "alice@example.test".into(),
            seat: new_seat(),
            imap_port: 1143,
            smtp_port: 1587,
            mail: MailServer {
                imap: "mail:993".into(),
                submission: "mail:587".into(),
                submission_starttls: true,
                certificate: None,
                webmail: None,
            },
            secrets: Place::File,
            elevation: Some(vec!["sudo".into(), "-A".into()]),
        };
        account.save(data.path()).unwrap();
        account.save(data.path()).unwrap();
        assert_eq!(Account::load(data.path()).unwrap(), account);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(Account::path(data.path())).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::write(Account::path(data.path()), "{").unwrap();
        assert!(matches!(Account::load(data.path()), Err(AccountError::Damaged { .. })));
    }
}
