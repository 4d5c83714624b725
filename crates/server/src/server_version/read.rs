//! Finding a version in whatever a server program says of itself.

use protocol::{Version, product::parse_version};

/// The first version in a text: `7.2.0`, `v7.2`, `Mail Server 7.3.0-beta.1 (build 12)`, `{"version":"7.3.0"}`. Of more than three
/// numbers, as in `2.3.19.1`, the first three count. A number without a dot is no version.
pub fn first_version(text: &str) -> Option<Version> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || ".+-".contains(c))).find_map(|word| {
        let word = word.trim_matches(['.', '-', '+']);
        let digits = word.strip_prefix('v').unwrap_or(word);
        if !digits.starts_with(|c: char| c.is_ascii_digit()) || !digits.contains('.') {
            return None;
        }
        let three = || digits.splitn(4, '.').take(3).collect::<Vec<_>>().join(".");
        parse_version(digits).or_else(|_| parse_version(&three())).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_where_programs_put_them() {
        for (text, version) in [
            ("7.2.0\n", "7.2.0"),
            ("v7.3", "7.3.0"),
            ("Mail Server 7.3.0-beta.1 (build 12)", "7.3.0-beta.1"),
            ("2.3.19.1 (9b53102964)", "2.3.19"),
            (r#"{"name":"mail2","version":"7.3.0"}"#, "7.3.0"),
            ("exim4 version 4.96, built 2023.", "4.96.0"),
        ] {
            assert_eq!(first_version(text).unwrap().to_string(), version, "{text}");
        }
        for text in ["", "seven", "7", "build 12", "...", "-.-"] {
            assert_eq!(first_version(text), None, "{text}");
        }
    }
}
