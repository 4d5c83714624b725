//! The arguments of SEARCH (RFC 3501, sections 6.4.4 and 9; RFC 7162, section 3.1.5).
//!
//! Read here and not by `imap-codec`, whose keys can be nested ten deep: mail programs that search several fields nest an OR for
//! each, and words can be in other charsets than UTF-8.
//!
//! | Attack | Defence |
//! |---|---|
//! | keys nested a thousand deep | [`MAX_DEPTH`] |
//! | keys by the thousand | the framing's limit of a command's length |

use super::refusal::Refusal;
use super::selected::Selected;
use imap_codec::imap_types::sequence::SequenceSet;
use mail_parser::decoders::charsets::map::charset_decoder;
use std::collections::BTreeSet;

/// How deep keys may be nested.
const MAX_DEPTH: usize = 200;
const DAY: i64 = 24 * 60 * 60;

/// A search key with its sets resolved and its words in lower case.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    All(Vec<Key>),
    Any(Vec<Key>),
    Not(Box<Key>),
    Always,
    Recent,
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

/// What SEARCH asks for.
#[derive(Debug)]
pub(super) struct Criteria {
    pub(super) key: Key,
    /// The MODSEQ key is used: the client wants MODSEQs.
    pub(super) by_modseq: bool,
}

/// A SEARCH command cut from its frame: `tag [UID] SEARCH arguments`; `None` for any other command.
pub(super) fn split(command: &[u8]) -> Option<(bool, &[u8])> {
    let after_tag = &command[command.iter().position(|&b| b == b' ')? + 1..];
    let verb = |text: &'static [u8], rest: &[u8]| {
        rest.get(..text.len()).is_some_and(|v| v.eq_ignore_ascii_case(text)).then_some(text.len())
    };
    let (by_uid, rest) = match verb(b"UID ", after_tag) {
        Some(length) => (true, &after_tag[length..]),
        None => (false, after_tag),
    };
    let arguments = &rest[verb(b"SEARCH", rest)?..];
    matches!(arguments.first(), Some(b' ' | b'\r' | b'\n') | None).then_some((by_uid, arguments))
}

/// Reads the arguments, from the space after SEARCH to the line end.
pub(super) fn parse(arguments: &[u8], selected: &Selected) -> Result<Criteria, Refusal> {
    let arguments = arguments.strip_suffix(b"\n").unwrap_or(arguments);
    let arguments = arguments.strip_suffix(b"\r").unwrap_or(arguments);
    let mut input = Input { rest: arguments, selected, decode: utf8, by_modseq: false };
    input.space()?;
    if input.peek_word().eq_ignore_ascii_case(b"CHARSET") {
        input.word();
        input.space()?;
        let charset = input.string()?;
        input.decode = decoder(&charset)?;
        input.space()?;
    }
    let key = input.keys(0)?;
    if !input.rest.iter().all(|&b| b == b' ') {
        return Err(bad());
    }
    Ok(Criteria { key, by_modseq: input.by_modseq })
}

fn bad() -> Refusal {
    Refusal::bad("SEARCH does not understand these keys")
}

type Decode = fn(&[u8]) -> String;

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn decoder(charset: &[u8]) -> Result<Decode, Refusal> {
    if charset.eq_ignore_ascii_case(b"UTF-8") || charset.eq_ignore_ascii_case(b"US-ASCII") {
        return Ok(utf8);
    }
    let known = charset_decoder(&charset.to_ascii_lowercase());
    known.ok_or_else(|| Refusal::no("BADCHARSET (US-ASCII UTF-8 ISO-8859-1)", "unknown charset"))
}

struct Input<'a> {
    rest: &'a [u8],
    selected: &'a Selected,
    decode: Decode,
    by_modseq: bool,
}

impl<'a> Input<'a> {
    /// One or more keys, all of which must match, up to `)` or the end.
    fn keys(&mut self, depth: usize) -> Result<Key, Refusal> {
        let mut keys = vec![self.key(depth)?];
        while self.rest.first() == Some(&b' ') && self.rest.iter().any(|&b| b != b' ') {
            self.space()?;
            keys.push(self.key(depth)?);
        }
        Ok(Key::All(keys))
    }

