//! Messages: reading them, and the rows a change makes and buries.

use crate::store::{Change, unsigned};
use crate::{BodyId, Error, Flags, FolderId, MessageId, Result, Store};
use rusqlite::{Connection, OptionalExtension, Row};

/// One message in one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Row id.
    pub id: MessageId,
    /// The folder it is in.
    pub folder: FolderId,
    /// UID at the local IMAP server, 1 to 2^32 - 1.
    pub uid: u32,
    /// UID at the mail server; `None` while it is not known to be there.
    pub remote_uid: Option<u32>,
    /// A notice of Lockstep itself, which never goes to the mail server.
    pub local_only: bool,
    /// Flags as the user sees them: the mail server's with pending changes over them.
    pub flags: Flags,
    /// INTERNALDATE, Unix seconds.
    pub date: i64,
    /// Bytes of the whole message.
    pub size: u64,
    /// MODSEQ of the last change at the local IMAP server.
    pub modseq: u64,
    /// Where the message's bytes are.
    pub body: BodyId,
}

/// What happened in a folder after a given MODSEQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderChanges {
    /// New and changed messages, by UID.
    pub changed: Vec<Message>,
    /// UIDs that went, ascending. May name UIDs that came and went in between.
    pub vanished: Vec<u32>,
    /// The folder's highest MODSEQ now: ask again from here.
    pub modseq: u64,
}

/// One copied or moved message: its UID before and the UID of the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UidMap {
    /// UID in the folder it came from.
    pub from: u32,
    /// UID in the folder it went to.
    pub to: u32,
}

const COLUMNS: &str = "id, folder, uid, remote_uid, local_only, flags, date, size, modseq, body";

fn read(row: &Row) -> rusqlite::Result<Message> {
    Ok(Message {
        id: row.get("id")?,
        folder: row.get("folder")?,
        uid: row.get("uid")?,
        remote_uid: row.get("remote_uid")?,
        local_only: row.get("local_only")?,
        flags: Flags::parse(row.get_ref("flags")?.as_str()?),
        date: row.get("date")?,
        size: unsigned(row, "size")?,
        modseq: unsigned(row, "modseq")?,
        body: row.get("body")?,
    })
}

pub(crate) fn in_folder(conn: &Connection, folder: FolderId) -> Result<Vec<Message>> {
    let mut statement =
        conn.prepare_cached(&format!("SELECT {COLUMNS} FROM messages WHERE folder = ?1 ORDER BY uid"))?;
    Ok(statement.query_map([folder], read)?.collect::<rusqlite::Result<_>>()?)
}

fn by_uid(conn: &Connection, folder: FolderId, uid: u32) -> Result<Option<Message>> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM messages WHERE folder = ?1 AND uid = ?2"))?
        .query_row((folder, uid), read)
        .optional()?)
}

fn by_id(conn: &Connection, id: MessageId) -> Result<Option<Message>> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM messages WHERE id = ?1"))?
        .query_row([id], read)
        .optional()?)
}

impl Store {
    /// All messages of a folder, by UID.
    pub fn messages(&self, folder: FolderId) -> Result<Vec<Message>> {
        in_folder(&self.conn, folder)
    }

    /// The messages with these UIDs, in this order; UIDs that are not there are left out.
    pub fn messages_by_uid(&self, folder: FolderId, uids: &[u32]) -> Result<Vec<Message>> {
        let found = uids.iter().map(|&uid| by_uid(&self.conn, folder, uid));
        found.filter_map(Result::transpose).collect()
    }

    /// One message; [`Error::NoSuchMessage`] if it is gone.
    pub fn message(&self, id: MessageId) -> Result<Message> {
        by_id(&self.conn, id)?.ok_or(Error::NoSuchMessage(id))
    }

