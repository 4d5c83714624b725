//! `remove`: takes the connector away from this account. Nothing stays but the user's mail, and that only goes when the user says so.
//!
//! | mishap | answer |
//! |---|---|
//! | a script, or a user who does not answer | the mail is kept |
//! | mail that exists nowhere else: not sent yet, changes that the mail server has not seen | it is not deleted, unless that is said as well ([`Mail::DeleteUnsent`]) |
//! | `--data` names a folder with other things in it | only files that are known to be the connector's go, the folder when nothing is left in it |
//! | another account is set up in the same folder later | `account.json`, which holds no secret, stays with the mail and says whose it is |
//! | the connector runs | it is asked to end, and nothing is touched before it has |

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use protocol::Version;

use crate::{
    account::{Account, AccountError},
    autostart,
    checkin::waiting,
    diagnostics,
    instance::{self, Instance, InstanceError},
    log_file, opening, platform, secrets,
    status::Status,
};

/// How long a running connector may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// What becomes of the mail on this computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mail {
    /// It stays, and a later `setup` of the same account goes on with it.
    Keep,
    /// It goes, if all of it is on the mail server too.
    Delete,
    /// It goes, also what exists nowhere else.
    DeleteUnsent,
}

/// Why the connector, or the mail, is still there.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// It runs and does not end.
    #[error(transparent)]
    Runs(#[from] InstanceError),
    /// There is nothing of ours.
    #[error("there is no connector's data in {0}")]
    Nothing(PathBuf),
    /// Mail would be lost.
    #[error(
        "nothing was removed: {outgoing} messages have not been sent and {changes} changes are not on the mail server yet. Let the connector go online first, or say --even-unsent as well"
    )]
    Unsent {
        /// Messages in the outbox.
        outgoing: u64,
        /// Changes to mail.
        changes: u64,
    },
    /// It cannot be seen whether mail would be lost.
    #[error(
        "nothing was removed: it cannot be seen whether all mail is on the mail server too; say --even-unsent to delete it all the same"
    )]
    Unknown(#[source] Box<mail_store::Error>),
    /// A file stays.
    #[error("cannot remove {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Whether the mail is still there.
    pub mail_is_kept: bool,
    /// What is left in the folder that is not known, by name.
    pub left: Vec<String>,
}

/// Removes: see the module's header. `version` is the program's own.
///
/// # Errors
/// [`RemovalError`]. What was not removed can be by another call.
pub async fn remove(data: &Path, version: &Version, mail: Mail) -> Result<Removed, RemovalError> {
    let store = opening::path(data);
    if !store.exists() && !Account::path(data).exists() {
        return Err(RemovalError::Nothing(data.into()));
    }
    let alone = stopped(data).await?;
    if mail == Mail::Delete {
        refuse_to_lose(data, version)?;
    }
    // First what is secret, and what would start it again.
    forget_secrets(data).await;
    if let Some(directory) = platform::autostart()
        && let Err(error) = autostart::remove(&directory)
    {
        tracing::warn!(%error, "what starts it when you log in is still there");
    }
    let mut gone = vec![
        data.join("secrets.json"),
        data.join("status.json"),
        data.join("installer"),
        data.join("installer.json"),
        data.join("installer.lock"),
        log_file::path(data),
        log_file::before(data),
        diagnostics::folder(data),
    ];
    if mail != Mail::Keep {
        // The index last: without it the rest is nothing, with it what is there can still be deleted.
        let beside = |ending: &str| data.join(format!("mail.sqlite{ending}"));
        gone.extend([beside("-journal"), beside("-shm"), beside("-wal"), store, Account::path(data)]);
    }
    for path in &gone {
        remove_whatever(path)?;
    }
    drop(alone);
    remove_whatever(&data.join("lock"))?;
    let known = ["account.json", "mail.sqlite", "mail.sqlite-wal", "mail.sqlite-shm"];
    let names =
        fs::read_dir(data).into_iter().flatten().flatten().map(|e| e.file_name().to_string_lossy().into_owned());
    let mut left: Vec<String> = names.filter(|name| mail != Mail::Keep || !known.contains(&name.as_str())).collect();
    left.sort();
    if mail != Mail::Keep && left.is_empty() {
        fs::remove_dir(data).map_err(|source| RemovalError::Io { path: data.into(), source })?;
    }
    Ok(Removed { mail_is_kept: mail == Mail::Keep, left })
}

