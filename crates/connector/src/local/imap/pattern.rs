//! LIST patterns: `*` is anything, `%` is anything without the delimiter (RFC 3501, section 6.3.8).

/// Patterns longer than this match nothing.
const MAX_PATTERN: usize = 2_000;

/// Whether a name (as on the wire) matches. INBOX matches in any case. Time is pattern times name, whatever the wildcards.
pub(super) fn matches(pattern: &[u8], name: &[u8], delimiter: Option<u8>) -> bool {
    if pattern.len() > MAX_PATTERN {
        return false;
    }
    let inbox = name.split(|&b| Some(b) == delimiter).next() == Some(b"INBOX");
    // reachable[i]: the pattern so far can have eaten i bytes of the name.
    let mut reachable = vec![false; name.len() + 1];
    reachable[0] = true;
    for &p in pattern {
        if matches!(p, b'*' | b'%') {
            for i in 0..name.len() {
                reachable[i + 1] |= reachable[i] && (p == b'*' || Some(name[i]) != delimiter);
            }
        } else {
            for i in (0..name.len()).rev() {
                let same = name[i] == p || (inbox && i < 5 && name[i].eq_ignore_ascii_case(&p));
                reachable[i + 1] = reachable[i] && same;
            }
            reachable[0] = false;
        }
    }
    reachable[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_mean_what_the_rfc_says() {
        let m = |pattern: &str, name: &str| matches(pattern.as_bytes(), name.as_bytes(), Some(b'/'));
        assert!(m("*", "a/b/c") && m("%", "a") && !m("%", "a/b") && m("%/%", "a/b"));
        assert!(m("a*c", "a/b/c") && !m("a%c", "a/b/c") && m("a*", "a") && !m("a/%", "a"));
        assert!(m("inbox", "INBOX") && m("InBox/x", "INBOX/x") && !m("archive", "Archive"));
        assert!(!m("", "a") && m("", ""));
        assert!(!matches(&b"*".repeat(MAX_PATTERN + 1), b"a", None));
    }
}
