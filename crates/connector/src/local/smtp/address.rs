//! Envelope addresses and the parameters after them (RFC 5321, section 4.1.2; SMTPUTF8, RFC 6531).

/// The path and the parameters of MAIL FROM or RCPT TO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// `local@domain`, or empty for `<>`.
    pub(super) address: String,
    /// `KEY` or `KEY=value`, keys in upper case.
    pub(super) parameters: Vec<(String, Option<String>)>,
    /// The address is not ASCII.
    pub(super) is_utf8: bool,
}

/// Longest address in bytes (RFC 5321, section 4.5.3.1.3).
const MAX_ADDRESS: usize = 254;

/// Reads what follows `FROM:` or `TO:`; `None` if it is not an address. A source route is dropped, as RFC 5321, section 3.6.1, asks.
pub(super) fn parse(text: &str) -> Option<Path> {
    let text = text.trim_start_matches(' ').strip_prefix('<')?;
    let end = end_of_path(text)?;
    let (inside, rest) = (&text[..end], &text[end + 1..]);
    let address = match inside.strip_prefix('@') {
        Some(routed) => routed.split_once(':')?.1,
        None => inside,
    };
    if !(address.is_empty() || is_address(address)) || !(rest.is_empty() || rest.starts_with(' ')) {
        return None;
    }
    let parameters = rest
        .split_ascii_whitespace()
        .map(|p| match p.split_once('=') {
            Some((key, value)) => (key.to_ascii_uppercase(), Some(value.to_owned())),
            None => (p.to_ascii_uppercase(), None),
        })
        .collect();
    Some(Path { address: address.to_owned(), parameters, is_utf8: !address.is_ascii() })
}

/// Where the `>` outside quotes is.
fn end_of_path(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return Some(i),
            _ => {}
        }
    }
    None
}

fn is_address(address: &str) -> bool {
    // RFC 5321, 4.1.1.3: postmaster needs no domain.
    if address.eq_ignore_ascii_case("postmaster") {
        return true;
    }
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    address.len() <= MAX_ADDRESS && local.len() <= 64 && is_local_part(local) && is_domain(domain)
}

fn is_local_part(local: &str) -> bool {
    if let Some(quoted) = local.strip_prefix('"') {
        let Some(inside) = quoted.strip_suffix('"') else { return false };
        let mut escaped = false;
        return inside.chars().all(|c| match c {
            _ if c.is_control() => false,
            _ if escaped => {
                escaped = false;
                true
            }
            '\\' => {
                escaped = true;
                true
            }
            '"' => false,
            _ => true,
        }) && !escaped;
    }
    !local.is_empty() && local.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"()<>[]:;@\\,\"".contains(c))
}

fn is_domain(domain: &str) -> bool {
    let literal = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']'));
    if let Some(literal) = literal {
        return !literal.is_empty() && literal.chars().all(|c| c.is_ascii_alphanumeric() || ".:-".contains(c));
    }
    !domain.is_empty()
        && domain.split('.').all(|label| !label.is_empty())
        && domain
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c) || (!c.is_ascii() && c.is_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> Option<String> {
        parse(text).map(|p| p.address)
    }

    #[test]
    fn addresses_routes_and_the_null_sender() {
        assert_eq!(address("<a.b+c@x.org>").unwrap(), "a.b+c@x.org");
        assert_eq!(address(" <a@x>").unwrap(), "a@x");
        assert_eq!(address("<@r,@s:a@x>").unwrap(), "a@x");
        assert_eq!(address("<>").unwrap(), "");
        assert_eq!(address("<\"odd > \\\" one\"@[127.0.0.1]>").unwrap(), "\"odd > \\\" one\"@[127.0.0.1]");
        assert_eq!(address("<Postmaster>").unwrap(), "Postmaster");
        let utf8 = parse("<jürgen@müller.de> SMTPUTF8").unwrap();
        assert!(utf8.is_utf8 && utf8.parameters == [("SMTPUTF8".into(), None)]);
    }

    #[test]
    fn what_could_smuggle_something_is_refused() {
        for bad in [
            "a@x",
            "<a>",
            "<a@x",
            "<a b@x>",
            "<a@x>x",
            "<a@>",
            "<@x>",
            "<a@x..y>",
            "<a@x\t>",
            "<\"a@x>",
            "<a@x y>",
            "<a\u{7f}@x>",
        ] {
            assert_eq!(address(bad), None, "{bad}");
        }
        assert_eq!(address(&format!("<{}@x>", "a".repeat(65))), None);
    }

    proptest! {
        #[test]
        fn an_accepted_address_has_no_control_characters_or_line_ends(text in "<(\\PC|[ -~]|\r|\n|\t){0,30}>( [A-Z=]{0,9}){0,2}") {
            if let Some(path) = parse(&text) {
                prop_assert!(!path.address.chars().any(char::is_control));
            }
        }
    }
}