/// Asks a connector that runs to end, and holds its place so that none starts meanwhile.
async fn stopped(data: &Path) -> Result<Instance, InstanceError> {
    if instance::is_running(data)?
        && let Ok(Some(status)) = Status::load(data)
    {
        tracing::info!(pid = status.pid, "the running connector is asked to end");
        if let Err(error) = platform::ask_to_stop(status.pid) {
            tracing::warn!(%error, "the running connector cannot be asked to end");
        }
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match Instance::acquire(data).await {
            Err(InstanceError::Running(_)) if tokio::time::Instant::now() < deadline => {}
            other => return other,
        }
    }
}

/// Refuses when something exists on this computer alone.
fn refuse_to_lose(data: &Path, version: &Version) -> Result<(), RemovalError> {
    let path = opening::path(data);
    if !path.exists() {
        return Ok(());
    }
    let unknown = |source| RemovalError::Unknown(Box::new(source));
    let store = mail_store::Store::open_limited(&path, opening::schema_of(version), &mut |_| {}).map_err(unknown)?;
    let outgoing = waiting(&store.outbox().map_err(unknown)?);
    let changes = store.pending_count().map_err(unknown)?;
    if outgoing == 0 && changes == 0 { Ok(()) } else { Err(RemovalError::Unsent { outgoing, changes }) }
}

async fn forget_secrets(data: &Path) {
    let account = match Account::load(data) {
        Ok(account) => account,
        Err(AccountError::NotSetUp) => return,
        Err(error) => return tracing::warn!(%error, "whose secrets are in the keyring is not known; they stay there"),
    };
    if account.secrets == secrets::Place::Keyring
        && let Err(error) = secrets::forget(&account.seat).await
    {
        tracing::warn!(%error, "the password of this account is still in the system's keyring");
    }
}

fn remove_whatever(path: &Path) -> Result<(), RemovalError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(RemovalError::Io { path: path.into(), source }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> Version {
        "7.3.0".parse().unwrap()
    }

    /// A data folder with a mailbox, and a file of somebody else's.
    fn data(unsent: bool) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut store = mail_store::Store::open(&opening::path(dir.path())).unwrap();
        if unsent {
            let recipients = ["bob@example.test".to_owned()];
            let new = mail_store::NewOutgoing {
                sender: "alice@example.test",
                recipients: &recipients,
                body8bit: false,
                smtputf8: false,
                message: b"Subject: x\r\n\r\nx\r\n",
            };
            store.queue(&new, 1_700_000_000).unwrap();
        }
        drop(store);
        for name in ["secrets.json", "status.json", "connector.log", "notes.txt"] {
            fs::write(dir.path().join(name), "{}").unwrap();
        }
        fs::create_dir_all(dir.path().join("installer/downloads")).unwrap();
        dir
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn what_is_not_mail_goes_and_the_mail_stays() {
        let dir = data(true);
        let removed = remove(dir.path(), &version(), Mail::Keep).await.unwrap();
        assert_eq!(removed, Removed { mail_is_kept: true, left: vec!["notes.txt".into()] });
        assert_eq!(names(dir.path()), ["mail.sqlite", "notes.txt"]);
        assert_eq!(mail_store::Store::open(&opening::path(dir.path())).unwrap().outbox().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn mail_that_is_nowhere_else_is_deleted_only_when_that_is_said() {
        let dir = data(true);
        let refused = remove(dir.path(), &version(), Mail::Delete).await.unwrap_err();
        assert!(matches!(refused, RemovalError::Unsent { outgoing: 1, changes: 0 }), "{refused}");
        assert!(dir.path().join("secrets.json").exists(), "nothing was touched");
        let removed = remove(dir.path(), &version(), Mail::DeleteUnsent).await.unwrap();
        assert_eq!((removed.mail_is_kept, removed.left), (false, vec!["notes.txt".to_owned()]));
        assert_eq!(names(dir.path()), ["notes.txt"], "what is not ours is left alone");
        assert!(matches!(remove(dir.path(), &version(), Mail::Delete).await, Err(RemovalError::Nothing(_))));
    }

    #[tokio::test]
    async fn with_all_mail_on_the_server_the_folder_goes_too_and_a_damaged_mailbox_is_not_taken_for_an_empty_one() {
        let dir = data(false);
        fs::remove_file(dir.path().join("notes.txt")).unwrap();
        let good = fs::read(opening::path(dir.path())).unwrap();
        fs::write(opening::path(dir.path()), "no database at all, whatever it was before").unwrap();
        let unknown = remove(dir.path(), &version(), Mail::Delete).await.unwrap_err();
        assert!(matches!(unknown, RemovalError::Unknown(_)), "{unknown}");
        fs::write(opening::path(dir.path()), good).unwrap();
        let removed = remove(dir.path(), &version(), Mail::Delete).await.unwrap();
        assert_eq!(removed, Removed { mail_is_kept: false, left: vec![] });
        assert!(!dir.path().exists());
    }
}
