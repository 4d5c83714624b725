//! The shape that every IMAP response has: atoms, strings and lists of them (RFC 9051, section 4).
//!
//! It is read without a grammar of each response, so that a server's new or odd attributes never cost a message.
//!
//! | attack | answer |
//! |---|---|
//! | lists nested without end | refused at [`MAX_DEPTH`] |
//! | lengths that lie | every slice is checked against what is there |

use std::borrow::Cow;

/// How deep lists may nest.
const MAX_DEPTH: usize = 32;

/// One value of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// A word, a number, a flag, or `NIL`.
    Atom(&'a [u8]),
    /// A quoted string, its escapes undone, or a literal.
    String(Cow<'a, [u8]>),
    /// A parenthesised list.
    List(Vec<Value<'a>>),
}

impl<'a> Value<'a> {
    /// The bytes of an atom or a string.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Atom(bytes) => Some(bytes),
            Self::String(bytes) => Some(bytes),
            Self::List(_) => None,
        }
    }

    /// An atom or a string as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        self.bytes().map(String::from_utf8_lossy)
    }

    /// A number.
    pub fn number<N: std::str::FromStr>(&self) -> Option<N> {
        std::str::from_utf8(self.bytes()?).ok()?.parse().ok()
    }

    /// The members of a list.
    pub fn list(&self) -> Option<&[Value<'a>]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }

    /// Whether it is this atom, in any case.
    pub fn is(&self, atom: &str) -> bool {
        matches!(self, Self::Atom(bytes) if bytes.eq_ignore_ascii_case(atom.as_bytes()))
    }
}

/// Reads all values up to the end of the line. `None` when the bytes do not have that shape.
pub fn values(bytes: &[u8]) -> Option<Vec<Value<'_>>> {
    let mut rest = bytes.strip_suffix(b"\r\n").or(bytes.strip_suffix(b"\n")).unwrap_or(bytes);
    let values = sequence(&mut rest, 0)?;
    rest.is_empty().then_some(values)
}

fn sequence<'a>(rest: &mut &'a [u8], depth: usize) -> Option<Vec<Value<'a>>> {
    let mut values = Vec::new();
    loop {
        match rest.first() {
            None | Some(b')') => return Some(values),
            Some(b' ') => *rest = &rest[1..],
            Some(_) => values.push(value(rest, depth)?),
        }
    }
}

fn value<'a>(rest: &mut &'a [u8], depth: usize) -> Option<Value<'a>> {
    match rest.first()? {
        b'(' if depth < MAX_DEPTH => {
            *rest = &rest[1..];
            let values = sequence(rest, depth + 1)?;
            *rest = rest.strip_prefix(b")")?;
            Some(Value::List(values))
        }
        b'"' => quoted(rest),
        b'{' => literal(rest),
        _ => atom(rest),
    }
}

fn quoted<'a>(rest: &mut &'a [u8]) -> Option<Value<'a>> {
    let inner = &rest[1..];
    let mut escaped = false;
    let end = inner.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    })?;
    *rest = &inner[end + 1..];
    let inner = &inner[..end];
    if !inner.contains(&b'\\') {
        return Some(Value::String(Cow::Borrowed(inner)));
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        plain.push(if *byte == b'\\' { *bytes.next()? } else { *byte });
    }
    Some(Value::String(Cow::Owned(plain)))
}

fn literal<'a>(rest: &mut &'a [u8]) -> Option<Value<'a>> {
    let close = rest.iter().position(|b| *b == b'}')?;
    let length: usize = std::str::from_utf8(&rest[1..close]).ok()?.trim_end_matches('+').parse().ok()?;
    let after = &rest[close + 1..];
    let after = after.strip_prefix(b"\r\n").or(after.strip_prefix(b"\n"))?;
    let (content, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(Value::String(Cow::Borrowed(content)))
}

fn atom<'a>(rest: &mut &'a [u8]) -> Option<Value<'a>> {
    // `BODY[HEADER.FIELDS (A B)]` is one atom: nothing ends it inside its brackets.
    let mut brackets = 0usize;
    let end = rest.iter().position(|byte| {
        match byte {
            b'[' => brackets += 1,
            b']' => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        brackets == 0 && matches!(byte, b' ' | b'(' | b')' | b'"')
    });
    let end = end.unwrap_or(rest.len());
    let (atom, after) = rest.split_at_checked(end).filter(|(atom, _)| !atom.is_empty())?;
    *rest = after;
    Some(Value::Atom(atom))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn responses_are_read_into_atoms_strings_and_lists() {
        let read =
            values(b"12 FETCH (UID 5 FLAGS (\\Seen $x) BODY[HEADER.FIELDS (A B)] {4}\r\na)\r\n X NIL)\r\n").unwrap();
        assert_eq!(read[0].number::<u32>(), Some(12));
        assert!(read[1].is("fetch"));
        let items = read[2].list().unwrap();
        assert_eq!(items[3].list().unwrap().len(), 2);
        assert_eq!(items[4], Value::Atom(b"BODY[HEADER.FIELDS (A B)]"));
        assert_eq!(items[5].bytes(), Some(b"a)\r\n".as_slice()));
        assert!(items[7].is("NIL"));
    }

    #[test]
    fn quoted_strings_lose_their_escapes() {
        let read = values(br#"LIST () "\\" "a \"b\"""#).unwrap();
        assert_eq!(read[2].text().unwrap(), r"\");
        assert_eq!(read[3].text().unwrap(), r#"a "b""#);
    }

    #[test]
    fn what_has_another_shape_is_refused() {
        for bad in ["(a", "a)", "\"a", "{5}\r\nab", &"(".repeat(1000), &format!("{}{}", "(".repeat(40), ")".repeat(40))]
        {
            assert_eq!(values(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_string_is_read_back(text in "[ -~]{0,40}") {
            let quoted = format!("X \"{}\" Y\r\n", text.replace('\\', "\\\\").replace('"', "\\\""));
            let read = values(quoted.as_bytes()).unwrap();
            prop_assert_eq!(read[1].text().unwrap(), text);
        }

        #[test]
        fn no_bytes_crash_the_parser(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            // Either outcome is fine; a panic is not.
            let _either = values(&bytes);
        }
    }
}
