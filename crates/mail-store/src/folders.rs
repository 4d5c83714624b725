//! Folders: reading them, and the counters that give out UIDs and MODSEQs.

use crate::store::{Change, unsigned};
use crate::{Error, FolderId, Result, Schema, Store, names};
use rusqlite::{OptionalExtension, Row};

/// A folder as the local server and the synchronisation see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Row id.
    pub id: FolderId,
    /// Name in UTF-8, parts joined by `delimiter`; INBOX is spelt `INBOX`.
    pub name: String,
    /// The hierarchy delimiter: one character, or empty for a flat name.
    pub delimiter: String,
    /// `\Sent`, `\Drafts`, … (RFC 6154).
    pub special_use: Option<String>,
    /// Whether the user subscribed to it.
    pub subscribed: bool,
    /// False for a name that only holds other folders (`\Noselect`).
    pub selectable: bool,
    /// Whether the mail server has listed it.
    pub on_server: bool,
    /// The mail server's UIDVALIDITY, once known.
    pub remote_uidvalidity: Option<u32>,
    /// The mail server's UIDNEXT at the last synchronisation.
    pub remote_uidnext: Option<u32>,
    /// The mail server's HIGHESTMODSEQ at the last synchronisation.
    pub remote_modseq: Option<u64>,
    /// UIDVALIDITY of the local IMAP server, 1 to 2^32 - 1.
    pub uidvalidity: u32,
    /// The UID the next message will get, 1 to 2^32 - 1.
    pub uidnext: u32,
    /// HIGHESTMODSEQ of the local IMAP server, at least 1.
    pub modseq: u64,
}

/// What IMAP STATUS tells of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderStatus {
    /// Messages in the folder.
    pub messages: u32,
    /// Messages without `\Seen`.
    pub unseen: u32,
    /// Messages with `\Deleted`.
    pub deleted: u32,
    /// Bytes of all messages.
    pub size: u64,
}

const COLUMNS: &str = "id, name, delimiter, special_use, subscribed, selectable, on_server, remote_uidvalidity, \
     remote_uidnext, uidvalidity, next_uid, modseq";

fn read(row: &Row) -> rusqlite::Result<Folder> {
    Ok(Folder {
        id: row.get("id")?,
        name: row.get("name")?,
        delimiter: row.get("delimiter")?,
        special_use: row.get("special_use")?,
        subscribed: row.get("subscribed")?,
        selectable: row.get("selectable")?,
        on_server: row.get("on_server")?,
        remote_uidvalidity: row.get("remote_uidvalidity")?,
        remote_uidnext: row.get("remote_uidnext")?,
        remote_modseq: row.get::<_, Option<i64>>("remote_modseq")?.map(|m| m.max(0) as u64),
        uidvalidity: row.get("uidvalidity")?,
        uidnext: row.get("next_uid")?,
        modseq: unsigned(row, "modseq")?,
    })
}

fn select(schema: Schema, which: &str) -> String {
    let remote_modseq = if schema.has_remote_modseq() { "remote_modseq" } else { "NULL" };
    format!("SELECT {COLUMNS}, {remote_modseq} AS remote_modseq FROM folders WHERE gone = 0 AND {which}")
}

fn all(conn: &rusqlite::Connection, schema: Schema) -> Result<Vec<Folder>> {
    let mut statement = conn.prepare_cached(&select(schema, "1 ORDER BY name <> 'INBOX', name"))?;
    Ok(statement.query_map([], read)?.collect::<rusqlite::Result<_>>()?)
}

fn by_id(conn: &rusqlite::Connection, schema: Schema, id: FolderId) -> Result<Folder> {
    let mut statement = conn.prepare_cached(&select(schema, "id = ?1"))?;
    statement.query_row([id], read).optional()?.ok_or(Error::NoSuchFolder(id))
}

fn by_name(conn: &rusqlite::Connection, schema: Schema, name: &str) -> Result<Option<Folder>> {
    Ok(conn.prepare_cached(&select(schema, "name = ?1"))?.query_row([name], read).optional()?)
}

impl Store {
    /// All folders, INBOX first, then by name.
    pub fn folders(&self) -> Result<Vec<Folder>> {
        all(&self.conn, self.schema)
    }

    /// One folder; [`Error::NoSuchFolder`] if it is gone.
    pub fn folder(&self, id: FolderId) -> Result<Folder> {
        by_id(&self.conn, self.schema, id)
    }

