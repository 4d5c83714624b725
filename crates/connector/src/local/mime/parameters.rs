//! `Content-Type` and `Content-Disposition` values: a word and its parameters (RFC 2045, section 5.1).

/// `text/plain; charset=utf-8` taken apart. Values are not decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Value {
    /// What comes before the first semicolon: `text/plain`, `attachment`.
    pub(crate) word: Vec<u8>,
    /// The parameters in order.
    pub(crate) parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Value {
    /// The first parameter of this name.
    pub(crate) fn parameter(&self, name: &str) -> Option<&[u8]> {
        self.parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v.as_slice())
    }
}

/// Reads an unfolded value; what cannot be understood is left out. At most 100 parameters.
pub(crate) fn parse(value: &[u8]) -> Value {
    let mut rest = value;
    let word = token(&mut rest, b";");
    let mut parameters = Vec::new();
    while skip_to(&mut rest, b';') && parameters.len() < 100 {
        let name = token(&mut rest, b"=;");
        if rest.first() != Some(&b'=') {
            continue;
        }
        rest = &rest[1..];
        let value = token(&mut rest, b";");
        if !name.is_empty() {
            parameters.push((name, value));
        }
    }
    Value { word, parameters }
}

/// Moves behind the next `stop`; false at the end.
fn skip_to(rest: &mut &[u8], stop: u8) -> bool {
    match rest.iter().position(|&b| b == stop) {
        Some(i) => {
            *rest = &rest[i + 1..];
            true
        }
        None => {
            *rest = &[];
            false
        }
    }
}

/// A token or quoted string, with comments and white space around it skipped; stops before any of `stops`.
fn token(rest: &mut &[u8], stops: &[u8]) -> Vec<u8> {
    let mut word = Vec::new();
    let mut ended = false;
    while let Some(&b) = rest.first() {
        match b {
            _ if stops.contains(&b) => break,
            b'"' => {
                word.extend(super::address::quoted(rest));
                ended = true;
                continue;
            }
            b'(' => {
                super::address::comment(rest);
                continue;
            }
            // White space inside is dropped around "/", and ends a token otherwise.
            b' ' | b'\t' => ended |= !word.is_empty() && word.last() != Some(&b'/'),
            _ if ended && b != b'/' => {}
            _ => {
                ended = false;
                word.push(b);
            }
        }
        *rest = &rest[1..];
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> (String, Vec<(String, String)>) {
        let show = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let v = parse(value.as_bytes());
        (show(&v.word), v.parameters.iter().map(|(n, v)| (show(n), show(v))).collect())
    }

    #[test]
    fn parameters_are_taken_apart() {
        let (word, parameters) = text("multipart/mixed (a comment); boundary=\"a;b\\\"c\" ; charset = utf-8;x");
        assert_eq!(word, "multipart/mixed");
        assert_eq!(parameters, [("boundary".into(), "a;b\"c".into()), ("charset".into(), "utf-8".into())]);
    }

    #[test]
    fn nonsense_gives_what_there_is() {
        assert_eq!(text(""), (String::new(), vec![]));
        assert_eq!(text(";;=;a=\"open").1, [("a".to_owned(), "open".to_owned())]);
        assert_eq!(text("text / html").0, "text/html");
        assert_eq!(text("text plain").0, "text");
    }
}
