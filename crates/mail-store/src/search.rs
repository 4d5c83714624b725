//! What SEARCH asks for most, taken out of headers once: table `search` of schema 3.
//!
//! A message without a row (an older program brought it, or its header is too large) is searched in its header, with the
//! same result.

use crate::store::Change;
use crate::{Message, MessageId, Result, Store, bodies, header::fields};
use mail_parser::{HeaderName, MessageParser};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

/// Bytes; a message whose fields are longer together has no row.
const LARGEST: usize = 32 * 1024;

/// Messages searched in one transaction of the filling.
const BATCH: i64 = 2_000;

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

/// Making the rows of messages that came before schema 3, or by an older program since.
pub(crate) struct Filling {
    /// Ids up to here are done.
    at: i64,
    done: u64,
    total: u64,
}

impl Filling {
    pub(crate) fn start(conn: &Connection) -> Result<Filling> {
        let at = conn
            .query_row("SELECT value FROM meta WHERE key = ?1", [SEARCHED_TO], |r| r.get::<_, String>(0))
            .optional()?
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let total: i64 =
            conn.query_row(&format!("SELECT COUNT(*) FROM messages m WHERE {MISSING}"), [at], |r| r.get(0))?;
        Ok(Filling { at, done: 0, total: total.max(0) as u64 })
    }

    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Does one batch, and keeps in the store how far it is; false if nothing was left.
    pub(crate) fn batch(&mut self, conn: &mut Connection) -> Result<bool> {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut missing =
            tx.prepare_cached(&format!("SELECT id, body FROM messages m WHERE {MISSING} ORDER BY id LIMIT ?2"))?;
        let rows = missing.query_map((self.at, BATCH), |r| Ok((r.get(0)?, r.get(1)?)))?;
        let rows: Vec<(MessageId, crate::BodyId)> = rows.collect::<rusqlite::Result<_>>()?;
        drop(missing);
        for (message, body) in &rows {
            match bodies::header(&tx, body) {
                Ok(header) => insert(&tx, *message, &header)?,
                // A missing body is told to whoever reads the message; the others are searchable all the same.
                Err(crate::Error::Damaged(_)) => {}
                Err(e) => return Err(e),
            }
        }
        let end: i64 = match rows.last() {
            Some((message, _)) => message.0,
            None => tx.query_row("SELECT COALESCE(MAX(id), 0) FROM messages", [], |r| r.get(0))?,
        };
        if end > self.at {
            tx.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)", (SEARCHED_TO, end.to_string()))?;
            tx.commit()?;
        }
        self.at = self.at.max(end);
        self.done += rows.len() as u64;
        Ok(!rows.is_empty())
    }
}

const MISSING: &str = "m.id > ?1 AND NOT EXISTS (SELECT 1 FROM search s WHERE s.message = m.id)";

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
