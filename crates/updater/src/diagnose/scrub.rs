//! Takes secrets out of texts: those of this machine by their values, and others by the shape of what stands around them.

use std::fs;

use serde_json::Value;

use crate::layout::Layout;

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

/// `scheme://user:password@host` loses user and password (RFC 3986, 3.2.1).
fn userinfo(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c == '/' || c.is_whitespace() || "\"'<>?#".contains(c)).unwrap_or(after.len());
        match after[..end].rfind('@') {
            Some(sign) => {
                out.push_str(REMOVED);
                rest = &after[sign..];
            }
            None => rest = after,
        }
    }
    out + rest
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
            let quotes = value.len() - value.trim_start_matches(['"', '\\', '\'']).len();
            let start = line.len() - value.len() + quotes;
            let ends = |c: char| if quotes > 0 { "\"'\\".contains(c) } else { c.is_whitespace() || ",;}".contains(c) };
            let end = line[start..].find(ends).map_or(line.len(), |e| start + e);
            let secret = &line[start..end];
            if end > start && !secret.starts_with(REMOVED) && !["null", "true", "false"].contains(&secret) {
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
        let scrubber = Scrubber { values: vec!["s3cr3t-k3y".into()] };
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
        ] {
            assert_eq!(scrubber.clean(before), after);
        }
    }

    proptest! {
        #[test]
        fn no_text_crashes_it(text in "(password|token|://|@|=|:|\"|bearer |é|[ -~]){0,30}") {
            drop(Scrubber::default().clean(&text));
        }
    }
}
