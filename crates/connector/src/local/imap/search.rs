//! SEARCH (RFC 3501, section 6.4.4), in pieces.

use super::search_keys::{Criteria, Key};
use super::selected::Selected;
use crate::local::mime::{address, fields};
use mail_parser::{MessageParser, PartType};
use mail_store::{Message, SearchFields, Store};

/// A piece ends after this many bytes of messages looked into …
const PIECE_BYTES: u64 = 4 * 1024 * 1024;
/// … or this many messages.
const PIECE_MESSAGES: usize = 2_000;
/// What a message's fields for SEARCH count for, in bytes.
const FIELDS_BYTES: u64 = 512;

/// A SEARCH under way.
pub(super) struct SearchJob {
    pub(super) tag: String,
    pub(super) by_uid: bool,
    key: Key,
    /// UIDs still to do, in reverse.
    left: Vec<u32>,
    found: Vec<u32>,
    /// The highest MODSEQ found, if the client asked by MODSEQ.
    modseq: Option<u64>,
}

impl SearchJob {
    pub(super) fn new(tag: &str, selected: &Selected, criteria: Criteria, by_uid: bool) -> SearchJob {
        let mut left = selected.uids().to_vec();
        left.reverse();
        let Criteria { key, by_modseq } = criteria;
        let modseq = by_modseq.then_some(0);
        SearchJob { tag: tag.to_owned(), by_uid, key, left, found: Vec::new(), modseq }
    }

    /// Does one piece; true when all is done.
    pub(super) fn step(&mut self, store: &Store, selected: &Selected) -> Result<bool, mail_store::Error> {
        let mut bytes = 0;
        for _ in 0..PIECE_MESSAGES {
            let Some(uid) = self.left.pop() else { return Ok(true) };
            let Some(message) = store.messages_by_uid(selected.folder, &[uid])?.pop() else { continue };
            let recent = selected.is_recent(uid);
            let mut candidate =
                Candidate { store, message: &message, recent, fields: None, header: None, body: None, bytes: 0 };
            if candidate.matches(&self.key)? {
                if let Some(highest) = &mut self.modseq {
                    *highest = message.modseq.max(*highest);
                }
                self.found.extend(if self.by_uid { Some(uid) } else { selected.number(uid).map(|n| n as u32) });
            }
            bytes += candidate.bytes;
            if bytes >= PIECE_BYTES {
                break;
            }
        }
        Ok(self.left.is_empty())
    }

    /// `* SEARCH 2 3 (MODSEQ 9)`
    pub(super) fn result(&self) -> String {
        let numbers: String = self.found.iter().map(|n| format!(" {n}")).collect();
        let modseq = self.modseq.filter(|_| !self.found.is_empty()).map(|m| format!(" (MODSEQ {m})"));
        format!("* SEARCH{numbers}{}\r\n", modseq.unwrap_or_default())
    }
}

/// A message being looked at; what is expensive is read once, when first needed.
struct Candidate<'a> {
    store: &'a Store,
    message: &'a Message,
    fields: Option<SearchFields>,
    recent: bool,
    header: Option<Vec<u8>>,
    body: Option<Decoded>,
    /// Bytes read.
    bytes: u64,
}

impl Candidate<'_> {
    fn matches(&mut self, key: &Key) -> Result<bool, mail_store::Error> {
        Ok(match key {
            Key::Always => true,
            Key::Recent => self.recent,
            Key::All(keys) => {
                for key in keys {
                    if !self.matches(key)? {
                        return Ok(false);
                    }
                }
                true
            }
            Key::Any(keys) => {
                for key in keys {
                    if self.matches(key)? {
                        return Ok(true);
                    }
                }
                false
            }
            Key::Not(key) => !self.matches(key)?,
            Key::Uids(uids) => uids.contains(&self.message.uid),
            Key::Flag(flag) => self.message.flags.contains(flag),
            Key::Larger(size) => self.message.size > *size,
            Key::Smaller(size) => self.message.size < *size,
            Key::ModSeq(modseq) => self.message.modseq >= *modseq,
            Key::Arrived(from, before) => (*from..*before).contains(&self.message.date),
            Key::Written(from, before) => self.fields()?.sent.is_some_and(|day| (*from..*before).contains(&day)),
            Key::Field(name, words) => match self.fields()?.get(name) {
                Some(taken_out) => taken_out.is_some_and(|text| text_has(name, text, words)),
                None => has_field(self.header()?, name, words),
            },
            Key::Body(words) => self.body()?.text.contains(words.as_str()),
            Key::Text(words) => {
                header_has(self.header()?, words) || {
                    let body = self.body()?;
                    body.text.contains(words.as_str()) || body.headers.iter().any(|header| header_has(header, words))
                }
            }
        })
    }

    /// What the store has taken out of the header: for most searches it need not be read.
    fn fields(&mut self) -> Result<&SearchFields, mail_store::Error> {
        if self.fields.is_none() {
            self.fields = Some(self.store.search_fields(self.message)?);
            self.bytes += FIELDS_BYTES;
        }
        Ok(self.fields.get_or_insert_default())
    }

    fn header(&mut self) -> Result<&[u8], mail_store::Error> {
        if self.header.is_none() {
            let header = self.store.header(&self.message.body)?;
            self.bytes += header.len() as u64;
            self.header = Some(header);
        }
        Ok(self.header.as_deref().unwrap_or_default())
    }

    fn body(&mut self) -> Result<&Decoded, mail_store::Error> {
        if self.body.is_none() {
            let message = self.store.body(&self.message.body)?;
            self.bytes += message.len() as u64;
            self.body = Some(decoded(&message));
        }
        Ok(self.body.get_or_insert_default())
    }
}

