//! Folder names: UTF-8 inside, modified UTF-7 on the wire (RFC 3501, section 5.1.3).

use crate::{Error, Result};

/// INBOX in any case is `INBOX`, also as the first part of a longer name; every other name stays as it is.
pub fn fold_inbox(name: &str, delimiter: &str) -> String {
    let first = if delimiter.is_empty() { name } else { name.split(delimiter).next().unwrap_or(name) };
    if first.eq_ignore_ascii_case("INBOX") { format!("INBOX{}", &name[first.len()..]) } else { name.to_owned() }
}

/// Refuses names that no mail server could keep: empty parts, control characters, more than 1000 bytes, more than 50 parts.
pub(crate) fn check(name: &str, delimiter: &str) -> Result<()> {
    let parts_ok =
        delimiter.is_empty() || (name.split(delimiter).all(|p| !p.is_empty()) && name.split(delimiter).count() <= 50);
    if name.is_empty() || name.len() > 1000 || name.chars().any(char::is_control) || !parts_ok {
        return Err(Error::BadFolderName(name.to_owned()));
    }
    Ok(())
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// Writes a name in modified UTF-7.
pub fn encode_utf7(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut chars = name.chars().peekable();
    while let Some(&c) = chars.peek() {
        match c {
            '&' => {
                out.push_str("&-");
                chars.next();
            }
            ' '..='~' => {
                out.push(c);
                chars.next();
            }
            _ => {
                out.push('&');
                let mut bits = 0u32;
                let mut held = 0u32;
                let mut unit = [0u16; 2];
                while let Some(&c) = chars.peek().filter(|c| !matches!(c, ' '..='~')) {
                    for &u in c.encode_utf16(&mut unit).iter() {
                        bits = bits << 16 | u32::from(u);
                        held += 16;
                        while held >= 6 {
                            held -= 6;
                            out.push(ALPHABET[(bits >> held & 63) as usize] as char);
                        }
                    }
                    chars.next();
                }
                if held > 0 {
                    out.push(ALPHABET[(bits << (6 - held) & 63) as usize] as char);
                }
                out.push('-');
            }
        }
    }
    out
}

/// Reads modified UTF-7; `None` if it is not (bad base64, lone surrogates, bytes outside ASCII, superfluous encoding).
pub fn decode_utf7(wire: &str) -> Option<String> {
    let mut out = String::with_capacity(wire.len());
    let mut rest = wire;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let end = rest[at..].find('-')? + at;
        let coded = &rest[at + 1..end];
        if coded.is_empty() {
            out.push('&');
        } else {
            let (mut bits, mut held) = (0u32, 0u32);
            let mut units = Vec::new();
            for b in coded.bytes() {
                let value = ALPHABET.iter().position(|&a| a == b)? as u32;
                bits = bits << 6 | value;
                held += 6;
                if held >= 16 {
                    held -= 16;
                    units.push((bits >> held) as u16);
                }
            }
            out.push_str(&String::from_utf16(&units).ok()?);
        }
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    // Accepting only what we would write keeps one name from having two spellings.
    (encode_utf7(&out) == wire).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_examples_of_modified_utf7() {
        assert_eq!(encode_utf7("~peter/mail/台北/日本語"), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(decode_utf7("Entw&APw-rfe").unwrap(), "Entwürfe");
        assert_eq!(encode_utf7("R&D"), "R&-D");
        assert_eq!(decode_utf7("&bad"), None);
        assert_eq!(decode_utf7("ü"), None);
    }

    #[test]
    fn inbox_is_one_folder_in_any_case() {
        assert_eq!(fold_inbox("inbox", "/"), "INBOX");
        assert_eq!(fold_inbox("Inbox.Work", "."), "INBOX.Work");
        assert_eq!(fold_inbox("Inboxes", "/"), "Inboxes");
    }

    proptest! {
        #[test]
        fn every_name_round_trips(name in "\\PC{0,20}") {
            prop_assert_eq!(decode_utf7(&encode_utf7(&name)), Some(name));
        }

        #[test]
        fn decoding_anything_never_panics(wire in "[ -~]{0,20}") {
            if let Some(name) = decode_utf7(&wire) {
                prop_assert_eq!(encode_utf7(&name), wire);
            }
        }
    }
}
