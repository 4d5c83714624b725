//! SEARCH (RFC 3501, section 6.4.4), in pieces.

use super::refusal::Refusal;
use super::selected::Selected;
use crate::local::mime::fields;
use imap_codec::imap_types::core::{AString, Charset, Vec1};
use imap_codec::imap_types::datetime::NaiveDate;
use imap_codec::imap_types::search::SearchKey;
use mail_parser::{MessageParser, PartType};
use mail_store::{Message, SearchFields, Store};
use std::collections::BTreeSet;

/// A piece ends after this many bytes of messages looked into …
const PIECE_BYTES: u64 = 4 * 1024 * 1024;
/// … or this many messages.
const PIECE_MESSAGES: usize = 2_000;
/// What a message's fields for SEARCH count for, in bytes.
const FIELDS_BYTES: u64 = 512;

const DAY: i64 = 24 * 60 * 60;

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

/// A search key with its sets resolved and its words in lower case.
#[derive(Debug)]
enum Key {
    All(Vec<Key>),
    Any(Vec<Key>),
    Not(Box<Key>),
    Always,
    Never,
    Uids(BTreeSet<u32>),
    Flag(String),
    Larger(u64),
    Smaller(u64),
    ModSeq(u64),
    /// INTERNALDATE from the first second to before the second one, Unix seconds.
    Arrived(i64, i64),
    /// The `Date` field's day, whatever its zone, as Unix seconds of midnight: from, to before.
    Written(i64, i64),
    /// A header field of this name has the words; any value if empty.
    Field(String, String),
    Body(String),
    Text(String),
}

impl SearchJob {
    /// Also says whether the command enables CONDSTORE.
    pub(super) fn new(
        tag: &str,
        selected: &Selected,
        charset: Option<&Charset>,
        criteria: Vec1<SearchKey<'static>>,
        by_uid: bool,
    ) -> Result<(SearchJob, bool), Refusal> {
        let charset = charset.map(|c| c.as_ref().to_ascii_uppercase());
        if charset.is_some_and(|c| c != "UTF-8" && c != "US-ASCII") {
            return Err(Refusal::no("BADCHARSET (US-ASCII UTF-8)", "unknown charset"));
        }
        let mut by_modseq = false;
        let key =
            Key::All(criteria.as_ref().iter().map(|k| compile(k, selected, &mut by_modseq)).collect::<Result<_, _>>()?);
        let mut left = selected.uids().to_vec();
        left.reverse();
        let modseq = by_modseq.then_some(0);
        Ok((SearchJob { tag: tag.to_owned(), by_uid, key, left, found: Vec::new(), modseq }, by_modseq))
    }

