//! Takes secrets out of texts: those of this machine by their values, and others by the shape of what stands around them.

use std::fs;

use serde_json::Value;

use crate::{layout::Layout, settings::group_policy};

/// What stands in a secret's place.
const REMOVED: &str = "[removed]";

/// Names whose values are secrets, in JSON, TOML and header lines; lower case, as the end of a name.
const SECRET_NAMES: [&str; 12] = [
    "enrolment_key",
    "private_key",
    "secret_key",
    "password",
    "passphrase",
    "passwd",
    "secret",
    "token",
    "signature",
    "claim",
    "authorization",
    "cookie",
];

/// Values that stand under such names and tell nothing.
const NO_SECRETS: [&str; 3] = ["null", "true", "false"];

/// Words after which a credential follows, as in `Authorization: Bearer …` (RFC 6750, RFC 7617), and how long it is at least: a
/// word such as "basic settings" is hardly one.
const SCHEMES: [(&str, usize); 2] = [("bearer ", 6), ("basic ", 12)];

/// Knows secrets.
#[derive(Default)]
pub struct Scrubber {
    values: Vec<String>,
}

impl Scrubber {
    /// One that knows the secrets of this machine, as far as whoever runs it may read them. Who may not read them cannot put them
    /// into an archive by way of their files either.
    pub fn of(layout: &Layout) -> Self {
        let mut values = Vec::new();
        let json = |path| fs::read(path).ok().and_then(|b| serde_json::from_slice::<Value>(&b).ok());
        if let Some(site) = json(layout.site()) {
            values.extend(site["enrolment_key"].as_str().map(str::to_owned));
        }
        if let Some(Value::Object(identity)) = json(layout.identity()) {
            // Everything that is a text, but for the id, which is shown everywhere.
            let texts = identity.iter().filter(|(name, _)| *name != "device");
            values.extend(texts.filter_map(|(_, v)| v.as_str().map(str::to_owned)));
        }
        values.retain(|v| v.len() >= 6);
        if let Ok(settings) = fs::read(layout.settings()) {
            values.extend(of_proxy(&String::from_utf8_lossy(&settings)));
        }
        // One that cannot be read is none that anything here could know.
        if let Some(group_policy::Value::Text(proxy)) = group_policy::read(&mut Vec::new()).get("Proxy") {
            values.extend(of_address(proxy));
        }
        Self::knowing(values)
    }

    /// One that knows these, in every form in which a text may hold them.
    fn knowing(values: Vec<String>) -> Self {
        let mut values: Vec<_> = values.iter().flat_map(|value| forms(value)).collect();
        // Whole before part.
        values.sort_by_key(|v| std::cmp::Reverse(v.len()));
        values.dedup();
        Self { values }
    }

