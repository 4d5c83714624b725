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
    /// The file was written by a newer connector than this one.
    #[error(
        "the mail store has schema {found}, but this version reads and writes only up to {supported}; \
         start the newer connector that wrote it"
    )]
    NewerSchema {
        /// Schema number in the file.
        found: u32,
        /// Newest schema this version knows.
        supported: u32,
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
        matches!(self, Error::Database(rusqlite::Error::SqliteFailure(e, _)) if e.code == rusqlite::ErrorCode::DiskFull)
    }
}