    /// The folder of this name (UTF-8; INBOX in any case).
    pub fn folder_by_name(&self, name: &str) -> Result<Option<Folder>> {
        by_name(&self.conn, self.schema, &names::fold_inbox(name, &self.delimiter()?))
    }

    /// INBOX's delimiter, which new folders get too.
    pub fn delimiter(&self) -> Result<String> {
        delimiter(&self.conn, self.schema)
    }

    /// Counts a folder's messages.
    pub fn folder_status(&self, id: FolderId) -> Result<FolderStatus> {
        let mut statement = self.conn.prepare_cached(&format!(
            "SELECT COUNT(*) AS messages, COALESCE(SUM(size), 0) AS size, \
             COALESCE(SUM(' ' || flags || ' ' NOT LIKE '% \\Seen %'), 0) AS unseen, \
             COALESCE(SUM(' ' || flags || ' ' LIKE '% \\Deleted %'), 0) AS deleted FROM {} WHERE folder = ?1",
            self.schema.index()
        ))?;
        Ok(statement.query_row([id], |row| {
            Ok(FolderStatus {
                messages: row.get("messages")?,
                unseen: row.get("unseen")?,
                deleted: row.get("deleted")?,
                size: unsigned(row, "size")?,
            })
        })?)
    }
}

fn delimiter(conn: &rusqlite::Connection, schema: Schema) -> Result<String> {
    Ok(by_name(conn, schema, "INBOX")?.map_or_else(|| "/".to_owned(), |inbox| inbox.delimiter))
}

impl Change<'_> {
    pub(crate) fn folders(&self) -> Result<Vec<Folder>> {
        all(&self.sql, self.schema)
    }

    pub(crate) fn folder(&self, id: FolderId) -> Result<Folder> {
        by_id(&self.sql, self.schema, id)
    }

    pub(crate) fn folder_by_name(&self, name: &str) -> Result<Option<Folder>> {
        by_name(&self.sql, self.schema, name)
    }

    pub(crate) fn delimiter(&self) -> Result<String> {
        delimiter(&self.sql, self.schema)
    }

    pub(crate) fn insert_folder(&mut self, name: &str, delimiter: &str, now: i64) -> Result<FolderId> {
        names::check(name, delimiter)?;
        // UIDVALIDITY must grow when a name comes back (RFC 3501, 2.3.1.1), whatever the clock says.
        let highest: i64 = self.sql.query_row("SELECT COALESCE(MAX(uidvalidity), 0) FROM folders", [], |r| r.get(0))?;
        let uidvalidity = now.max(highest + 1).clamp(1, i64::from(u32::MAX));
        self.sql.execute(
            "INSERT INTO folders (name, delimiter, uidvalidity) VALUES (?1, ?2, ?3)",
            (name, delimiter, uidvalidity),
        )?;
        self.touched.folder_list = true;
        Ok(FolderId(self.sql.last_insert_rowid()))
    }

    /// Takes the folder and its messages away, leaving tombstones for the journal.
    pub(crate) fn remove_folder(&mut self, id: FolderId, now: i64) -> Result<()> {
        for message in crate::messages::in_folder(&self.sql, self.schema, id)? {
            self.bury(&message, now)?;
        }
        self.sql.execute("UPDATE folders SET gone = 1 WHERE id = ?1", [id])?;
        self.touched.folders.insert(id);
        self.touched.folder_list = true;
        Ok(())
    }

    /// The next MODSEQ of the folder: strictly greater than all before.
    pub(crate) fn next_modseq(&mut self, id: FolderId) -> Result<u64> {
        self.touched.folders.insert(id);
        let modseq: i64 = self
            .sql
            .prepare_cached("UPDATE folders SET modseq = modseq + 1 WHERE id = ?1 RETURNING modseq")?
            .query_row([id], |r| r.get(0))?;
        Ok(modseq as u64)
    }

    /// The next UID of the folder: strictly greater than all before.
    pub(crate) fn next_uid(&self, id: FolderId) -> Result<u32> {
        let next: i64 = self
            .sql
            .prepare_cached("UPDATE folders SET next_uid = next_uid + 1 WHERE id = ?1 RETURNING next_uid")?
            .query_row([id], |r| r.get(0))?;
        // next_uid itself must stay a valid UIDNEXT.
        u32::try_from(next).map(|n| n - 1).map_err(|_| Error::OutOfUids)
    }
}