    /// What changed in a folder after `modseq` (0: everything). [`Error::NoSuchFolder`] if it was deleted.
    pub fn changes_since(&self, folder: FolderId, modseq: u64) -> Result<FolderChanges> {
        let now = self.folder(folder)?.modseq;
        let since = i64::try_from(modseq).unwrap_or(i64::MAX);
        let mut changed = self.conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM messages WHERE folder = ?1 AND modseq > ?2 ORDER BY uid"
        ))?;
        let mut vanished =
            self.conn.prepare_cached("SELECT uid FROM vanished WHERE folder = ?1 AND modseq > ?2 ORDER BY uid")?;
        Ok(FolderChanges {
            changed: changed.query_map((folder, since), read)?.collect::<rusqlite::Result<_>>()?,
            vanished: vanished.query_map((folder, since), |r| r.get(0))?.collect::<rusqlite::Result<_>>()?,
            modseq: now,
        })
    }
}

/// What a new message row starts with.
pub(crate) struct NewMessage<'a> {
    pub(crate) folder: FolderId,
    pub(crate) remote_uid: Option<u32>,
    pub(crate) local_only: bool,
    pub(crate) flags: &'a Flags,
    pub(crate) date: i64,
    pub(crate) body: BodyId,
}

impl Change<'_> {
    pub(crate) fn message(&self, id: MessageId) -> Result<Option<Message>> {
        by_id(&self.sql, id)
    }

    pub(crate) fn message_by_uid(&self, folder: FolderId, uid: u32) -> Result<Option<Message>> {
        by_uid(&self.sql, folder, uid)
    }

    pub(crate) fn message_by_remote_uid(&self, folder: FolderId, remote_uid: u32) -> Result<Option<Message>> {
        Ok(self
            .sql
            .prepare_cached(&format!("SELECT {COLUMNS} FROM messages WHERE folder = ?1 AND remote_uid = ?2"))?
            .query_row((folder, remote_uid), read)
            .optional()?)
    }

    /// The first message of the folder with this body that is not known to be on the mail server.
    pub(crate) fn unplaced_with_body(&self, folder: FolderId, body: &BodyId) -> Result<Option<Message>> {
        Ok(self
            .sql
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM messages WHERE body = ?2 AND folder = ?1 AND remote_uid IS NULL \
                 AND local_only = 0 ORDER BY uid LIMIT 1"
            ))?
            .query_row((folder, body), read)
            .optional()?)
    }

    pub(crate) fn insert_message(&mut self, new: &NewMessage) -> Result<Message> {
        let uid = self.next_uid(new.folder)?;
        let modseq = self.next_modseq(new.folder)?;
        self.sql
            .prepare_cached(
                "INSERT INTO messages (folder, uid, remote_uid, local_only, flags, date, size, modseq, body) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, (SELECT size FROM bodies WHERE id = ?8), ?7, ?8)",
            )?
            .execute((
                new.folder,
                uid,
                new.remote_uid,
                new.local_only,
                new.flags.to_text(),
                new.date,
                modseq as i64,
                new.body,
            ))?;
        let id = MessageId(self.sql.last_insert_rowid());
        self.message(id)?.ok_or(Error::NoSuchMessage(id))
    }

    /// Sets the flags and gives the message a new MODSEQ; nothing if they are the same.
    pub(crate) fn set_flags(&mut self, message: &mut Message, flags: Flags) -> Result<()> {
        if message.flags == flags {
            return Ok(());
        }
        message.modseq = self.next_modseq(message.folder)?;
        message.flags = flags;
        self.sql.prepare_cached("UPDATE messages SET flags = ?2, modseq = ?3 WHERE id = ?1")?.execute((
            message.id,
            message.flags.to_text(),
            message.modseq as i64,
        ))?;
        Ok(())
    }

    /// Deletes the row and leaves a tombstone.
    pub(crate) fn bury(&mut self, message: &Message, now: i64) -> Result<()> {
        let modseq = self.next_modseq(message.folder)?;
        self.sql
            .prepare_cached(
                "INSERT INTO vanished (message, folder, uid, remote_uid, modseq, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((message.id, message.folder, message.uid, message.remote_uid, modseq as i64, now))?;
        self.sql.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([message.id])?;
        Ok(())
    }
}