    fn key(&mut self, depth: usize) -> Result<Key, Refusal> {
        if depth > MAX_DEPTH {
            return Err(Refusal::bad("search keys are nested too deep"));
        }
        if self.rest.first() == Some(&b'(') {
            self.rest = &self.rest[1..];
            let key = self.keys(depth + 1)?;
            self.rest = self.rest.strip_prefix(b")").ok_or_else(bad)?;
            return Ok(key);
        }
        if self.rest.first().is_some_and(|b| b.is_ascii_digit() || *b == b'*') {
            return self.set(false);
        }
        let flag = |name: &str| Key::Flag(name.to_owned());
        let not = |key: Key| Key::Not(Box::new(key));
        let name = String::from_utf8_lossy(self.word()).to_ascii_uppercase();
        Ok(match name.as_str() {
            "ALL" => Key::Always,
            "ANSWERED" => flag("\\Answered"),
            "DELETED" => flag("\\Deleted"),
            "DRAFT" => flag("\\Draft"),
            "FLAGGED" => flag("\\Flagged"),
            "SEEN" => flag("\\Seen"),
            "UNANSWERED" => not(flag("\\Answered")),
            "UNDELETED" => not(flag("\\Deleted")),
            "UNDRAFT" => not(flag("\\Draft")),
            "UNFLAGGED" => not(flag("\\Flagged")),
            "UNSEEN" => not(flag("\\Seen")),
            "RECENT" => Key::Recent,
            "NEW" => Key::All(vec![Key::Recent, not(flag("\\Seen"))]),
            "OLD" => not(Key::Recent),
            "KEYWORD" => Key::Flag(self.keyword()?),
            "UNKEYWORD" => not(Key::Flag(self.keyword()?)),
            "BCC" | "CC" | "FROM" | "TO" | "SUBJECT" => Key::Field(name.to_ascii_lowercase(), self.words()?),
            "HEADER" => Key::Field(self.words()?, self.words()?),
            "BODY" => Key::Body(self.words()?),
            "TEXT" => Key::Text(self.words()?),
            "LARGER" => Key::Larger(self.number()?),
            "SMALLER" => Key::Smaller(self.number()?),
            "BEFORE" => Key::Arrived(i64::MIN, self.day()?),
            "ON" => self.day().map(|day| Key::Arrived(day, day + DAY))?,
            "SINCE" => Key::Arrived(self.day()?, i64::MAX),
            "SENTBEFORE" => Key::Written(i64::MIN, self.day()?),
            "SENTON" => self.day().map(|day| Key::Written(day, day + DAY))?,
            "SENTSINCE" => Key::Written(self.day()?, i64::MAX),
            "MODSEQ" => self.modseq()?,
            "UID" => {
                self.space()?;
                self.set(true)?
            }
            "NOT" => {
                self.space()?;
                not(self.key(depth + 1)?)
            }
            "OR" => {
                self.space()?;
                let one = self.key(depth + 1)?;
                self.space()?;
                Key::Any(vec![one, self.key(depth + 1)?])
            }
            _ => return Err(bad()),
        })
    }

    fn set(&mut self, by_uid: bool) -> Result<Key, Refusal> {
        let set = SequenceSet::try_from(std::str::from_utf8(self.word()).map_err(|_| bad())?).map_err(|_| bad())?;
        Ok(Key::Uids(self.selected.resolve_leniently(&set, by_uid)))
    }

    /// `[name type] modseq`: MODSEQs of single flags are not kept, so the name says nothing (RFC 7162, 3.1.5).
    fn modseq(&mut self) -> Result<Key, Refusal> {
        self.by_modseq = true;
        if self.rest.starts_with(b" \"") {
            self.space()?;
            self.string()?;
            self.space()?;
            self.word();
        }
        self.number().map(Key::ModSeq)
    }

    fn keyword(&mut self) -> Result<String, Refusal> {
        self.space()?;
        match self.word() {
            b"" => Err(bad()),
            word => Ok(String::from_utf8_lossy(word).into_owned()),
        }
    }

    fn words(&mut self) -> Result<String, Refusal> {
        self.space()?;
        let string = self.string()?;
        Ok((self.decode)(&string).to_lowercase())
    }

    fn number(&mut self) -> Result<u64, Refusal> {
        self.space()?;
        std::str::from_utf8(self.word()).ok().and_then(|n| n.parse().ok()).ok_or_else(bad)
    }

    /// `1-Feb-2026`, perhaps quoted: midnight in Unix seconds.
    fn day(&mut self) -> Result<i64, Refusal> {
        const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
        self.space()?;
        let text = String::from_utf8(self.string()?).map_err(|_| bad())?.to_ascii_lowercase();
        let parts: Vec<&str> = text.trim_start().split('-').collect();
        let [day, month, year] = parts.as_slice() else { return Err(bad()) };
        let month = MONTHS.iter().position(|m| m == month).ok_or_else(bad)?;
        if year.len() != 4 {
            return Err(bad());
        }
        let date = jiff::civil::Date::new(
            year.parse().map_err(|_| bad())?,
            i8::try_from(month + 1).map_err(|_| bad())?,
            day.parse().map_err(|_| bad())?,
        );
        let midnight = date.and_then(|d| d.to_zoned(jiff::tz::TimeZone::UTC)).map_err(|_| bad())?;
        Ok(midnight.timestamp().as_second())
    }

    fn space(&mut self) -> Result<(), Refusal> {
        let spaces = self.rest.iter().take_while(|&&b| b == b' ').count();
        self.rest = &self.rest[spaces..];
        if spaces > 0 { Ok(()) } else { Err(bad()) }
    }

