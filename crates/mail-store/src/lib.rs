//! The connector's offline mailbox on SQLite.
//!
//! One [`Store`] is one user's mailbox on one PC. It is synchronous: the connector keeps it on a thread of its own.
//!
//! Two kinds of change meet here, and which is which decides whether the mail server still has to hear of it:
//!
//! * `Store::apply_remote_*` take over what the mail server says. Nothing is
//!   queued for it.
//! * Everything a mail program does through the local servers (`append`, `change_flags`, `copy`, `expunge`,
//!   `create_folder`, …) is written **together with** a row of the journal of pending changes, in one transaction, so
//!   that an acknowledged change can neither be lost nor be sent without being made.
//!
//! Durability: WAL with `synchronous = FULL`. When a method returns `Ok`, its effect survives a power cut
//! (invariant 6 of the design).
//!
//! Bodies are immutable, addressed by their SHA-256 and since schema 2 kept apart from the index, so that a schema migration
//! never rewrites them. The journal and the outbox are append-only, in a format that every later schema keeps. Versions
//! before can use a store that was migrated ([`Schema`]), so a rollback loses nothing.

mod bodies;
mod changes;
mod error;
mod flags;
mod folders;
mod header;
mod ids;
mod journal;
mod local;
mod local_folders;
mod messages;
mod migrate;
mod names;
mod outbox;
mod platform;
mod remote;
mod remote_folders;
mod schema;
mod search;
mod store;

pub use bodies::BodyId;
pub use changes::Changes;
pub use error::{Error, Result};
pub use flags::Flags;
pub use folders::{Folder, FolderStatus};
pub use ids::{FolderId, MessageId, OutboxId};
pub use journal::{Outcome, Pending, PendingOp, Place};
pub use local::FlagChange;
pub use messages::{FolderChanges, Message, UidMap};
pub use migrate::{Listener, Progress};
pub use names::{decode_utf7, encode_utf7, fold_inbox};
pub use outbox::{NewOutgoing, OutboxState, Outgoing};
pub use remote::{Delivered, KnownRemote, RemoteMessage};
pub use remote_folders::RemoteFolder;
pub use schema::Schema;
pub use search::SearchFields;
pub use store::Store;
