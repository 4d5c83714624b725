//! Reading the list of an IMAP ID command (RFC 2971, section 3.3), as Dovecot retains it:
//! `"name" "lockstep-connector" "version" "7.2.0"`.
//!
//! Strings may be quoted, literals or atoms; fields come in any order and case; a value may be NIL. Whatever is not such a
//! list, or says something twice, is not understood, and then nobody is refused for it.

use protocol::{Version, product::ProductId};

/// Bytes; RFC 2971 allows 30 fields of at most 30 and 1024 octets, ours has two short ones.
const MAX: usize = 32 * 1024;

/// One of our clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Client {
    /// The part of the name after `lockstep-`.
    pub product: ProductId,
    /// Its version.
    pub version: Version,
}

/// Which of our clients it is. `None`: none of them, or it cannot be told.
pub fn read(id: &str) -> Option<Client> {
    let (mut name, mut version) = (None, None);
    let mut rest = Words(if id.len() > MAX { return None } else { id.trim() });
    while let Some(field) = rest.next()? {
        let value = rest.next()??;
        let place = match field?.to_ascii_lowercase().as_str() {
            "name" => &mut name,
            "version" => &mut version,
            _ => continue,
        };
        if place.replace(value?).is_some() {
            return None;
        }
    }
    Some(Client { product: name?.strip_prefix("lockstep-")?.parse().ok()?, version: Version::parse(&version?).ok()? })
}

/// What is left of the list.
struct Words<'a>(&'a str);

impl Words<'_> {
    /// The next string, `Some(None)` for NIL. Outer `None`: this is no list. `Some(None)` one level up: it is over.
    #[expect(clippy::option_option, reason = "three questions: is it a list, is there more, is it NIL")]
    fn next(&mut self) -> Option<Option<Option<String>>> {
        let rest = self.0.trim_start_matches(' ');
        let Some(first) = rest.chars().next() else {
            self.0 = rest;
            return Some(None);
        };
        match first {
            '"' => self.quoted(&rest[1..]),
            '{' => self.literal(&rest[1..]),
            '(' | ')' | '\\' => None,
            _ => {
                let end = rest.find(' ').unwrap_or(rest.len());
                let atom = &rest[..end];
                self.0 = &rest[end..];
                let plain = atom.bytes().all(|b| b.is_ascii_graphic() && !b"\"(){}\\%*".contains(&b));
                plain.then(|| Some((!atom.eq_ignore_ascii_case("nil")).then(|| atom.to_owned())))
            }
        }
    }

    #[expect(clippy::option_option, reason = "as `next`")]
    fn quoted(&mut self, rest: &str) -> Option<Option<Option<String>>>
    where
        Self: Sized,
    {
        let mut text = String::new();
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    let used = self.0.len() - rest.len() + at + 1;
                    self.0 = self.0.get(used..)?;
                    return (self.0.is_empty() || self.0.starts_with(' ')).then_some(Some(Some(text)));
                }
                '\\' => text.push(chars.next()?.1),
                '\r' | '\n' | '\0' => return None,
                c => text.push(c),
            }
        }
        None
    }

    #[expect(clippy::option_option, reason = "as `next`")]
    fn literal(&mut self, rest: &str) -> Option<Option<Option<String>>> {
        let (length, after) = rest.split_once('}')?;
        let length: usize = length.strip_suffix('+').unwrap_or(length).parse().ok()?;
        let after = after.strip_prefix("\r\n").or_else(|| after.strip_prefix('\n'))?;
        let text = after.get(..length)?.to_owned();
        let used = self.0.len() - after.len() + length;
        self.0 = self.0.get(used..)?;
        Some(Some(Some(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(id: &str) -> Option<(String, String)> {
        read(id).map(|client| (client.product.to_string(), client.version.to_string()))
    }

    #[test]
    fn our_client_is_found_however_its_id_is_written() {
        for id in [
            r#""name" "lockstep-connector" "version" "7.2.0""#,
            r#""VERSION" "7.2.0" "vendor" NIL "Name" "lockstep-connector""#,
            r#"name lockstep-connector version 7.2.0"#,
            r#""os" "a \" \\ version" "name" "lockstep\-connector" "version" "7.2.0""#,
            "\"name\" {18}\r\nlockstep-connector \"version\" {5+}\r\n7.2.0",
            r#"  "name"  "lockstep-connector"  "version" "7.2.0" "#,
        ] {
            assert_eq!(product(id), Some(("connector".into(), "7.2.0".into())), "{id}");
        }
    }

    #[test]
    fn whatever_is_in_doubt_is_nobody() {
        let long = format!(r#""name" "lockstep-connector" "version" "7.2.0" "x" "{}""#, "x".repeat(1 << 20));
        for id in [
            "",
            "NIL",
            r#""name" "Thunderbird" "version" "128.0""#,
            r#""name" "lockstep-connector""#,
            r#""version" "7.2.0""#,
            r#""name" NIL "version" "7.2.0""#,
            r#""name" "lockstep-connector" "version" NIL"#,
            r#""name" "lockstep-connector" "version" "new""#,
            r#""name" "lockstep-../x" "version" "7.2.0""#,
            r#""name" "not lockstep-connector" "version" "7.2.0""#,
            r#""name" "lockstep-connector" "version" "7.2.0" "version" "7.3.0""#,
            r#""name" "lockstep-connector" "version" "7.2.0" "odd""#,
            r#""x" "\"name\" \"lockstep-connector\" \"version\" \"7.2.0\"""#,
            r#""name" "lockstep-connector" "version" "7.2.0"#,
            r#""name""lockstep-connector" "version" "7.2.0""#,
            r#"("name" "lockstep-connector" "version" "7.2.0")"#,
            "\"name\" \"lockstep-connector\" \"version\" {99}\r\n7.2.0",
            "\"name\" \"lockstep-connector\" \"version\" {18446744073709551616}\r\n7.2.0",
            "\"name\" \"lockstep-connector\" \"version\" {1}\r\né",
            "\"name\" \"lockstep-connector\r\n\" \"version\" \"7.2.0\"",
            &long,
        ] {
            assert_eq!(product(id), None, "{}", &id[..id.len().min(80)]);
        }
    }
}
