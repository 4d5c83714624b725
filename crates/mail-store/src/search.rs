//! What SEARCH asks for most, taken out of headers once: table `search` of schema 3.
//!
//! A message without a row (an older program brought it, or its header is too large) is searched in its header, with the
//! same result.

use crate::store::Change;
use crate::{BodyId, Error, Message, MessageId, Result, Store, bodies, header::fields, platform};
use mail_parser::{HeaderName, MessageParser};
use rusqlite::{Connection, OptionalExtension};

/// Bytes; a message whose fields are longer together has no row.
const LARGEST: usize = 32 * 1024;

/// Bytes that a row takes on the disk, in practice.
const ROW_BYTES: u64 = 600;

/// Bytes of the disk that are left to mail.
const KEPT_FREE: u64 = 16 * 1024 * 1024;

/// Under this name `meta` keeps up to which message's id all rows have been made.
const SEARCHED_TO: &str = "searched-to";

/// A message's fields for SEARCH: in lower case, as they are written and decoded (RFC 2047). Several fields of a name are
/// one, with line feeds between them. `None`: there is no such field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchFields {
    /// The day in `Date` as it is written there, whatever its zone: Unix seconds of midnight.
    pub sent: Option<i64>,
    /// `From`
    pub from: Option<String>,
    /// `To`
    pub to: Option<String>,
    /// `Cc`
    pub cc: Option<String>,
    /// `Bcc`
    pub bcc: Option<String>,
    /// `Subject`
    pub subject: Option<String>,
    /// `Message-ID`
    pub message_id: Option<String>,
}

impl SearchFields {
    /// Takes them out of a header.
    pub fn of(header: &[u8]) -> SearchFields {
        let mut found = SearchFields::default();
        for (name, value) in fields(header) {
            if name.eq_ignore_ascii_case(b"date") {
                found.sent = found.sent.or_else(|| written_day(value));
            } else if let Some(field) = found.field_mut(name) {
                let text = field.get_or_insert_default();
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(&searchable(value));
            }
        }
        found
    }

    /// Whether the fields of this name (in any case) are among those that are taken out, and what they hold.
    pub fn get(&self, name: &str) -> Option<Option<&str>> {
        let all = [&self.from, &self.to, &self.cc, &self.bcc, &self.subject, &self.message_id];
        let at = NAMES.iter().position(|known| name.eq_ignore_ascii_case(known))?;
        Some(all[at].as_deref())
    }

    fn field_mut(&mut self, name: &[u8]) -> Option<&mut Option<String>> {
        let all = [&mut self.from, &mut self.to, &mut self.cc, &mut self.bcc, &mut self.subject, &mut self.message_id];
        let at = NAMES.iter().position(|known| name.eq_ignore_ascii_case(known.as_bytes()))?;
        all.into_iter().nth(at)
    }

    fn len(&self) -> usize {
        NAMES.iter().filter_map(|name| self.get(name)?).map(str::len).sum()
    }
}

/// In the order of the struct's fields.
const NAMES: [&str; 6] = ["from", "to", "cc", "bcc", "subject", "message-id"];

/// A value on one line, in lower case; with encoded words also decoded, on a second line.
fn searchable(value: &[u8]) -> String {
    let flat: Vec<u8> = value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    let flat = flat.trim_ascii();
    let mut text = String::from_utf8_lossy(flat).to_lowercase();
    if memchr::memmem::find(flat, b"=?").is_some() {
        let as_subject = [b"Subject: ".as_slice(), flat, b"\r\n\r\n"].concat();
        let decoded = MessageParser::new().header_text(HeaderName::Subject).parse_headers(&as_subject);
        if let Some(decoded) = decoded.as_ref().and_then(|m| m.subject()) {
            text.push('\n');
            text.push_str(&decoded.to_lowercase());
        }
    }
    text
}

/// The day in a `Date` field as it is written there (RFC 3501: "disregarding time and timezone").
fn written_day(value: &[u8]) -> Option<i64> {
    let field = [b"Date: ".as_slice(), value.trim_ascii(), b"\r\n\r\n"].concat();
    let message = MessageParser::new().with_date_headers().parse_headers(&field)?;
    let date = message.date()?;
    let day = mail_parser::DateTime {
        hour: 0,
        minute: 0,
        second: 0,
        tz_before_gmt: false,
        tz_hour: 0,
        tz_minute: 0,
        ..*date
    };
    ((1..=12).contains(&day.month) && (1..=31).contains(&day.day)).then(|| day.to_timestamp())
}

impl Store {
    /// A message's fields for SEARCH, without reading its header where they have been taken out.
    pub fn search_fields(&self, message: &Message) -> Result<SearchFields> {
        if self.schema.has_search()
            && let Some(fields) = kept(&self.conn, message.id)?
        {
            return Ok(fields);
        }
        Ok(SearchFields::of(&self.header(&message.body)?))
    }
}

