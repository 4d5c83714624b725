//! What a manifest says about running instances: how they get a new version, and when it counts as healthy.
//!
//! Both are the vendor's, signed with the package; nobody on the PC or at the site can add to them.
//!
//! | attack | answer |
//! |---|---|
//! | a unit's name that is an option, a path or a pattern for systemctl | [`UnitName`]: plain characters, a letter or digit first, `.service` at the end |
//! | limits that keep a machine waiting for ever, or that no version can keep | [`Health::check`]: each has a range |

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How running instances get the new version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Users run it: they are told over `watch`, and whoever started the program starts it again.
    #[default]
    Watch,
    /// A service of the machine: this unit of systemd is restarted.
    Systemd(UnitName),
}

impl Restart {
    /// Whether this is what is meant when a manifest says nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The name of a service's unit: `name.service`, up to 128 characters of `a-z A-Z 0-9 . _ - @`, starting with a letter or
/// digit. A template's instance (`name@instance.service`) is allowed, a template alone is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(String);

impl UnitName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name that is not a [`UnitName`].
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not the name of a service's unit: letters, digits and . _ - @, starting with a letter or digit and ending in .service"
)]
pub struct BadUnitName(String);

impl FromStr for UnitName {
    type Err = BadUnitName;

    fn from_str(text: &str) -> Result<Self, BadUnitName> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
        let good = text.len() <= 128
            && text.strip_suffix(".service").is_some_and(|stem| !stem.is_empty() && !stem.ends_with('@'))
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(plain)
            && text.bytes().filter(|b| *b == b'@').count() <= 1;
        if good { Ok(Self(text.to_owned())) } else { Err(BadUnitName(text.chars().take(140).collect())) }
    }
}

impl TryFrom<String> for UnitName {
    type Error = BadUnitName;

    fn try_from(text: String) -> Result<Self, BadUnitName> {
        text.parse()
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> Self {
        name.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The machine-level rule: when a version that was just activated counts as healthy. Only what the machine itself sees
/// counts; no user has a say in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Seconds that the self-check may take; 1 to 300.
    pub self_check_seconds: u16,
    /// Seconds that a restarted service may take until it is active; 1 to 600.
    pub ready_seconds: u16,
    /// A service that ends this often of its own accord within [`Health::within_seconds`] is broken; 1 to 20.
    pub crashes: u16,
    /// Seconds for which a restarted service is watched after it has become active; 1 to 3600.
    pub within_seconds: u16,
}

impl Default for Health {
    fn default() -> Self {
        Self { self_check_seconds: 15, ready_seconds: 60, crashes: 2, within_seconds: 60 }
    }
}

impl Health {
    /// Whether this is what is meant when a manifest says nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// `Err` says which limit is out of its range.
    ///
    /// # Errors
    /// The reason for people.
    pub fn check(&self) -> Result<(), String> {
        for (name, value, most) in [
            ("self_check_seconds", self.self_check_seconds, 300),
            ("ready_seconds", self.ready_seconds, 600),
            ("crashes", self.crashes, 20),
            ("within_seconds", self.within_seconds, 3600),
        ] {
            if !(1..=most).contains(&value) {
                return Err(format!("its health rule's {name} is {value}; it must be 1 to {most}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_plain_service_unit_is_a_unit() {
        for good in ["web.service", "lockstep-sample.service", "a@b.service", "0.service", "x_y.z.service"] {
            assert_eq!(good.parse::<UnitName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".service",
            "web",
            "web.socket",
            "-f.service",
            "--force.service",
            ".hidden.service",
            "../web.service",
            "a/b.service",
            "a b.service",
            "*.service",
            "a?.service",
            "a[b].service",
            "a\n.service",
            "a@.service",
            "a@b@c.service",
            "ä.service",
            &format!("{}.service", "x".repeat(121)),
        ] {
            assert!(bad.parse::<UnitName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn how_it_restarts_is_a_word_or_a_unit() {
        let read = |value| serde_json::from_value::<Restart>(value);
        assert_eq!(read(json!("watch")).unwrap(), Restart::Watch);
        let unit = Restart::Systemd("web.service".parse().unwrap());
        assert_eq!(read(json!({ "systemd": "web.service" })).unwrap(), unit);
        assert_eq!(serde_json::to_value(&unit).unwrap(), json!({ "systemd": "web.service" }));
        for bad in [json!("systemd"), json!({ "systemd": "--now" }), json!({ "run": "/bin/sh" }), json!(null)] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_limit_has_a_range() {
        assert_eq!(Health::default().check(), Ok(()));
        for (name, bad) in [
            ("self_check_seconds", [0, 301]),
            ("ready_seconds", [0, 601]),
            ("crashes", [0, 21]),
            ("within_seconds", [0, 3601]),
        ] {
            for value in bad {
                let health: Health = serde_json::from_value(json!({ name: value })).unwrap();
                assert!(health.check().unwrap_err().contains(name));
            }
        }
        assert!(serde_json::from_value::<Health>(json!({ "crashes": -1 })).is_err());
        assert!(serde_json::from_value::<Health>(json!({ "of_a_later_release": 1 })).is_ok());
    }
}
