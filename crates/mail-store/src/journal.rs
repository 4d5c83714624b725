//! The journal of pending changes: what a mail program did here and the mail server has not heard of.
//!
//! Append-only: a row is never changed; that it is finished is another row. The operations are JSON with a tag, fields are
//! only added and keep their meaning, so that any version can replay what another one wrote, also after a rollback.
//!
//! Replay in the order of `seq`. Every operation can be repeated: `Append`, `Copy` and `Move` are done once their
//! `message` has a remote UID ([`Store::remote_uid`]), the others have the same effect twice.

use crate::store::Change;
use crate::{BodyId, Flags, FolderId, Message, MessageId, Result, Schema, Store};
use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};

/// A message as the mail server knew it when the change was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The message's row (or tombstone); ask [`Store::remote_uid`] for what is known of it by now.
    pub message: MessageId,
    /// Its folder's row.
    pub folder: FolderId,
    /// Its folder's name then.
    pub folder_name: String,
    /// The mail server's UIDVALIDITY then, if known.
    pub remote_uidvalidity: Option<u32>,
    /// The mail server's UID then, if known.
    pub remote_uid: Option<u32>,
}

/// One change to make on the mail server. Names are UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum PendingOp {
    /// Add and remove flags.
    Flags {
        /// Whose flags.
        place: Place,
        /// Flags to add, separated by spaces.
        add: String,
        /// Flags to remove, separated by spaces.
        remove: String,
    },
    /// Remove for good, whatever its flags are on the mail server.
    Expunge {
        /// What to remove.
        place: Place,
    },
    /// Upload a message.
    Append {
        /// The local row the upload belongs to.
        message: MessageId,
        /// Folder to upload to.
        folder: FolderId,
        /// Its name then.
        folder_name: String,
        /// Flags to give it, separated by spaces.
        flags: String,
        /// INTERNALDATE, Unix seconds.
        date: i64,
        /// The bytes ([`Store::body`]), as lower-case hexadecimal SHA-256.
        body: String,
    },
    /// Copy within the mail server. When the original is gone there, upload the body instead: no copy is lost.
    Copy {
        /// The original.
        from: Place,
        /// The local row of the copy.
        message: MessageId,
        /// Folder to copy to.
        folder: FolderId,
        /// Its name then.
        folder_name: String,
        /// Flags the copy had, separated by spaces.
        flags: String,
        /// INTERNALDATE, Unix seconds.
        date: i64,
        /// The bytes, as lower-case hexadecimal SHA-256.
        body: String,
    },
    /// Like `Copy`, and the original goes.
    Move {
        /// The original (locally a tombstone already).
        from: Place,
        /// The local row of the moved message.
        message: MessageId,
        /// Folder to move to.
        folder: FolderId,
        /// Its name then.
        folder_name: String,
        /// Flags it had, separated by spaces.
        flags: String,
        /// INTERNALDATE, Unix seconds.
        date: i64,
        /// The bytes, as lower-case hexadecimal SHA-256.
        body: String,
    },
    /// Create a folder.
    CreateFolder {
        /// Its local row.
        folder: FolderId,
        /// Name.
        name: String,
    },
    /// Rename a folder and with it those below it.
    RenameFolder {
        /// Its local row.
        folder: FolderId,
        /// Old name.
        from: String,
        /// New name.
        to: String,
    },
    /// Delete a folder with its messages (not those below it).
    DeleteFolder {
        /// Its local row, gone by now.
        folder: FolderId,
        /// Name.
        name: String,
    },
    /// Subscribe or unsubscribe.
    Subscribe {
        /// Its local row.
        folder: FolderId,
        /// Name.
        name: String,
        /// Whether subscribed.
        on: bool,
    },
    /// Written by a newer version. Leave it for that version: do not finish it.
    #[serde(other)]
    Unknown,
}

/// A journal row that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its place in the order; never used twice.
    pub seq: i64,
    /// When the user made the change, Unix seconds.
    pub at: i64,
    /// What to do.
    pub op: PendingOp,
}

/// How a pending change ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The mail server has it.
    Done,
    /// The mail server will never take it; says why, for the user.
    GivenUp(String),
}

impl Store {
    /// The unfinished changes in order, at most `limit`.
    pub fn pending(&self, limit: u32) -> Result<Vec<Pending>> {
        let mut statement = self.conn.prepare_cached(
            "SELECT seq, at, op FROM pending p WHERE NOT EXISTS (SELECT 1 FROM pending_done d WHERE d.seq = p.seq) \
             ORDER BY seq LIMIT ?1",
        )?;
        let rows = statement.query_map([limit], |r| Ok((r.get(0)?, r.get(1)?, r.get::<_, String>(2)?)))?;
        rows.map(|row| {
            let (seq, at, op) = row?;
            Ok(Pending { seq, at, op: serde_json::from_str(&op)? })
        })
        .collect()
    }

    /// How many changes are unfinished.
    pub fn pending_count(&self) -> Result<u64> {
        let count: i64 = self.conn.query_row(
            "SELECT (SELECT COUNT(*) FROM pending) - (SELECT COUNT(*) FROM pending_done)",
            [],
            |r| r.get(0),
        )?;
        Ok(count.max(0) as u64)
    }

    /// The UID by which the mail server knows a message, whether it is still here or only its tombstone.
    pub fn remote_uid(&self, message: MessageId) -> Result<Option<u32>> {
        remote_uid(&self.conn, self.schema, message)
    }

