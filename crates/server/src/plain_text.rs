//! Making what clients say safe to show.
//!
//! | attack | answer |
//! |---|---|
//! | CR/LF in a name forges a line of the log | every control character is written as an escape |
//! | ESC, C1 take over the terminal that shows it | the same |
//! | U+202E and its kind turn text around | bidirectional controls and other invisible characters: the same |
//! | a name of a megabyte | at most [`MAX_TEXT`] characters, and an ellipsis |
//!
//! HTML has its own escaping, in the templates.

use protocol::message::MAX_TEXT;

/// Cuts a text to [`MAX_TEXT`] characters, as it is stored.
pub fn capped(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

/// One printable line: what could act on a terminal, a log or the direction of reading is written as `\u{…}`.
pub fn printable(text: &str) -> String {
    let mut line = String::new();
    let mut length = 0;
    for c in text.chars() {
        let piece = if acts(c) { format!("\\u{{{:x}}}", u32::from(c)) } else { c.to_string() };
        length += piece.chars().count();
        if length > MAX_TEXT {
            line.push('…');
            break;
        }
        line.push_str(&piece);
    }
    line
}

/// Whether a character does something else than being seen (Unicode: Cc, Cf, Zl, Zp, private use, non-characters).
pub fn acts(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c),
            0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x180e
            | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f
            | 0xe000..=0xf8ff | 0xfdd0..=0xfdef | 0xfe00..=0xfe0f | 0xfeff | 0xfff0..=0xfffb | 0xfffe..=0xffff
            | 0x110bd | 0x110cd | 0x1d173..=0x1d17a | 0xe0000..=0x10ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_becomes_one_printable_line() {
        let hostile = "eve\r\n[08/Sep/2011] User bob\u{1b}[2J\u{9b}31m\u{202e}gpj\u{2028}\u{0}";
        let line = printable(hostile);
        assert_eq!(line, "eve\\u{d}\\u{a}[08/Sep/2011] User bob\\u{1b}[2J\\u{9b}31m\\u{202e}gpj\\u{2028}\\u{0}");
        assert!(!line.chars().any(acts));
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["alice@example.test", "Zoë Müller", "EXAMPLE\\bob", "林", "o'neil; drop table"] {
            assert_eq!(printable(name), name);
        }
    }

    #[test]
    fn a_megabyte_is_cut() {
        assert!(printable(&"x".repeat(1 << 20)).chars().count() <= MAX_TEXT + 1);
        assert!(printable(&"\u{1b}".repeat(1 << 20)).chars().count() <= MAX_TEXT + 1);
        assert_eq!(capped(&"é".repeat(1 << 20)).chars().count(), MAX_TEXT);
    }
}