    /// The text without secrets.
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in &self.values {
            text = text.replace(value.as_str(), REMOVED);
        }
        let lines = text.split('\n').map(|line| named(&schemes(&userinfo(line))));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// What is secret of the proxy's address, in machine settings that may be read or not: those that are wrong are looked into most.
fn of_proxy(settings: &str) -> Vec<String> {
    let read = settings.parse::<toml::Table>().ok();
    let proxy = read.as_ref().and_then(|t| t.get("download")?.get("proxy")?.as_str().map(str::to_owned));
    let lines = || settings.lines().filter(|l| l.trim_start().starts_with("proxy")).filter_map(|l| l.split_once('='));
    match proxy {
        Some(address) => of_address(&address),
        None => lines().flat_map(|(_, value)| of_address(value)).collect(),
    }
}

/// Name and password together, and the password: as they stand in the address and as they are meant.
fn of_address(address: &str) -> Vec<String> {
    let Some((who, _)) = address.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')) else { return vec![] };
    let password = who.split_once(':').map(|(_, password)| password);
    let mut found = vec![who.to_owned()];
    // A shorter one would tear up every text that is to tell something; where it stands in an address, it goes by its shape.
    found.extend(password.filter(|p| p.len() >= 4).map(str::to_owned));
    found
}

/// A secret as it is, and as addresses, JSON, TOML and log lines have it.
fn forms(value: &str) -> Vec<String> {
    let plain = decoded(value);
    let mut all = vec![value.to_owned(), plain.clone()];
    let inner = |text: String| text[1..text.len() - 1].to_owned();
    let quoted = |text: &str| inner(format!("{text:?}"));
    let encoded = |hex: fn(u8) -> String, kept: &[u8]| {
        let one = |b: u8| if b.is_ascii_alphanumeric() || kept.contains(&b) { char::from(b).into() } else { hex(b) };
        plain.bytes().map(one).collect::<String>()
    };
    for kept in [&b"-._~"[..], b"-._~!$&'()*+,;=", b"-._~!$&'()*+,:%"] {
        all.push(encoded(|b| format!("%{b:02X}"), kept));
        all.push(encoded(|b| format!("%{b:02x}"), kept));
    }
    // As the library that speaks to the proxy writes it.
    if let Ok(mut url) = reqwest::Url::parse("http://host/")
        && url.set_password(Some(&plain)).is_ok()
    {
        all.extend(url.password().map(str::to_owned));
    }
    for text in all.clone() {
        all.extend([quoted(&text), quoted(&quoted(&text))]);
        all.push(inner(serde_json::Value::from(text).to_string()));
    }
    all.retain(|text| text.len() >= 4);
    all.sort();
    all.dedup();
    all
}

/// Without percent-encoding (RFC 3986, 2.1); what is none stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        match hex.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `scheme://user:password@host` loses user and password (RFC 3986, 3.2.1), whatever characters a person has written into them.
/// Rather too much goes than too little.
fn userinfo(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let scheme = before[..at].trim_end_matches(|c: char| c.is_ascii_alphanumeric() || "+-.".contains(c));
        // In quotes the address ends with them; otherwise with a blank, unless that stands in the middle of a password.
        let (whole, word) = match Quote::opened_by(scheme) {
            Some(quote) => (quote.end(after), quote.end(after)),
            None => (after.len(), after.find(char::is_whitespace).unwrap_or(after.len())),
        };
        let authority = after[..word].find(['/', '?', '#']).unwrap_or(word);
        // A host follows the sign: where none does, the quotes or the blank stand in the middle of a password.
        let in_it = |end: usize| after[..end].rfind('@').filter(|sign| sign + 1 < end);
        let unfinished = !is_host(&after[..authority]);
        let sign = in_it(authority).or_else(|| unfinished.then(|| in_it(whole).or_else(|| after.rfind('@'))).flatten());
        match sign {
            Some(sign) => {
                out.push_str(REMOVED);
                rest = &after[sign..];
            }
            None => rest = after,
        }
    }
    out + rest
}

/// Whether that is a host, perhaps with a port, as it stands in a sentence: then no user's name and password begin there.
fn is_host(text: &str) -> bool {
    let text = text.trim_end_matches(|c: char| ".,;:)}>\"'".contains(c));
    let (host, port) = match text.rfind(':').filter(|colon| !text[*colon..].contains(']')) {
        Some(colon) => (&text[..colon], &text[colon + 1..]),
        None => (text, ""),
    };
    let plain = |c: char| c.is_alphanumeric() || "-._[]:".contains(c);
    port.bytes().all(|b| b.is_ascii_digit())
        && host.chars().all(plain)
        && (host.starts_with('[') || !host.contains(':'))
}

/// A quotation mark as it stands in a text that may itself have been quoted: so many backslashes stand before it.
#[derive(Clone, Copy)]
struct Quote {
    mark: char,
    backslashes: usize,
}

impl Quote {
    /// The one that the text ends with.
    fn opened_by(text: &str) -> Option<Self> {
        let mark = text.chars().next_back().filter(|c| ['"', '\''].contains(c))?;
        Some(Self { mark, backslashes: backslashes_at_end(&text[..text.len() - 1]) })
    }