fn kept(conn: &Connection, message: MessageId) -> Result<Option<SearchFields>> {
    let mut statement = conn.prepare_cached(
        "SELECT sent, sender, recipient, cc, bcc, subject, message_id FROM search WHERE message = ?1",
    )?;
    let row = statement.query_row([message], |r| {
        Ok(SearchFields {
            sent: r.get(0)?,
            from: r.get(1)?,
            to: r.get(2)?,
            cc: r.get(3)?,
            bcc: r.get(4)?,
            subject: r.get(5)?,
            message_id: r.get(6)?,
        })
    });
    Ok(row.optional()?)
}

impl Change<'_> {
    /// Makes the row of a message that has just been added, where the schema has such rows.
    pub(crate) fn make_searchable(&self, message: MessageId, header: &[u8]) -> Result<()> {
        if self.schema.has_search() { insert(&self.sql, message, header) } else { Ok(()) }
    }
}

fn insert(conn: &Connection, message: MessageId, header: &[u8]) -> Result<()> {
    let fields = SearchFields::of(header);
    if fields.len() > LARGEST {
        return Ok(());
    }
    conn.prepare_cached(
        "INSERT OR REPLACE INTO search (message, sent, sender, recipient, cc, bcc, subject, message_id) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute((
        message,
        fields.sent,
        fields.from,
        fields.to,
        fields.cc,
        fields.bcc,
        fields.subject,
        fields.message_id,
    ))?;
    Ok(())
}

impl Store {
    /// Makes the rows of messages that came before schema 3, or by an older program since: of at most so many in one
    /// transaction, and keeps in the store how far it is. True if there may be more. For idle times: until a message has its
    /// row, its header is searched.
    ///
    /// Errors: [`Error::NoRoom`] when the disk has little room left, which mail needs more.
    pub fn fill_search(&mut self, at_most: u32) -> Result<bool> {
        if !self.schema.has_search() {
            return Ok(false);
        }
        let needed = KEPT_FREE + u64::from(at_most) * ROW_BYTES;
        if let Some(free) = platform::free_space(self.path()).filter(|free| *free < needed) {
            return Err(Error::NoRoom { path: self.path().to_owned(), needed, free: Some(free) });
        }
        self.change(|c| c.fill_search(at_most))
    }
}

impl Change<'_> {
    fn fill_search(&self, at_most: u32) -> Result<bool> {
        let at: Option<String> =
            self.sql.query_row("SELECT value FROM meta WHERE key = ?1", [SEARCHED_TO], |r| r.get(0)).optional()?;
        let at: i64 = at.and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut missing = self.sql.prepare_cached(
            "SELECT id, body FROM messages m WHERE id > ?1 \
             AND NOT EXISTS (SELECT 1 FROM search s WHERE s.message = m.id) ORDER BY id LIMIT ?2",
        )?;
        let rows = missing.query_map((at, at_most), |r| Ok((r.get(0)?, r.get(1)?)))?;
        let rows: Vec<(MessageId, BodyId)> = rows.collect::<rusqlite::Result<_>>()?;
        let mut headers = bodies::Headers::new(&self.sql);
        for (message, body) in &rows {
            match headers.read(*message, body) {
                Ok(header) => insert(&self.sql, *message, &header)?,
                // A missing body is told to whoever reads the message; the others are searchable all the same.
                Err(Error::Damaged(_)) => {}
                Err(e) => return Err(e),
            }
        }
        let to: i64 = match rows.last() {
            Some((message, _)) => message.0,
            None => self.sql.query_row("SELECT COALESCE(MAX(id), 0) FROM messages", [], |r| r.get(0))?,
        };
        if to > at {
            let keep = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
            self.sql.prepare_cached(keep)?.execute((SEARCHED_TO, to.to_string()))?;
        }
        Ok(!rows.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_decoded_and_as_they_are_written() {
        let header = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n an Dich\r\nDate: Wed, 31 Dec 2025 23:30:00 -0800\r\n\
            TO: a@b\r\nTo: Carl <c@d>\r\nX-Other: x\r\nCc:\r\n\r\n";
        let fields = SearchFields::of(header);
        let subject = fields.subject.as_deref().unwrap();
        assert!(subject.contains("grüße an dich") && subject.contains("=?utf-8?q?"), "{subject}");
        assert_eq!(fields.to.as_deref(), Some("a@b\ncarl <c@d>"));
        assert_eq!((fields.cc.as_deref(), fields.bcc.as_deref()), (Some(""), None));
        assert_eq!(fields.sent, Some(1_767_139_200), "31 Dec 2025, whatever the zone");
        assert_eq!((fields.get("Subject"), fields.get("x-other")), (Some(Some(subject)), None));
        assert_eq!(SearchFields::of(b"Date: no day\r\n\r\n").sent, None);
    }
}
