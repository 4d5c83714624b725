//! Writing IMAP: strings, lists, dates (RFC 3501, sections 4 and 9).

/// Writes a string: quoted if it can be, else a literal.
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    if text.len() <= 1000 && text.iter().all(|b| matches!(b, b' '..=b'~')) {
        out.push(b'"');
        for &b in text {
            if matches!(b, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(b);
        }
        out.push(b'"');
    } else if text.contains(&0) {
        // RFC 3501: a literal has no NUL.
        literal(out, &text.iter().map(|&b| if b == 0 { b'?' } else { b }).collect::<Vec<_>>());
    } else {
        literal(out, text);
    }
}

/// Writes a string, or NIL.
pub(super) fn nstring(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend(b"NIL"),
    }
}

/// Writes a literal with exactly these bytes.
pub(super) fn literal(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(format!("{{{}}}\r\n", bytes.len()).as_bytes());
    out.extend(bytes);
}

/// Writes a folder's name as the client must say it.
pub(super) fn mailbox(out: &mut Vec<u8>, name: &str) {
    string(out, mail_store::encode_utf7(name).as_bytes());
}

/// INTERNALDATE: `" 1-Jan-2026 09:30:00 +0000"` with its quotes. Times outside years 0 to 9999 are shown as the epoch.
pub(super) fn date_time(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let t = time.to_zoned(jiff::tz::TimeZone::UTC);
    let (t, year) = if t.year() < 0 {
        (jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC), 1970)
    } else {
        (t.clone(), t.year())
    };
    let month = MONTHS[usize::from(t.month().unsigned_abs()) - 1];
    format!("\"{:>2}-{month}-{year:04} {:02}:{:02}:{:02} +0000\"", t.day(), t.hour(), t.minute(), t.second())
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A set of numbers in the short form `1:3,5`; `numbers` ascending.
pub(super) fn number_set(numbers: &[u32]) -> String {
    let mut set = String::new();
    let mut i = 0;
    while i < numbers.len() {
        let first = numbers[i];
        while i + 1 < numbers.len() && numbers[i] + 1 == numbers[i + 1] {
            i += 1;
        }
        if !set.is_empty() {
            set.push(',');
        }
        set.push_str(&if numbers[i] == first { first.to_string() } else { format!("{first}:{}", numbers[i]) });
        i += 1;
    }
    set
}

/// Text for people inside a response: one line of printable ASCII, at most 500 characters. RFC 3501 allows no other in `resp-text`.
pub(super) fn line(text: &str) -> String {
    text.chars()
        .map(|c| {
            if matches!(c, ' '..='~') {
                c
            } else if c.is_control() {
                ' '
            } else {
                '?'
            }
        })
        .take(500)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &[u8]) -> String {
        let mut out = Vec::new();
        string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_quoted_or_literal() {
        assert_eq!(written(b"a \"b\" \\"), "\"a \\\"b\\\" \\\\\"");
        assert_eq!(written("ü".as_bytes()), "{2}\r\nü");
        assert_eq!(written(b"a\r\nb\0"), "{5}\r\na\r\nb?");
    }

    #[test]
    fn dates_and_sets_are_as_the_rfc_writes_them() {
        assert_eq!(date_time(1_767_259_800), "\" 1-Jan-2026 09:30:00 +0000\"");
        assert_eq!(date_time(i64::MIN), "\" 1-Jan-1970 00:00:00 +0000\"");
        assert_eq!(number_set(&[1, 2, 3, 5, 7, 8]), "1:3,5,7:8");
        assert_eq!(number_set(&[]), "");
        assert_eq!(line("a\r\n* BYE ü"), "a  * BYE ?");
    }
}