    /// Where what it has opened ends, the closing mark and its backslashes not counted. Within `"`, a mark that is escaped once
    /// more closes nothing.
    fn end(self, text: &str) -> usize {
        let closes = |at: usize| {
            let before = backslashes_at_end(&text[..at]);
            before >= self.backslashes && before % (2 * (self.backslashes + 1)) == self.backslashes
        };
        let found = text.match_indices(self.mark).map(|(at, _)| at).find(|at| closes(*at));
        found.map_or(text.len(), |at| at - self.backslashes)
    }
}

fn backslashes_at_end(text: &str) -> usize {
    text.len() - text.trim_end_matches('\\').len()
}

fn schemes(line: &str) -> String {
    let mut line = line.to_owned();
    for (scheme, shortest) in SCHEMES {
        let mut from = 0;
        while let Some(found) = line[from..].to_ascii_lowercase().find(scheme) {
            let start = from + found + scheme.len();
            let end = line[start..]
                .find(|c: char| c.is_whitespace() || "\"',;".contains(c))
                .map_or(line.len(), |e| start + e);
            if end - start >= shortest {
                line.replace_range(start..end, REMOVED);
                from = start + REMOVED.len();
            } else {
                from = start;
            }
        }
    }
    line
}

/// `"name": "value"`, `name = "value"`, `name=value`, `Name: value`, where the name is a secret's.
fn named(line: &str) -> String {
    let mut line = line.to_owned();
    for name in SECRET_NAMES {
        let mut from = 0;
        while let Some(found) = line[from..].to_ascii_lowercase().find(name) {
            let after = from + found + name.len();
            from = after;
            let rest = &line[after..];
            let separator = rest.trim_start_matches(['"', '\'', '\\', ' ']);
            if !separator.starts_with([':', '=']) {
                continue;
            }
            let value = separator[1..].trim_start_matches(' ');
            let opening = value.len() - value.trim_start_matches('\\').len();
            let quote =
                value[opening..].chars().next().and_then(|c| Quote::opened_by(&value[..opening + c.len_utf8()]));
            let (start, end) = match quote {
                Some(quote) => {
                    let start = line.len() - value.len() + opening + 1;
                    // TOML's texts of several lines begin with three.
                    let more = line[start..].len() - line[start..].trim_start_matches(quote.mark).len();
                    let start = if more >= 2 { start + more } else { start };
                    (start, start + if more >= 2 { line[start..].len() } else { quote.end(&line[start..]) })
                }
                None => {
                    let start = line.len() - value.len();
                    let word = value.find(char::is_whitespace).unwrap_or(value.len());
                    let plain = value.find([',', ';', '}']).map_or(word, |end| end.min(word));
                    // What a person writes without quotes may have these in it; what a program writes is one of those words.
                    let is_word = NO_SECRETS.contains(&&value[..plain]);
                    (start, start + if is_word { plain } else { word })
                }
            };
            let secret = &line[start..end];
            if end > start && !secret.starts_with(REMOVED) && !NO_SECRETS.contains(&secret) {
                line.replace_range(start..end, REMOVED);
                from = start + REMOVED.len();
            }
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_go_by_value_and_by_shape_and_the_rest_stays() {
        let scrubber = Scrubber::knowing(vec!["s3cr3t-k3y".into()]);
        for (before, after) in [
            ("the key s3cr3t-k3y is wrong", "the key [removed] is wrong"),
            ("http://u:p@proxy:3128/x", "http://[removed]@proxy:3128/x"),
            ("see https://mail.example.test/a@b", "see https://mail.example.test/a@b"),
            ("Authorization: Bearer abcdefgh", "Authorization: [removed] [removed]"),
            (r#"{"password":"a b","user":"u"}"#, r#"{"password":"[removed]","user":"u"}"#),
            (r#""ticket": null, "token": null"#, r#""ticket": null, "token": null"#),
            (r#"{\"token\":\"abc\"}"#, r#"{\"token\":\"[removed]\"}"#),
            ("password=abc user=u", "password=[removed] user=u"),
            ("no password was given", "no password was given"),
            ("basic settings", "basic settings"),
            (r#"{"token":null,"user":"u"}"#, r#"{"token":null,"user":"u"}"#),
            ("password = \"it's-secret\" # mine", "password = \"[removed]\" # mine"),
            (r#"password = "a\"b\\" x"#, r#"password = "[removed]" x"#),
            (r"password = 'a\b' x", "password = '[removed]' x"),
            (r#"{\"token\":\"a\\\"b'c\",\"user\":1}"#, r#"{\"token\":\"[removed]\",\"user\":1}"#),
            ("password=a,b;c}d user=u", "password=[removed] user=u"),
            ("password = \"\"\"abc\"\"\"", "password = \"\"\"[removed]"),
            ("https://mail.example.test:4443: refused (a@b)", "https://mail.example.test:4443: refused (a@b)"),
            (r#""https://mail.example.test", "a@b""#, r#""https://mail.example.test", "a@b""#),
            ("https://[::1]:4443, a@b", "https://[::1]:4443, a@b"),
        ] {
            assert_eq!(scrubber.clean(before), after);
        }
    }

    /// Whatever a password has in it, neither it nor a part of it is left, wherever and however it stands.
    #[test]
    fn no_part_of_the_proxys_password_stays_whatever_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        fs::create_dir_all(layout.etc()).unwrap();
        let signs =
            ["'", "\"", "\\", "@", "<", ">", "%", " ", "/", "#", "?", ":", "%27", "%40x%22", "{", "é", "'@\" <%\\"];
        for sign in signs {
            let password = format!("FIRST{sign}HUNTER2");
            let address = format!("http://kim:{password}@proxy.example.test:3128");
            let literal = (!address.contains('\'')).then(|| format!("'{address}'"));
            let texts = [Some(toml::Value::from(address.clone()).to_string()), literal, Some(format!("\"{address}\""))];
            for text in texts.into_iter().flatten() {
                let line = format!("[download]\nproxy = {text}\n");
                fs::write(layout.settings(), &line).unwrap();
                let (knowing, other) = (Scrubber::of(&layout), Scrubber::default());
                let url = reqwest::Url::parse(&address).map_or(address.clone(), |url| url.to_string());
                for told in [
                    line.clone(),
                    format!("no answer from {url} in time"),
                    format!("{address:?} is wrong"),
                    serde_json::json!({ "why": format!("no answer of {address}") }).to_string(),
                    format!("login kim:{password} refused, and {password:?} too"),
                ] {
                    let clean = knowing.clean(&told);
                    assert!(!clean.contains("HUNTER2") && !clean.contains("FIRST"), "{sign}: {told} -> {clean}");
                }
                // By its shape alone: as the settings have it.
                let clean = other.clean(&line);
                assert!(!clean.contains("HUNTER2") && !clean.contains("FIRST"), "{sign}: {line} -> {clean}");
                assert!(clean.contains("proxy.example.test:3128"), "{clean}");
            }
        }
    }

    #[test]
    fn a_password_with_any_sign_goes_by_its_name() {
        for sign in ["'", "\\", "@", "<", ">", "%", " ", ",", "}", "\"", "\\\"", "'\\"] {
            let password = format!("FIRST{sign}HUNTER2");
            let json = serde_json::json!({ "password": password, "user": "kim" }).to_string();
            let twice = serde_json::json!({ "said": json }).to_string();
            for text in [format!("password = {password:?}"), json, twice] {
                let clean = Scrubber::default().clean(&text);
                assert!(!clean.contains("HUNTER2") && !clean.contains("FIRST"), "{text} -> {clean}");
                assert!(!text.contains("kim") || clean.contains("kim"), "{text} -> {clean}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_crashes_it(text in "(password|token|://|@|=|:|\"|bearer |é|[ -~]){0,30}") {
            drop(Scrubber::default().clean(&text));
        }
    }
}
