//! Messages: reading them, and the rows a change makes and buries.

use crate::bodies::Content;
use crate::header::header_length;
use crate::store::{Change, unsigned};
use crate::{BodyId, Error, Flags, FolderId, MessageId, Result, Schema, Store};
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

fn select(schema: Schema, which: &str) -> String {
    format!("SELECT {COLUMNS} FROM {} WHERE {which}", schema.index())
}

pub(crate) fn in_folder(conn: &Connection, schema: Schema, folder: FolderId) -> Result<Vec<Message>> {
    let mut statement = conn.prepare_cached(&select(schema, "folder = ?1 ORDER BY uid"))?;
    Ok(statement.query_map([folder], read)?.collect::<rusqlite::Result<_>>()?)
}

fn by_uid(conn: &Connection, schema: Schema, folder: FolderId, uid: u32) -> Result<Option<Message>> {
    let mut statement = conn.prepare_cached(&select(schema, "folder = ?1 AND uid = ?2"))?;
    Ok(statement.query_row((folder, uid), read).optional()?)
}

fn by_id(conn: &Connection, schema: Schema, id: MessageId) -> Result<Option<Message>> {
    Ok(conn.prepare_cached(&select(schema, "id = ?1"))?.query_row([id], read).optional()?)
}

impl Store {
    /// All messages of a folder, by UID.
    pub fn messages(&self, folder: FolderId) -> Result<Vec<Message>> {
        in_folder(&self.conn, self.schema, folder)
    }

    /// The messages with these UIDs, in this order; UIDs that are not there are left out.
    pub fn messages_by_uid(&self, folder: FolderId, uids: &[u32]) -> Result<Vec<Message>> {
        let found = uids.iter().map(|&uid| by_uid(&self.conn, self.schema, folder, uid));
        found.filter_map(Result::transpose).collect()
    }

    /// One message; [`Error::NoSuchMessage`] if it is gone.
    pub fn message(&self, id: MessageId) -> Result<Message> {
        by_id(&self.conn, self.schema, id)?.ok_or(Error::NoSuchMessage(id))
    }

    /// What changed in a folder after `modseq` (0: everything). [`Error::NoSuchFolder`] if it was deleted.
    pub fn changes_since(&self, folder: FolderId, modseq: u64) -> Result<FolderChanges> {
        let now = self.folder(folder)?.modseq;
        let since = i64::try_from(modseq).unwrap_or(i64::MAX);
        let mut changed = self.conn.prepare_cached(&select(self.schema, "folder = ?1 AND modseq > ?2 ORDER BY uid"))?;
        let mut vanished = self.conn.prepare_cached(&format!(
            "SELECT uid FROM vanished WHERE folder = ?1 AND {} ORDER BY uid",
            self.schema.vanished_after("?2")
        ))?;
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
    pub(crate) content: Content<'a>,
}

impl NewMessage<'_> {
    fn body(&self) -> BodyId {
        match self.content {
            Content::New(bytes) => BodyId::of(bytes),
            Content::Kept(body) => body,
        }
    }
}