    fn peek_word(&self) -> &'a [u8] {
        let end = self.rest.iter().position(|b| b" ()\r\n\"{".contains(b)).unwrap_or(self.rest.len());
        &self.rest[..end]
    }

    /// Up to a space, a parenthesis or a quote; may be empty.
    fn word(&mut self) -> &'a [u8] {
        let word = self.peek_word();
        self.rest = &self.rest[word.len()..];
        word
    }

    /// An astring: quoted, a literal, or a word.
    fn string(&mut self) -> Result<Vec<u8>, Refusal> {
        match self.rest.first() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal(),
            _ => match self.word() {
                b"" => Err(bad()),
                word => Ok(word.to_vec()),
            },
        }
    }

    fn quoted(&mut self) -> Result<Vec<u8>, Refusal> {
        let mut text = Vec::new();
        let mut bytes = self.rest[1..].iter();
        loop {
            match bytes.next() {
                Some(b'"') => break,
                Some(b'\\') => text.push(*bytes.next().ok_or_else(bad)?),
                Some(b'\r' | b'\n') | None => return Err(bad()),
                Some(&b) => text.push(b),
            }
        }
        self.rest = bytes.as_slice();
        Ok(text)
    }

    fn literal(&mut self) -> Result<Vec<u8>, Refusal> {
        let end = self.rest.iter().position(|&b| b == b'}').ok_or_else(bad)?;
        let number = self.rest[1..end].strip_suffix(b"+").unwrap_or(&self.rest[1..end]);
        let length: usize = std::str::from_utf8(number).ok().and_then(|n| n.parse().ok()).ok_or_else(bad)?;
        let after = &self.rest[end + 1..];
        let after = after.strip_prefix(b"\r\n").or_else(|| after.strip_prefix(b"\n")).ok_or_else(bad)?;
        let (text, rest) = after.split_at_checked(length).ok_or_else(bad)?;
        self.rest = rest;
        Ok(text.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(arguments: &str) -> Option<Key> {
        parse(arguments.as_bytes(), &Selected::of_uids(&[2, 4, 6])).ok().map(|c| c.key)
    }

    fn one(arguments: &str) -> Key {
        let Some(Key::All(mut keys)) = key(arguments) else { panic!("{arguments}") };
        keys.pop().unwrap()
    }

    #[test]
    fn a_search_is_told_from_other_commands() {
        assert_eq!(split(b"a SEARCH ALL\r\n"), Some((false, &b" ALL\r\n"[..])));
        assert_eq!(split(b"a uid search 1\r\n"), Some((true, &b" 1\r\n"[..])));
        assert_eq!(split(b"a SEARCHES ALL\r\n"), None);
        assert_eq!(split(b"a UID FETCH 1 UID\r\n"), None);
    }

    #[test]
    fn keys_mean_what_the_rfc_says() {
        assert_eq!(one(" 2:*"), Key::Uids([4, 6].into()));
        assert_eq!(one(" UID 1:4"), Key::Uids([2, 4].into()));
        assert_eq!(one(" SUBJECT \"A \\\"b\\\"\"\r\n"), Key::Field("subject".into(), "a \"b\"".into()));
        let latin1 = parse(b" CHARSET ISO-8859-1 BODY {3}\r\nF\xfcr\r\n", &Selected::of_uids(&[])).unwrap();
        assert_eq!(latin1.key, Key::All(vec![Key::Body("für".into())]));
        assert_eq!(one(" ON 1-Jan-1970"), Key::Arrived(0, DAY));
        assert_eq!(one(" MODSEQ \"/flags/\\\\seen\" all 7"), Key::ModSeq(7));
        assert_eq!(
            one(" (SEEN OR 1 2) "),
            Key::All(vec![Key::Flag("\\Seen".into()), Key::Any(vec![Key::Uids([2].into()), Key::Uids([4].into())]),])
        );
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for wrong in [
            "",
            " ",
            " NOSUCH",
            " SUBJECT",
            " OR 1",
            " (1",
            " 1)",
            " ON 32-Jan-2026",
            " ON 1-Jan-26",
            " LARGER x",
            " 1,",
            " {9}\r\nx",
            " SUBJECT \"x",
            " 0",
        ] {
            assert_eq!(key(wrong), None, "{wrong:?}");
        }
        let deep = format!("{} 1", " NOT".repeat(MAX_DEPTH + 2));
        assert_eq!(key(&deep), None);
        assert!(key(&format!("{} 1", " NOT".repeat(100))).is_some());
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(arguments in "( (OR|NOT|\\(|\\)|1:\\*|\"|SUBJECT|\\{3\\+?\\}\r\n|x|UID|CHARSET|UTF-8|MODSEQ|9)){0,12}") {
            if let Err(refusal) = parse(arguments.as_bytes(), &Selected::of_uids(&[1, 2])) {
                prop_assert!(refusal.bad || refusal.code.starts_with("BADCHARSET"));
            }
        }
    }
}
