//! Group Policy: what an administrator of the domain has chosen for this PC goes before `updater.toml`, field by field.
//!
//! Windows puts it into the registry ([`KEY`]), where only administrators can write. A value that is not accepted is left out, told in
//! words, and changes nothing else: a PC of which nobody knows why it stands still helps nobody.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Settings;

/// Below `HKEY_LOCAL_MACHINE`.
pub const KEY: &str = r"Software\Policies\Lockstep";
/// The site's server, instead of the site profile's.
pub const SERVER_URL: &str = "ServerUrl";

/// A value of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `REG_SZ`.
    Text(String),
    /// `REG_MULTI_SZ`.
    Texts(Vec<String>),
    /// `REG_DWORD`.
    Number(u32),
}

/// What each name stands for: the section and key of `updater.toml`, and the kind of value.
const NAMES: [(&str, &str, &str, Kind); 7] = [
    ("UpgradePolicy", "policy", "upgrade", Kind::Text),
    ("DowngradePolicy", "policy", "downgrade", Kind::Text),
    ("Windows", "policy", "maintenance", Kind::Texts),
    ("Proxy", "download", "proxy", Kind::Text),
    ("BytesPerSecond", "download", "bytes_per_second", Kind::Number),
    ("Sources", "download", "sources", Kind::Texts),
    ("StartJitterSeconds", "download", "start_jitter", Kind::Seconds),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Texts,
    Number,
    Seconds,
}

/// What has come of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// The site's server, if it is another one than the profile's.
    pub server: Option<String>,
    /// What was left out and why, for people.
    pub complaints: Vec<String>,
}

/// Every value that is set. What cannot be read is told.
pub fn read(complaints: &mut Vec<String>) -> BTreeMap<&'static str, Value> {
    let mut found = BTreeMap::new();
    for name in NAMES.iter().map(|(name, ..)| *name).chain([SERVER_URL]) {
        match crate::platform::group_policy(name) {
            Ok(Some(value)) => drop(found.insert(name, value)),
            Ok(None) => {}
            Err(error) => complaints.push(format!("Group Policy: {name} cannot be read: {error}")),
        }
    }
    found
}

/// Puts what is set in the place of what the file says.
pub fn apply(settings: &mut Settings, values: &BTreeMap<&'static str, Value>) -> Applied {
    let mut applied = Applied::default();
    for (name, section, key, kind) in NAMES {
        let Some(value) = values.get(name) else { continue };
        match one(value, section, key, kind) {
            Ok(with) => take(settings, with, key),
            Err(why) => applied.complaints.push(format!("Group Policy: {name} is not accepted: {why}")),
        }
    }
    match values.get(SERVER_URL) {
        Some(Value::Text(url)) if url.starts_with("https://") => {
            applied.server = Some(url.trim_end_matches('/').into())
        }
        Some(_) => applied.complaints.push(format!("Group Policy: {SERVER_URL} is not an https:// address")),
        None => {}
    }
    applied
}

/// The settings that hold this one value, read as the file is.
fn one(value: &Value, section: &str, key: &str, kind: Kind) -> Result<Settings, String> {
    let value = match (kind, value) {
        (Kind::Text, Value::Text(text)) => toml::Value::from(text.clone()),
        (Kind::Texts, Value::Texts(texts)) => toml::Value::from(texts.clone()),
        (Kind::Number, Value::Number(number)) => toml::Value::from(i64::from(*number)),
        (Kind::Seconds, Value::Number(seconds)) => toml::Value::from(format!("{seconds} s")),
        (Kind::Text, _) => return Err("it must be a text (REG_SZ)".into()),
        (Kind::Texts, _) => return Err("it must be a list of texts (REG_MULTI_SZ)".into()),
        (Kind::Number | Kind::Seconds, _) => return Err("it must be a number (REG_DWORD)".into()),
    };
    let inner = toml::Table::from_iter([(key.to_owned(), value)]);
    let outer = toml::Table::from_iter([(section.to_owned(), toml::Value::Table(inner))]);
    Settings::deserialize(outer).map_err(|error| error.message().replace('\n', ", "))
}

fn take(settings: &mut Settings, with: Settings, key: &str) {
    match key {
        "upgrade" => settings.policy.upgrade = with.policy.upgrade,
        "downgrade" => settings.policy.downgrade = with.policy.downgrade,
        "maintenance" => settings.policy.maintenance = with.policy.maintenance,
        "proxy" => settings.download.proxy = with.download.proxy,
        "bytes_per_second" => settings.download.bytes_per_second = with.download.bytes_per_second,
        "sources" => settings.download.sources = with.download.sources,
        _ => settings.download.start_jitter = with.download.start_jitter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn what_is_set_goes_before_the_file_and_nothing_else_changes() {
        let file = b"[policy]\nupgrade = \"silent\"\nhold = [\"updater\"]\n[download]\nbytes_per_second = 5000\n";
        let mut settings = super::super::parse(file).unwrap();
        let values = BTreeMap::from([
            ("UpgradePolicy", text("necessary-ask")),
            ("DowngradePolicy", text("never")),
            ("Windows", Value::Texts(vec!["Sat 02:00-05:00".into()])),
            ("Proxy", text("http://proxy.example.test:3128")),
            ("Sources", Value::Texts(vec!["https://near.example.test/lockstep".into()])),
            ("StartJitterSeconds", Value::Number(90)),
            (SERVER_URL, text("https://mail.example.test:4443/")),
        ]);
        let applied = apply(&mut settings, &values);
        assert_eq!(applied.complaints, Vec::<String>::new());
        assert_eq!(applied.server.as_deref(), Some("https://mail.example.test:4443"));
        let expected = br#"
[policy]
upgrade = "necessary-ask"
downgrade = "never"
maintenance = ["Sat 02:00-05:00"]
hold = ["updater"]
[download]
proxy = "http://proxy.example.test:3128"
bytes_per_second = 5000
sources = ["https://near.example.test/lockstep"]
start_jitter = "90 s"
"#;
        assert_eq!(settings, super::super::parse(expected).unwrap());
    }

    #[test]
    fn a_bad_value_is_told_and_left_out() {
        let mut settings = super::super::parse(b"[policy]\nupgrade = \"silent\"\n").unwrap();
        let before = settings.clone();
        let values = BTreeMap::from([
            ("UpgradePolicy", text("loud")),
            ("BytesPerSecond", Value::Number(1)),
            ("Proxy", Value::Number(3128)),
            (SERVER_URL, text("http://mail.example.test")),
        ]);
        let applied = apply(&mut settings, &values);
        assert_eq!((settings, applied.server), (before, None));
        assert_eq!(applied.complaints.len(), 4);
        for (complaint, words) in
            applied.complaints.iter().zip(["necessary-ask", "REG_SZ", "at least 1024", "https://"])
        {
            assert!(complaint.starts_with("Group Policy: ") && complaint.contains(words), "{complaint}");
        }
    }
}
