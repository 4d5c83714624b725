//! The secrets of one account: in the system's keyring where there is one, else in a file that only the user can read.
//!
//! | attack | answer |
//! |---|---|
//! | another user reads the file | mode 0600 in a directory of mode 0700; written beside and renamed, so it is never open to others for a moment |
//! | a secret stays in the file after it went to the keyring | the file is removed |
//! | a keyring that hangs (a prompt that nobody sees) | it is asked on a thread of its own, and given up after [`PATIENCE`] |
//! | a keyring that forgets | what was written is read back before the file is not written |

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use keyring_core::{CredentialStore, Entry};
use serde::{Deserialize, Serialize};

use crate::{files, words::HERE};

/// How long the keyring may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The keyring's name for what belongs to this program.
const SERVICE: &str = "lockstep-connector";

/// What nobody else may know.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// Proves user and seat to the site's server.
    pub token: String,
    /// The mail account's password.
    pub mail_password: String,
    /// The password of the local servers, for the user's mail program.
    pub local_password: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// Where the secrets of an account are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the system's keyring.
    Keyring,
    /// In `secrets.json` in the data directory.
    File,
}

/// Why the secrets cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The keyring cannot be used.
    #[error("the system's keyring cannot be used; unlock it, or run again: {}", HERE.setup)]
    Keyring(#[source] keyring_core::Error),
    /// There is no keyring any more.
    #[error("the secrets are in the system's keyring, but there is none in this session; run again: {}", HERE.setup)]
    NoKeyring,
    /// The keyring did not answer.
    #[error("the system's keyring did not answer within {} s; unlock it, or run again: {}", PATIENCE.as_secs(), HERE.setup)]
    Silent,
    /// The file cannot be used.
    #[error("cannot use {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What was kept is damaged.
    #[error("the kept secrets are damaged; run again: {}", HERE.setup)]
    Damaged(#[source] serde_json::Error),
}

/// Keeps the secrets of the seat; gives where.
///
/// # Errors
/// [`SecretsError`] when neither the keyring nor the file can be used.
pub async fn save(data: &Path, seat: &str, secrets: &Secrets) -> Result<Place, SecretsError> {
    let text = serde_json::to_string(secrets).map_err(SecretsError::Damaged)?;
    let path = file(data);
    let io = |source| SecretsError::Io { path: path.clone(), source };
    match to_keyring(seat, text.clone()).await {
        Ok(()) => {
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(e)),
                _ => {}
            }
            return Ok(Place::Keyring);
        }
        Err(SecretsError::NoKeyring) => {}
        Err(error) => tracing::warn!(error = %chain(&error), "the secrets go to a file instead of the keyring"),
    }
    files::replace_private(&path, text.as_bytes()).map_err(io)?;
    Ok(Place::File)
}

/// Reads the secrets of the seat.
///
/// # Errors
/// [`SecretsError`].
pub async fn load(data: &Path, seat: &str, place: Place) -> Result<Secrets, SecretsError> {
    let text = match place {
        Place::Keyring => from_keyring(seat).await?,
        Place::File => {
            let path = file(data);
            std::fs::read(&path).map_err(|source| SecretsError::Io { path, source })?
        }
    };
    serde_json::from_slice(&text).map_err(SecretsError::Damaged)
}

/// Takes what is kept of the seat out of the system's keyring; good also when nothing is there.
///
/// # Errors
/// [`SecretsError`] when the keyring cannot be used.
pub async fn forget(seat: &str) -> Result<(), SecretsError> {
    let forgotten = with_keyring(seat, |entry| match entry.delete_credential() {
        Err(keyring_core::Error::NoEntry) => Ok(()),
        other => other,
    });
    match forgotten.await {
        Err(SecretsError::NoKeyring) => Ok(()),
        other => other,
    }
}

/// A new password for the local servers: 24 characters that are easy to type, 118 bits.
pub fn new_local_password() -> String {
    const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
    (0..24).map(|_| char::from(ALPHABET[rand::random_range(0..ALPHABET.len())])).collect()
}

fn file(data: &Path) -> PathBuf {
    data.join("secrets.json")
}

async fn to_keyring(seat: &str, text: String) -> Result<(), SecretsError> {
    with_keyring(seat, move |entry| {
        entry.set_password(&text)?;
        // Some keyrings take everything and keep nothing.
        if entry.get_password()? == text { Ok(()) } else { Err(keyring_core::Error::NoEntry) }
    })
    .await
}

async fn from_keyring(seat: &str) -> Result<Vec<u8>, SecretsError> {
    with_keyring(seat, |entry| entry.get_password().map(String::into_bytes)).await
}

/// Works on the seat's entry on a thread of its own, since the keyring blocks, and may block for ever.
async fn with_keyring<T: Send + 'static>(
    seat: &str,
    work: impl FnOnce(&Entry) -> keyring_core::Result<T> + Send + 'static,
) -> Result<T, SecretsError> {
    let seat = seat.to_owned();
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let done = crate::platform::system_keyring().map(|opened| {
            let store: Arc<CredentialStore> = opened?;
            let entry = store.build(SERVICE, &seat, None)?;
            work(&entry)
        });
        // Nobody waits any more when it took too long.
        let _ = tell.send(done);
    });
    match tokio::time::timeout(PATIENCE, told).await {
        Ok(Ok(Some(Ok(value)))) => Ok(value),
        Ok(Ok(Some(Err(error)))) => Err(SecretsError::Keyring(error)),
        Ok(Ok(None)) => Err(SecretsError::NoKeyring),
        Ok(Err(_)) | Err(_) => Err(SecretsError::Silent),
    }
}

fn chain(error: &SecretsError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_passwords_are_long_and_never_the_same() {
        let (one, two) = (new_local_password(), new_local_password());
        assert_eq!(one.len(), 24);
        assert_ne!(one, two);
    }

    #[test]
    fn printed_secrets_show_nothing() {
        let secrets = Secrets { token: "t0k3n".into(), mail_password: "p4ss".into(), local_password: "l0cal".into() };
        assert_eq!(format!("{secrets:?}"), "Secrets(…)");
    }
}
