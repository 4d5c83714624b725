//! What can go wrong in the store, in words a user or an administrator can act on.

use crate::{FolderId, MessageId};

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the store did not do what it was asked to. After any error the transaction has been rolled back: nothing of the
/// change was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite failed: disk full, disk error, damaged or locked file.
    #[error("the mail store's database failed")]
    Database(#[from] rusqlite::Error),
    /// The file was written by a newer connector than this one, and changed in a way that this one cannot read.
    #[error(
        "the mail store has schema {found}, which versions from schema {readable_from} on can use, but this version knows \
         only up to {supported}; nothing was changed in it: install the newer connector again"
    )]
    NewerSchema {
        /// Schema number in the file.
        found: u32,
        /// The oldest schema whose programs can use the file.
        readable_from: u32,
        /// Newest schema this version knows.
        supported: u32,
    },
    /// The disk is too full for a step of the migration. The store is as it was before the step, and usable.
    #[error(
        "the mail store in {path} cannot be upgraded: this needs about {} more on the disk{}. Mail goes on as before; free \
         some space and start the connector again",
        megabytes(*needed),
        free.map(|free| format!(", where {} are free", megabytes(free))).unwrap_or_default()
    )]
    NoRoom {
        /// The store.
        path: std::path::PathBuf,
        /// Bytes that the step needs, estimated from the number of messages.
        needed: u64,
        /// Bytes free on the disk, where the system tells.
        free: Option<u64>,
    },
    /// The file is a database, but of something else.
    #[error("{0} is not a Lockstep mail store")]
    NotAStore(std::path::PathBuf),
    /// No folder with this id, or it has been deleted.
    #[error("there is no such folder (id {0})")]
    NoSuchFolder(FolderId),
    /// No message with this id, or it has been deleted.
    #[error("there is no such message (id {0})")]
    NoSuchMessage(MessageId),
    /// A folder of that name exists already.
    #[error("a folder named \"{0}\" exists already")]
    FolderExists(String),
    /// Empty, too long, with control characters, or with empty parts between delimiters.
    #[error("\"{0}\" cannot be the name of a folder")]
    BadFolderName(String),
    /// INBOX cannot be deleted, created or overwritten.
    #[error("INBOX always exists and cannot be deleted")]
    InboxIsFixed,
    /// A row does not hold what this version wrote there; the store may be damaged.
    #[error("the mail store holds something unreadable: {0}")]
    Damaged(String),
    /// The folder has handed out all 2^32 - 1 UIDs.
    #[error("the folder has no message numbers left")]
    OutOfUids,
}

impl Error {
    /// Whether the disk (or quota) is full, so that freeing space helps.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Error::NoRoom { .. } => true,
            Error::Database(rusqlite::Error::SqliteFailure(e, _)) => {
                // The index of the log (-shm) could not be made longer.
                e.code == rusqlite::ErrorCode::DiskFull || e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
            }
            _ => false,
        }
    }
}

/// For people: whole megabytes, at least one.
fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000).max(1))
}
