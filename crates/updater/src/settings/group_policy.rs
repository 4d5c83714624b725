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

/// One policy, and the key of `updater.toml` that it goes before.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The value's name in the registry.
    pub name: &'static str,
    /// Section of `updater.toml`.
    pub section: &'static str,
    /// Key in that section.
    pub key: &'static str,
    /// What kind of value it is.
    pub kind: Kind,
    take: fn(&mut Settings, Settings),
}

/// Every key of `updater.toml` has one; a test sees to that.
#[rustfmt::skip]
pub const POLICIES: [Policy; 14] = [
    policy("UpgradePolicy", "upgrade", Kind::Text, |to, from| to.policy.upgrade = from.policy.upgrade),
    policy("DowngradePolicy", "downgrade", Kind::Text, |to, from| to.policy.downgrade = from.policy.downgrade),
    policy("Windows", "maintenance", Kind::Texts, |to, from| to.policy.maintenance = from.policy.maintenance),
    policy("WindowsFor", "maintenance_for", Kind::Text, |to, from| to.policy.maintenance_for = from.policy.maintenance_for),
    policy("TimeZone", "time_zone", Kind::Text, |to, from| to.policy.time_zone = from.policy.time_zone),
    policy("Channel", "channel", Kind::Text, |to, from| to.policy.channel = from.policy.channel),
    policy("Hold", "hold", Kind::Texts, |to, from| to.policy.hold = from.policy.hold),
    download("Proxy", "proxy", Kind::Text, |to, from| to.download.proxy = from.download.proxy),
    download("NoProxy", "no_proxy", Kind::Texts, |to, from| to.download.no_proxy = from.download.no_proxy),
    download("Sources", "sources", Kind::Texts, |to, from| to.download.sources = from.download.sources),
    download("Certificates", "certificates", Kind::Text, |to, from| to.download.certificates = from.download.certificates),
    download("BytesPerSecond", "bytes_per_second", Kind::Number, |to, from| to.download.bytes_per_second = from.download.bytes_per_second),
    download("MaxDiskMegabytes", "max_disk", Kind::Megabytes, |to, from| to.download.max_disk = from.download.max_disk),
    download("StartJitterSeconds", "start_jitter", Kind::Seconds, |to, from| to.download.start_jitter = from.download.start_jitter),
];

const fn policy(name: &'static str, key: &'static str, kind: Kind, take: fn(&mut Settings, Settings)) -> Policy {
    Policy { name, section: "policy", key, kind, take }
}

const fn download(name: &'static str, key: &'static str, kind: Kind, take: fn(&mut Settings, Settings)) -> Policy {
    Policy { name, section: "download", key, kind, take }
}

/// What kind of value a policy has, and how it stands in `updater.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `REG_SZ`: a text.
    Text,
    /// `REG_MULTI_SZ`: a list of texts.
    Texts,
    /// `REG_DWORD`: a number.
    Number,
    /// `REG_DWORD`: a span, `"90 s"`.
    Seconds,
    /// `REG_DWORD`: bytes, in millions of them.
    Megabytes,
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
    for name in POLICIES.iter().map(|policy| policy.name).chain([SERVER_URL]) {
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
    for policy in POLICIES {
        let Some(value) = values.get(policy.name) else { continue };
        match one(value, policy) {
            Ok(with) => (policy.take)(settings, with),
            Err(why) => applied.complaints.push(format!("Group Policy: {} is not accepted: {why}", policy.name)),
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
fn one(value: &Value, policy: Policy) -> Result<Settings, String> {
    let value = match (policy.kind, value) {
        (Kind::Text, Value::Text(text)) => toml::Value::from(text.clone()),
        (Kind::Texts, Value::Texts(texts)) => toml::Value::from(texts.clone()),
        (Kind::Number, Value::Number(number)) => toml::Value::from(i64::from(*number)),
        (Kind::Seconds, Value::Number(seconds)) => toml::Value::from(format!("{seconds} s")),
        (Kind::Megabytes, Value::Number(megabytes)) => toml::Value::from(i64::from(*megabytes) * 1_000_000),
        (Kind::Text, _) => return Err("it must be a text (REG_SZ)".into()),
        (Kind::Texts, _) => return Err("it must be a list of texts (REG_MULTI_SZ)".into()),
        (Kind::Number | Kind::Seconds | Kind::Megabytes, _) => return Err("it must be a number (REG_DWORD)".into()),
    };
    let inner = toml::Table::from_iter([(policy.key.to_owned(), value)]);
    let outer = toml::Table::from_iter([(policy.section.to_owned(), toml::Value::Table(inner))]);
    Settings::deserialize(outer).map_err(|error| error.message().replace('\n', ", "))
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
            ("WindowsFor", text("all")),
            ("TimeZone", text("Europe/Prague")),
            ("Channel", text("beta")),
            ("NoProxy", Value::Texts(vec!["mail.example.test".into(), "10.0.0.0/8".into()])),
            ("Certificates", text(r"C:\ProgramData\Example\near.pem")),
            ("MaxDiskMegabytes", Value::Number(5000)),
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
maintenance_for = "all"
time_zone = "Europe/Prague"
channel = "beta"
hold = ["updater"]
[download]
proxy = "http://proxy.example.test:3128"
no_proxy = ["mail.example.test", "10.0.0.0/8"]
certificates = 'C:\ProgramData\Example\near.pem'
max_disk = 5_000_000_000
bytes_per_second = 5000
sources = ["https://near.example.test/lockstep"]
start_jitter = "90 s"
"#;
        assert_eq!(settings, super::super::parse(expected).unwrap());
    }

    #[test]
    fn a_hold_takes_the_place_of_those_in_the_file() {
        let mut settings = super::super::parse(b"[policy]\nhold = [\"updater\"]\n").unwrap();
        apply(&mut settings, &BTreeMap::from([("Hold", Value::Texts(vec!["connector 7.3.1".into(), "*".into()]))]));
        assert_eq!(settings, super::super::parse(b"[policy]\nhold = [\"connector 7.3.1\", \"*\"]\n").unwrap());
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