    /// Does one piece; true when all is done.
    pub(super) fn step(&mut self, store: &Store, selected: &Selected) -> Result<bool, mail_store::Error> {
        let mut bytes = 0;
        for _ in 0..PIECE_MESSAGES {
            let Some(uid) = self.left.pop() else { return Ok(true) };
            let Some(message) = store.messages_by_uid(selected.folder, &[uid])?.pop() else { continue };
            let mut candidate =
                Candidate { store, message: &message, fields: None, header: None, body: None, bytes: 0 };
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

fn compile(key: &SearchKey, selected: &Selected, by_modseq: &mut bool) -> Result<Key, Refusal> {
    let flag = |name: &str| Key::Flag(name.to_owned());
    let not = |key: Key| Key::Not(Box::new(key));
    Ok(match key {
        SearchKey::And(keys) => {
            Key::All(keys.as_ref().iter().map(|k| compile(k, selected, by_modseq)).collect::<Result<_, _>>()?)
        }
        SearchKey::Or(a, b) => Key::Any(vec![compile(a, selected, by_modseq)?, compile(b, selected, by_modseq)?]),
        SearchKey::Not(key) => not(compile(key, selected, by_modseq)?),
        SearchKey::All => Key::Always,
        // Nothing is ever \Recent here.
        SearchKey::New | SearchKey::Recent => Key::Never,
        SearchKey::Old => Key::Always,
        SearchKey::SequenceSet(set) => Key::Uids(selected.resolve(set, false)?.into_iter().collect()),
        SearchKey::Uid(set) => Key::Uids(selected.resolve(set, true)?.into_iter().collect()),
        SearchKey::Answered => flag("\\Answered"),
        SearchKey::Deleted => flag("\\Deleted"),
        SearchKey::Draft => flag("\\Draft"),
        SearchKey::Flagged => flag("\\Flagged"),
        SearchKey::Seen => flag("\\Seen"),
        SearchKey::Unanswered => not(flag("\\Answered")),
        SearchKey::Undeleted => not(flag("\\Deleted")),
        SearchKey::Undraft => not(flag("\\Draft")),
        SearchKey::Unflagged => not(flag("\\Flagged")),
        SearchKey::Unseen => not(flag("\\Seen")),
        SearchKey::Keyword(word) => flag(word.as_ref()),
        SearchKey::Unkeyword(word) => not(flag(word.as_ref())),
        SearchKey::Larger(size) => Key::Larger(u64::from(*size)),
        SearchKey::Smaller(size) => Key::Smaller(u64::from(*size)),
        SearchKey::Before(day) => Key::Arrived(i64::MIN, midnight(day)),
        SearchKey::On(day) => Key::Arrived(midnight(day), midnight(day) + DAY),
        SearchKey::Since(day) => Key::Arrived(midnight(day), i64::MAX),
        SearchKey::SentBefore(day) => Key::Written(i64::MIN, midnight(day)),
        SearchKey::SentOn(day) => Key::Written(midnight(day), midnight(day) + DAY),
        SearchKey::SentSince(day) => Key::Written(midnight(day), i64::MAX),
        SearchKey::Bcc(text) => Key::Field("bcc".into(), words(text)),
        SearchKey::Cc(text) => Key::Field("cc".into(), words(text)),
        SearchKey::From(text) => Key::Field("from".into(), words(text)),
        SearchKey::To(text) => Key::Field("to".into(), words(text)),
        SearchKey::Subject(text) => Key::Field("subject".into(), words(text)),
        SearchKey::Header(name, text) => Key::Field(words(name), words(text)),
        SearchKey::Body(text) => Key::Body(words(text)),
        SearchKey::Text(text) => Key::Text(words(text)),
        SearchKey::ModSequence { modseq, .. } => {
            *by_modseq = true;
            Key::ModSeq(*modseq)
        }
    })
}

fn words(text: &AString) -> String {
    String::from_utf8_lossy(text.as_ref()).to_lowercase()
}

fn midnight(day: &NaiveDate) -> i64 {
    day.as_ref().and_hms_opt(0, 0, 0).map_or(0, |t| t.and_utc().timestamp())
}

/// A message being looked at; what is expensive is read once, when first needed.
struct Candidate<'a> {
    store: &'a Store,
    message: &'a Message,
    fields: Option<SearchFields>,
    header: Option<Vec<u8>>,
    body: Option<String>,
    /// Bytes read.
    bytes: u64,
}

impl Candidate<'_> {
    fn matches(&mut self, key: &Key) -> Result<bool, mail_store::Error> {
        Ok(match key {
            Key::Always => true,
            Key::Never => false,
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
            Key::Written(from, before) => {
                self.fields()?.sent.is_some_and(|day| (*from..*before).contains(&day))
            }
            Key::Field(name, words) => match self.fields()?.get(name) {
                Some(taken_out) => taken_out.is_some_and(|text| text.contains(words.as_str())),
                None => has_field(self.header()?, name, words),
            },
            Key::Body(words) => self.body()?.contains(words.as_str()),
            Key::Text(words) => header_has(self.header()?, words) || self.body()?.contains(words.as_str()),
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

    /// All text of the body, decoded and in lower case.
    fn body(&mut self) -> Result<&str, mail_store::Error> {
        if self.body.is_none() {
            let message = self.store.body(&self.message.body)?;
            self.bytes += message.len() as u64;
            self.body = Some(decoded_text(&message));
        }
        Ok(self.body.as_deref().unwrap_or_default())
    }
}

fn has_field(header: &[u8], name: &str, words: &str) -> bool {
    fields::fields(header)
        .filter(|f| f.name.eq_ignore_ascii_case(name.as_bytes()))
        .any(|f| words.is_empty() || value_has(&fields::unfold(f.value), words))
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

fn decoded_text(message: &[u8]) -> String {
    let mut text = String::new();
    if let Some(parsed) = MessageParser::default().parse(message) {
        collect_text(&parsed, &mut text, 0);
    }
    text
}

fn collect_text(message: &mail_parser::Message, text: &mut String, depth: usize) {
    for part in &message.parts {
        match &part.body {
            PartType::Text(t) | PartType::Html(t) => {
                text.push_str(&t.to_lowercase());
                text.push('\n');
            }
            PartType::Message(inner) if depth < 10 => collect_text(inner, text, depth + 1),
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
        assert!(decoded_text(header).contains("für dich"));
    }
}
