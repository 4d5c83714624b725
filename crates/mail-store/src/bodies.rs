//! Immutable message bodies, addressed by their SHA-256.

use crate::header::header_length;
use crate::store::Change;
use crate::{Error, MessageId, Result, Schema, Store};
use rusqlite::{Connection, OptionalExtension, blob::Blob, types};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::Read;

/// The SHA-256 of a whole message (header and body, as it is on the wire).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BodyId([u8; 32]);

impl BodyId {
    /// The id these bytes have.
    pub fn of(message: &[u8]) -> BodyId {
        BodyId(Sha256::digest(message).into())
    }
}

impl fmt::Display for BodyId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for BodyId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "BodyId({self})")
    }
}

impl std::str::FromStr for BodyId {
    type Err = Error;
    fn from_str(text: &str) -> Result<BodyId> {
        let mut id = [0; 32];
        hex::decode_to_slice(text, &mut id).map_err(|_| Error::Damaged(format!("a body id: {text}")))?;
        Ok(BodyId(id))
    }
}

impl types::ToSql for BodyId {
    fn to_sql(&self) -> rusqlite::Result<types::ToSqlOutput<'_>> {
        Ok(self.0.as_slice().into())
    }
}

impl types::FromSql for BodyId {
    fn column_result(value: types::ValueRef) -> types::FromSqlResult<BodyId> {
        <[u8; 32]>::column_result(value).map(BodyId)
    }
}

impl Store {
    /// The whole message.
    pub fn body(&self, id: &BodyId) -> Result<Vec<u8>> {
        let (first, second) = match self.schema {
            Schema::One => ("SELECT raw FROM mail WHERE body = ?1 LIMIT 1", "SELECT data FROM bodies WHERE id = ?1"),
            Schema::Two | Schema::Three => {
                ("SELECT data FROM bodies WHERE id = ?1", "SELECT raw FROM mail_bodies WHERE body = ?1 LIMIT 1")
            }
        };
        for place in [first, second] {
            if let Some(body) = self.conn.prepare_cached(place)?.query_row([id], |r| r.get(0)).optional()? {
                return Ok(body);
            }
        }
        Err(missing(id))
    }

    /// The message's header with the empty line that ends it, since schema 2 read without the rest of the message.
    pub fn header(&self, id: &BodyId) -> Result<Vec<u8>> {
        if self.schema > Schema::One {
            return header(&self.conn, id);
        }
        let mut body = self.body(id)?;
        body.truncate(header_length(&body));
        Ok(body)
    }
}

/// A header, since schema 2.
pub(crate) fn header(conn: &Connection, id: &BodyId) -> Result<Vec<u8>> {
    const PLACES: [(&str, &str, &str); 2] = [
        ("SELECT rowid, header FROM bodies WHERE id = ?1", "bodies", "data"),
        ("SELECT id, header FROM mail_bodies WHERE body = ?1 LIMIT 1", "mail_bodies", "raw"),
    ];
    for (place, table, column) in PLACES {
        let found = conn.prepare_cached(place)?.query_row([id], |r| Ok((r.get(0)?, r.get(1)?))).optional()?;
        if let Some((row, length)) = found {
            let (row, length): (i64, i64) = (row, length);
            let mut blob = conn.blob_open("main", table, column, row, true)?;
            let mut header = vec![0; (length.max(0) as usize).min(blob.size().max(0) as usize)];
            blob.read_exact(&mut header).map_err(|e| Error::Damaged(format!("body {id}: {e}")))?;
            return Ok(header);
        }
    }
    Err(missing(id))
}

/// Reads the headers of many messages, since schema 2. What came from schema 1 lies under the message's own id, in the order
/// of the file, and is read without looking its body up.
pub(crate) struct Headers<'c> {
    conn: &'c Connection,
    blob: Option<Blob<'c>>,
}

impl<'c> Headers<'c> {
    pub(crate) fn new(conn: &'c Connection) -> Headers<'c> {
        Headers { conn, blob: None }
    }

    pub(crate) fn read(&mut self, message: MessageId, body: &BodyId) -> Result<Vec<u8>> {
        let mut place = self.conn.prepare_cached("SELECT header FROM mail_bodies WHERE id = ?1 AND body = ?2")?;
        let Some(length) = place.query_row((message, body), |r| r.get::<_, i64>(0)).optional()? else {
            return header(self.conn, body);
        };
        match &mut self.blob {
            Some(blob) => blob.reopen(message.0)?,
            none => *none = Some(self.conn.blob_open("main", "mail_bodies", "raw", message.0, true)?),
        }
        let Some(blob) = &mut self.blob else { return Err(missing(body)) };
        let mut header = vec![0; (length.max(0) as usize).min(blob.size().max(0) as usize)];
        blob.read_exact(&mut header).map_err(|e| Error::Damaged(format!("body {body}: {e}")))?;
        Ok(header)
    }
}

fn missing(id: &BodyId) -> Error {
    Error::Damaged(format!("body {id} is missing"))
}

/// The bytes of a message that is added to a folder.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    /// These.
    New(&'a [u8]),
    /// Those of a message that is here.
    Kept(BodyId),
}

impl Change<'_> {
    /// Keeps a body that belongs to no folder, or since schema 2 any.
    pub(crate) fn put_body(&self, message: &[u8]) -> Result<BodyId> {
        let id = BodyId::of(message);
        self.sql
            .prepare_cached("INSERT OR IGNORE INTO bodies (id, size, header, data) VALUES (?1, ?2, ?3, ?4)")?
            .execute((id, message.len() as i64, header_length(message) as i64, message))?;
        Ok(id)
    }

    /// Drops bodies that nothing refers to any more; gives their bytes.
    pub(crate) fn drop_unused_bodies(&self) -> Result<u64> {
        let index = self.schema.index();
        let unused = |id: &str| {
            format!(
                "{id} NOT IN (SELECT body FROM {index}) AND {id} NOT IN (SELECT body FROM outbox) \
                 AND {id} NOT IN (SELECT body FROM pending WHERE body IS NOT NULL)"
            )
        };
        let mut freed =
            self.drop_rows("bodies", "rowid", &format!("SELECT rowid FROM bodies WHERE {}", unused("id")))?;
        if self.schema > Schema::One {
            // By the index alone: the rows have the bodies in them.
            let which = format!("SELECT id FROM mail_bodies INDEXED BY mail_body WHERE {}", unused("body"));
            freed += self.drop_rows("mail_bodies", "id", &which)?;
        }
        Ok(freed)
    }

    fn drop_rows(&self, table: &str, row: &str, which: &str) -> Result<u64> {
        let mut rows = self.sql.prepare(which)?;
        let rows: Vec<i64> = rows.query_map([], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
        let mut delete = self.sql.prepare(&format!("DELETE FROM {table} WHERE {row} = ?1 RETURNING size"))?;
        let mut freed = 0;
        for row in rows {
            freed += delete.query_row([row], |r| r.get::<_, i64>(0))?.max(0) as u64;
        }
        Ok(freed)
    }
}