impl Change<'_> {
    pub(crate) fn message(&self, id: MessageId) -> Result<Option<Message>> {
        by_id(&self.sql, self.schema, id)
    }

    pub(crate) fn message_by_uid(&self, folder: FolderId, uid: u32) -> Result<Option<Message>> {
        by_uid(&self.sql, self.schema, folder, uid)
    }

    pub(crate) fn message_by_remote_uid(&self, folder: FolderId, remote_uid: u32) -> Result<Option<Message>> {
        Ok(self
            .sql
            .prepare_cached(&select(self.schema, "folder = ?1 AND remote_uid = ?2"))?
            .query_row((folder, remote_uid), read)
            .optional()?)
    }

    /// The first message of the folder with this body that is not known to be on the mail server.
    pub(crate) fn unplaced_with_body(&self, folder: FolderId, body: &BodyId) -> Result<Option<Message>> {
        Ok(self
            .sql
            .prepare_cached(&select(
                self.schema,
                "body = ?2 AND folder = ?1 AND remote_uid IS NULL AND local_only = 0 ORDER BY uid LIMIT 1",
            ))?
            .query_row((folder, body), read)
            .optional()?)
    }

    pub(crate) fn insert_message(&mut self, new: &NewMessage) -> Result<Message> {
        let uid = self.next_uid(new.folder)?;
        let modseq = self.next_modseq(new.folder)?;
        match self.schema {
            Schema::One => self.insert_with_body(new, uid, modseq)?,
            Schema::Two | Schema::Three => self.insert_apart_from_body(new, uid, modseq)?,
        }
        // Where the row goes through a view, SQLite does not tell its id.
        let message = self.message_by_uid(new.folder, uid)?.ok_or(Error::NoSuchFolder(new.folder))?;
        if let Content::New(bytes) = new.content {
            self.make_searchable(message.id, &bytes[..header_length(bytes)])?;
        } else if self.schema.has_search() {
            self.make_searchable(message.id, &crate::bodies::header(&self.sql, &message.body)?)?;
        }
        Ok(message)
    }

    fn insert_apart_from_body(&self, new: &NewMessage, uid: u32, modseq: u64) -> Result<()> {
        let (body, size) = match new.content {
            Content::New(bytes) => (self.put_body(bytes)?, bytes.len() as i64),
            Content::Kept(body) => (body, self.size_of(&body)?),
        };
        let mut insert = self.sql.prepare_cached(
            "INSERT INTO messages (folder, uid, remote_uid, local_only, flags, date, modseq, body, size) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        let flags = new.flags.to_text();
        insert.execute((
            new.folder,
            uid,
            new.remote_uid,
            new.local_only,
            flags,
            new.date,
            modseq as i64,
            body,
            size,
        ))?;
        Ok(())
    }

    fn insert_with_body(&self, new: &NewMessage, uid: u32, modseq: u64) -> Result<()> {
        const INTO: &str = "INSERT INTO mail \
             (folder, uid, remote_uid, local_only, flags, date, modseq, body, size, header, raw)";
        const ROW: &str = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8";
        let flags = new.flags.to_text();
        let body = new.body();
        let row =
            rusqlite::params![new.folder, uid, new.remote_uid, new.local_only, flags, new.date, modseq as i64, body];
        match new.content {
            Content::New(bytes) => {
                let mut insert = self.sql.prepare_cached(&format!("{INTO} VALUES ({ROW}, ?9, ?10, ?11)"))?;
                let (size, header) = (bytes.len() as i64, header_length(bytes) as i64);
                let rest = rusqlite::params![size, header, bytes];
                insert.execute(&*[row, rest].concat())?;
            }
            Content::Kept(_) => {
                let copy = format!("{INTO} SELECT {ROW}, size, header, raw FROM mail WHERE body = ?8 LIMIT 1");
                self.sql.prepare_cached(&copy)?.execute(row)?;
            }
        }
        Ok(())
    }

    fn size_of(&self, body: &BodyId) -> Result<i64> {
        let mut size = self.sql.prepare_cached("SELECT size FROM messages WHERE body = ?1 LIMIT 1")?;
        Ok(size.query_row([body], |r| r.get(0))?)
    }

    /// Sets the flags and gives the message a new MODSEQ; nothing if they are the same.
    pub(crate) fn set_flags(&mut self, message: &mut Message, flags: Flags) -> Result<()> {
        if message.flags == flags {
            return Ok(());
        }
        message.modseq = self.next_modseq(message.folder)?;
        message.flags = flags;
        let update = format!("UPDATE {} SET flags = ?2, modseq = ?3 WHERE id = ?1", self.schema.index());
        let row = (message.id, message.flags.to_text(), message.modseq as i64);
        self.sql.prepare_cached(&update)?.execute(row)?;
        Ok(())
    }

    /// Records under which UID the mail server knows a message, or that it no longer does.
    pub(crate) fn set_remote_uid(&self, id: MessageId, remote_uid: Option<u32>) -> Result<()> {
        let update = format!("UPDATE {} SET remote_uid = ?2 WHERE id = ?1", self.schema.index());
        self.sql.prepare_cached(&update)?.execute((id, remote_uid))?;
        Ok(())
    }

    /// Deletes the row and leaves a tombstone.
    pub(crate) fn bury(&mut self, message: &Message, now: i64) -> Result<()> {
        let modseq = self.next_modseq(message.folder)?;
        let place = (message.id, message.folder, message.uid, message.remote_uid, now);
        if self.schema.tombstones_have_modseq() {
            let insert =
                "INSERT INTO vanished (message, folder, uid, remote_uid, at, modseq) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let (id, folder, uid, remote_uid, at) = place;
            self.sql.prepare_cached(insert)?.execute((id, folder, uid, remote_uid, at, modseq as i64))?;
        } else {
            let insert = "INSERT INTO vanished (message, folder, uid, remote_uid, at) VALUES (?1, ?2, ?3, ?4, ?5)";
            self.sql.prepare_cached(insert)?.execute(place)?;
        }
        let delete = format!("DELETE FROM {} WHERE id = ?1", self.schema.index());
        self.sql.prepare_cached(&delete)?.execute([message.id])?;
        Ok(())
    }
}