fn has_field(header: &[u8], name: &str, words: &str) -> bool {
    fields::fields(header).filter(|f| f.name.eq_ignore_ascii_case(name.as_bytes())).any(|f| {
        let value = fields::unfold(f.value);
        words.is_empty() || value_has(&value, words) || addresses_have(name, &value, words)
    })
}

/// The same of what the store has taken out of the fields of this name: a line for each, in lower case.
fn text_has(name: &str, text: &str, words: &str) -> bool {
    text.contains(words) || text.lines().any(|line| addresses_have(name, line.as_bytes(), words))
}

/// Whether one of a field's addresses has the words, written without comments and needless spaces: `name <local@domain>`.
fn addresses_have(name: &str, value: &[u8], words: &str) -> bool {
    const ADDRESSES: [&str; 6] = ["from", "to", "cc", "bcc", "sender", "reply-to"];
    if !ADDRESSES.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return false;
    }
    address::parse(value).iter().any(|entry| match entry {
        address::Entry::Address { name, mailbox, host, .. } => {
            let name = name.as_deref().unwrap_or_default();
            let plain = [name, b" <", mailbox, b"@", host, b">"].concat();
            String::from_utf8_lossy(&plain).to_lowercase().contains(words)
        }
        address::Entry::GroupStart(_) | address::Entry::GroupEnd => false,
    })
}

fn header_has(header: &[u8], words: &str) -> bool {
    fields::fields(header).any(|f| {
        String::from_utf8_lossy(&fields::unfold(f.raw)).to_lowercase().contains(words)
            || value_has(&fields::unfold(f.value), words)
    })
}

/// Whether a field's value has the words as it is or with its encoded words (RFC 2047) decoded.
fn value_has(value: &[u8], words: &str) -> bool {
    if String::from_utf8_lossy(value).to_lowercase().contains(words) {
        return true;
    }
    if !value.windows(2).any(|w| w == b"=?") {
        return false;
    }
    let as_subject = [b"Subject: ".as_slice(), value, b"\r\n\r\n"].concat();
    let decoded = MessageParser::new().header_text(mail_parser::HeaderName::Subject).parse_headers(&as_subject);
    decoded.and_then(|m| m.subject().map(|s| s.to_lowercase().contains(words))).unwrap_or(false)
}

/// What SEARCH looks for in a message's body.
#[derive(Default)]
struct Decoded {
    /// All text of all parts, decoded and in lower case.
    text: String,
    /// The headers of parts and of enclosed messages.
    headers: Vec<Vec<u8>>,
}

fn decoded(message: &[u8]) -> Decoded {
    let mut decoded = Decoded::default();
    if let Some(parsed) = MessageParser::default().parse(message) {
        collect(&parsed, message, &mut decoded, 0);
    }
    decoded
}

fn collect(message: &mail_parser::Message, bytes: &[u8], decoded: &mut Decoded, depth: usize) {
    for (i, part) in message.parts.iter().enumerate() {
        if i > 0 || depth > 0 {
            let range = part.raw_header_offset() as usize..part.raw_body_offset() as usize;
            decoded.headers.extend(bytes.get(range).map(<[u8]>::to_vec));
        }
        match &part.body {
            PartType::Text(t) | PartType::Html(t) => {
                decoded.text.push_str(&t.to_lowercase());
                decoded.text.push('\n');
            }
            PartType::Message(inner) if depth < 10 => collect(inner, &inner.raw_message, decoded, depth + 1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_decoded() {
        let message = "X-Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: Wed, 31 Dec 2025 23:30:00 -0800\r\n\
            Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nF=FCr Dich\r\n";
        let header = message.as_bytes();
        assert!(
            has_field(header, "x-subject", "grüße")
                && has_field(header, "X-SUBJECT", "utf-8")
                && has_field(header, "date", "")
        );
        assert!(!has_field(header, "x-subject", "fehlt") && !has_field(header, "x-none", ""));
        assert!(decoded(header).text.contains("für dich"));
        let fields = SearchFields::of(b"To: (the boss) Alice  Example <alice @example.test>\r\n\r\n");
        let to = fields.to.unwrap();
        assert!(text_has("TO", &to, "alice example <alice@example.test>") && text_has("to", &to, "the boss"));
        assert!(!text_has("to", &to, "bob"));
    }
}