    /// Finishes one change, and records under which remote UIDs messages are now known, in one transaction.
    ///
    /// When another row of the folder already has such a UID (the message was pulled before this answer came), that row
    /// stays and the local one is buried.
    pub fn finish_pending(&mut self, seq: i64, outcome: &Outcome, placed: &[(MessageId, u32)], now: i64) -> Result<()> {
        self.change(|c| {
            for &(message, uid) in placed {
                c.place(message, uid, now)?;
            }
            c.finish(seq, outcome, now)
        })
    }
}

fn remote_uid(conn: &rusqlite::Connection, schema: Schema, message: MessageId) -> Result<Option<u32>> {
    let select = format!(
        "SELECT remote_uid FROM {} WHERE id = ?1 UNION ALL SELECT remote_uid FROM vanished WHERE message = ?1",
        schema.index()
    );
    Ok(conn.prepare_cached(&select)?.query_row([message], |r| r.get(0)).optional()?.flatten())
}

impl Change<'_> {
    pub(crate) fn record(&mut self, op: &PendingOp, now: i64) -> Result<()> {
        let (folder, message, target, body) = match op {
            PendingOp::Flags { place, .. } | PendingOp::Expunge { place } => {
                (Some(place.folder), Some(place.message), None, None)
            }
            PendingOp::Append { message, folder, body, .. } => (Some(*folder), None, Some(*message), Some(body)),
            PendingOp::Copy { from, message, folder, body, .. }
            | PendingOp::Move { from, message, folder, body, .. } => {
                (Some(*folder), Some(from.message), Some(*message), Some(body))
            }
            PendingOp::CreateFolder { folder, .. }
            | PendingOp::RenameFolder { folder, .. }
            | PendingOp::DeleteFolder { folder, .. }
            | PendingOp::Subscribe { folder, .. } => (Some(*folder), None, None, None),
            PendingOp::Unknown => (None, None, None, None),
        };
        let body = body.map(|b| b.parse::<BodyId>()).transpose()?;
        self.sql
            .prepare_cached(
                "INSERT INTO pending (at, op, folder, message, target, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((now, serde_json::to_string(op)?, folder, message, target, body))?;
        self.touched.pending = true;
        Ok(())
    }

    pub(crate) fn finish(&mut self, seq: i64, outcome: &Outcome, now: i64) -> Result<()> {
        let text = match outcome {
            Outcome::Done => "done",
            Outcome::GivenUp(reason) => reason,
        };
        self.sql
            .prepare_cached("INSERT OR IGNORE INTO pending_done (seq, at, outcome) VALUES (?1, ?2, ?3)")?
            .execute((seq, now, text))?;
        Ok(())
    }

    pub(crate) fn place_of(&self, message: &Message) -> Result<Place> {
        let folder = self.folder(message.folder)?;
        Ok(Place {
            message: message.id,
            folder: folder.id,
            folder_name: folder.name,
            remote_uidvalidity: folder.remote_uidvalidity,
            remote_uid: message.remote_uid,
        })
    }

    /// Records the remote UID of a message or of its tombstone.
    fn place(&mut self, id: MessageId, remote_uid: u32, now: i64) -> Result<()> {
        if let Some(message) = self.message(id)? {
            match self.message_by_remote_uid(message.folder, remote_uid)? {
                Some(other) if other.id != id => self.bury(&message, now)?,
                _ => self.set_remote_uid(id, Some(remote_uid))?,
            }
        } else {
            self.sql.execute("UPDATE vanished SET remote_uid = ?2 WHERE message = ?1", (id, remote_uid))?;
        }
        Ok(())
    }

    /// What the mail server's flags look like once the pending changes of this message have been replayed.
    pub(crate) fn with_pending_flags(&self, id: MessageId, server: &Flags) -> Result<Flags> {
        let mut statement = self.sql.prepare_cached(
            "SELECT op FROM pending p WHERE message = ?1 \
             AND NOT EXISTS (SELECT 1 FROM pending_done d WHERE d.seq = p.seq) ORDER BY seq",
        )?;
        let mut flags = server.clone();
        for op in statement.query_map([id], |r| r.get::<_, String>(0))? {
            if let PendingOp::Flags { add, remove, .. } = serde_json::from_str(&op?)? {
                flags = flags.minus(&Flags::parse(&remove)).plus(&Flags::parse(&add));
            }
        }
        Ok(flags)
    }

    /// Whether an unfinished change names this message as what it acts on or what it makes.
    pub(crate) fn is_pending(&self, id: MessageId) -> Result<bool> {
        Ok(self
            .sql
            .prepare_cached(
                "SELECT 1 FROM pending p WHERE (message = ?1 OR target = ?1) \
                 AND NOT EXISTS (SELECT 1 FROM pending_done d WHERE d.seq = p.seq)",
            )?
            .exists([id])?)
    }

    /// The unfinished changes of one folder, in order.
    pub(crate) fn pending_of_folder(&self, id: FolderId) -> Result<Vec<PendingOp>> {
        let mut statement = self.sql.prepare_cached(
            "SELECT op FROM pending p WHERE folder = ?1 \
             AND NOT EXISTS (SELECT 1 FROM pending_done d WHERE d.seq = p.seq) ORDER BY seq",
        )?;
        let ops = statement.query_map([id], |r| r.get::<_, String>(0))?;
        ops.map(|op| Ok(serde_json::from_str(&op?)?)).collect()
    }
}
