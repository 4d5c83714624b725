//! IMAP responses as values, so that two servers' spellings of the same answer are equal.

use std::collections::BTreeMap;
use std::fmt;

/// One piece of a response.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Nil,
    Atom(String),
    /// Quoted or literal.
    Text(Vec<u8>),
    List(Vec<Value>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Value::Nil => write!(f, "NIL"),
            Value::Atom(atom) => write!(f, "{atom}"),
            Value::Text(text) => write!(f, "{:?}", String::from_utf8_lossy(text)),
            Value::List(list) => {
                write!(f, "(")?;
                for (i, value) in list.iter().enumerate() {
                    write!(f, "{}{value:?}", if i > 0 { " " } else { "" })?;
                }
                write!(f, ")")
            }
        }
    }
}

/// Reads the values of a response line (its literals in place) to its end.
pub fn parse(bytes: &[u8]) -> Vec<Value> {
    let mut reader = Reader { bytes, at: 0 };
    let values = reader.values();
    assert!(reader.at >= bytes.len(), "rest of a response: {:?}", String::from_utf8_lossy(&bytes[reader.at..]));
    values
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn values(&mut self) -> Vec<Value> {
        let mut values = Vec::new();
        while let Some(&b) = self.bytes.get(self.at) {
            match b {
                b' ' | b'\r' | b'\n' => self.at += 1,
                b')' => break,
                b'(' => {
                    self.at += 1;
                    let inside = self.values();
                    assert_eq!(
                        self.bytes.get(self.at),
                        Some(&b')'),
                        "an open list in {:?}",
                        String::from_utf8_lossy(self.bytes)
                    );
                    self.at += 1;
                    values.push(Value::List(inside));
                }
                b'"' => values.push(Value::Text(self.quoted())),
                b'{' => values.push(Value::Text(self.literal())),
                _ => values.push(self.atom()),
            }
        }
        values
    }

    fn quoted(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        self.at += 1;
        loop {
            let b = self.bytes[self.at];
            self.at += 1;
            match b {
                b'"' => return text,
                b'\\' => {
                    text.push(self.bytes[self.at]);
                    self.at += 1;
                }
                b'\r' | b'\n' => panic!("a line end in a quoted string: {:?}", String::from_utf8_lossy(self.bytes)),
                _ => text.push(b),
            }
        }
    }

    fn literal(&mut self) -> Vec<u8> {
        let end = self.at + self.bytes[self.at..].iter().position(|&b| b == b'}').expect("a literal's length");
        let length: usize = std::str::from_utf8(&self.bytes[self.at + 1..end]).unwrap().parse().unwrap();
        let start = end + 3;
        self.at = start + length;
        self.bytes[start..self.at].to_vec()
    }

    /// `BODY[HEADER.FIELDS (a b)]<0>` is one atom.
    fn atom(&mut self) -> Value {
        let start = self.at;
        let mut brackets = 0;
        while let Some(&b) = self.bytes.get(self.at) {
            match b {
                b'[' => brackets += 1,
                b']' if brackets > 0 => brackets -= 1,
                b' ' | b'(' | b')' | b'\r' | b'\n' if brackets == 0 => break,
                _ => {}
            }
            self.at += 1;
        }
        let atom = String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned();
        if atom == "NIL" { Value::Nil } else { Value::Atom(atom) }
    }
}

/// The items of a FETCH answer by their names in capitals.
pub type Items = BTreeMap<String, Value>;

/// Reads `(FLAGS (…) BODY[1] "…")`.
pub fn items(value: &Value) -> Items {
    let Value::List(list) = value else { panic!("not a list: {value:?}") };
    assert!(list.len() % 2 == 0, "names without values: {list:?}");
    let mut items = Items::new();
    for pair in list.chunks(2) {
        let Value::Atom(name) = &pair[0] else { panic!("not a name: {:?}", pair[0]) };
        let name = name.to_ascii_uppercase().replace('"', "");
        let value = normal(&name, &pair[1]);
        let before = items.insert(name.clone(), value);
        assert!(before.is_none(), "{name} twice");
    }
    items
}

/// One spelling for what servers may spell differently.
fn normal(name: &str, value: &Value) -> Value {
    match (name, value) {
        // A part that does not exist: RFC 3501 leaves open whether it is NIL or empty.
        (name, Value::Nil) if name.starts_with("BODY[") => Value::Text(Vec::new()),
        // RFC 3501, section 9: the day is two digits or a space and one.
        ("INTERNALDATE", Value::Text(text)) => {
            let text = String::from_utf8_lossy(text);
            Value::Text(text.trim_start_matches([' ', '0']).as_bytes().to_vec())
        }
        ("FLAGS", value) => flags(value),
        ("MODSEQ", _) => Value::Nil,
        ("ENVELOPE", value) => without_dovecots_words(value),
        (_, value) => value.clone(),
    }
}

/// Dovecot puts words of its own where an address has no local part or domain; we leave them empty.
fn without_dovecots_words(value: &Value) -> Value {
    match value {
        Value::Text(text) if matches!(text.as_slice(), b"MISSING_MAILBOX" | b"MISSING_DOMAIN") => {
            Value::Text(Vec::new())
        }
        Value::List(list) => Value::List(list.iter().map(without_dovecots_words).collect()),
        other => other.clone(),
    }
}

/// A list of flags in one order and case.
pub fn flags(value: &Value) -> Value {
    let Value::List(list) = value else { panic!("not a list: {value:?}") };
    let mut list: Vec<Value> = list
        .iter()
        .map(|flag| match flag {
            Value::Atom(flag) => Value::Atom(flag.to_ascii_lowercase()),
            other => other.clone(),
        })
        .collect();
    list.sort();
    Value::List(list)
}
