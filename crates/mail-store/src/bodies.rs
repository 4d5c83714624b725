//! Immutable message bodies, addressed by their SHA-256.

use crate::store::Change;
use crate::{Error, Result, Store};
use rusqlite::{OptionalExtension, types};
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
        self.conn
            .prepare_cached("SELECT data FROM bodies WHERE id = ?1")?
            .query_row([id], |r| r.get(0))
            .optional()?
            .ok_or_else(|| Error::Damaged(format!("body {id} is missing")))
    }

    /// The message's header with the empty line that ends it, read without the rest of the message.
    pub fn header(&self, id: &BodyId) -> Result<Vec<u8>> {
        let (row, length): (i64, i64) = self
            .conn
            .prepare_cached("SELECT rowid, header FROM bodies WHERE id = ?1")?
            .query_row([id], |r| Ok((r.get(0)?, r.get(1)?)))
            .optional()?
            .ok_or_else(|| Error::Damaged(format!("body {id} is missing")))?;
        let mut blob = self.conn.blob_open("main", "bodies", "data", row, true)?;
        let mut header = vec![0; (length.max(0) as usize).min(blob.size().max(0) as usize)];
        blob.read_exact(&mut header).map_err(|e| Error::Damaged(format!("body {id}: {e}")))?;
        Ok(header)
    }
}

impl Change<'_> {
    pub(crate) fn put_body(&self, message: &[u8]) -> Result<BodyId> {
        let id = BodyId::of(message);
        self.sql
            .prepare_cached("INSERT OR IGNORE INTO bodies (id, size, header, data) VALUES (?1, ?2, ?3, ?4)")?
            .execute((id, message.len() as i64, header_length(message) as i64, message))?;
        Ok(id)
    }
}

/// Bytes up to and with the first empty line; everything if there is none.
fn header_length(message: &[u8]) -> usize {
    let mut line_start = 0;
    while let Some(end) = message[line_start..].iter().position(|&b| b == b'\n').map(|i| line_start + i + 1) {
        if matches!(&message[line_start..end], b"\n" | b"\r\n") {
            return end;
        }
        line_start = end;
    }
    message.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_ends_with_the_first_empty_line() {
        assert_eq!(header_length(b"A: b\r\n\r\nbody\r\n\r\n"), 8);
        assert_eq!(header_length(b"\r\nbody"), 2);
        assert_eq!(header_length(b"A: b\n\nbody"), 6);
        assert_eq!(header_length(b"A: b"), 4);
        assert_eq!(header_length(b""), 0);
    }
}
