//! `[policy]` in `updater.toml`: what this machine's administrator says about upgrades. It goes before the site's policy, and the
//! vendor's signed limits go before it.

use jiff::{Timestamp, tz::TimeZone};
use protocol::{
    device::{STABLE, is_channel},
    hold::{Hold, MAX_HOLDS},
    policy::{DowngradePolicy, UpgradePolicy},
    terms::MachinePolicy,
    window::{MAX_WINDOWS, Window, Windows, zone},
};
use serde::{Deserialize, Deserializer, de::Error};

/// The section. Every key is optional; one that is not there leaves the matter to the site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// One of the six upgrade policies, such as `"necessary-ask"`. Before that of the site profile.
    pub upgrade: Option<UpgradePolicy>,
    /// `"ask"`, `"silent"` or `"never"`.
    pub downgrade: Option<DowngradePolicy>,
    /// Maintenance windows, such as `["Sat 02:00-05:00"]`; none at all, `[]`, means at any time, whatever the site says.
    #[serde(deserialize_with = "windows")]
    pub maintenance: Option<Vec<Window>>,
    /// The windows' time zone, such as `"Europe/Prague"`. Without it: the system's.
    #[serde(deserialize_with = "known_zone")]
    pub time_zone: Option<String>,
    /// What the windows bind.
    pub maintenance_for: For,
    /// The channel whose releases this computer takes, such as `"beta"`. Without it: `stable`.
    #[serde(deserialize_with = "channel")]
    pub channel: Option<String>,
    /// What is held: `["connector 7.3.1", "updater", "*"]`.
    #[serde(deserialize_with = "holds")]
    pub hold: Vec<Hold>,
}

/// What maintenance windows bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum For {
    /// What the server can do without.
    #[default]
    Recommended,
    /// Required upgrades too, until their deadline: their users stay cut off meanwhile.
    All,
}

impl Settings {
    /// The channel whose releases this computer takes.
    pub fn channel(&self) -> &str {
        self.channel.as_deref().unwrap_or(STABLE)
    }

    /// As the decision takes it. `now` is for the offset of a time zone without a name.
    pub fn machine(&self, now: Timestamp) -> MachinePolicy {
        let windows = self.maintenance.clone().map(|weekly| Windows {
            weekly,
            zone: self.time_zone.clone(),
            required_too: self.maintenance_for == For::All,
        });
        let zone = system_zone(&TimeZone::system(), now);
        MachinePolicy { downgrade: self.downgrade, windows, holds: self.hold.clone(), zone }
    }
}

/// The system's time zone by name, else by its present offset. `None`: UTC, or not known.
fn system_zone(system: &TimeZone, now: Timestamp) -> Option<String> {
    if let Some(name) = system.iana_name() {
        let plain = ["UTC", "Etc/UTC", "Etc/Unknown"].contains(&name) || zone(name).is_none();
        return (!plain).then(|| name.to_owned());
    }
    let minutes = system.to_offset(now).seconds() / 60;
    // POSIX counts westwards (POSIX.1-2017, 8.3).
    let sign = if minutes > 0 { '-' } else { '+' };
    let (hours, rest) = (minutes.abs() / 60, minutes.abs() % 60);
    (minutes != 0).then(|| format!("<LOC>{sign}{hours:02}:{rest:02}"))
}

fn windows<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Vec<Window>>, D::Error> {
    let windows = Vec::<Window>::deserialize(reader)?;
    if windows.len() > MAX_WINDOWS {
        return Err(D::Error::custom(format!("at most {MAX_WINDOWS} maintenance windows are accepted")));
    }
    Ok(Some(windows))
}

fn channel<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(reader)?;
    if !is_channel(&name) {
        return Err(D::Error::custom(format!("{name:?} is not a channel: 1 to 32 characters of a-z and '-'")));
    }
    Ok(Some(name))
}

fn holds<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<Hold>, D::Error> {
    let holds = Vec::<Hold>::deserialize(reader)?;
    if holds.len() > MAX_HOLDS {
        return Err(D::Error::custom(format!("at most {MAX_HOLDS} holds are accepted")));
    }
    Ok(holds)
}

fn known_zone<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(reader)?;
    match zone(&name) {
        Some(_) => Ok(Some(name)),
        None => Err(D::Error::custom(format!("{name:?} is not a time zone; write it as \"Europe/Prague\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        crate::settings::parse(text.as_bytes()).map(|s| s.policy)
    }

    #[test]
    fn the_section_is_read_as_it_is_written_in_the_manual() {
        let settings = read(
            r#"
[policy]
upgrade = "necessary-ask"
downgrade = "never"
maintenance = ["Sat 02:00-05:00", "Mon-Fri 22:00-23:30"]
time_zone = "Europe/Prague"
maintenance_for = "all"
channel = "beta"
hold = ["connector 7.3.1", "updater"]
"#,
        )
        .unwrap();
        assert_eq!(settings.upgrade, Some(UpgradePolicy::NecessaryAsk));
        let machine = settings.machine(Timestamp::UNIX_EPOCH);
        let windows = machine.windows.unwrap();
        assert_eq!(windows.to_string(), "Sat 02:00-05:00; Mon-Fri 22:00-23:30 Europe/Prague, required upgrades too");
        assert_eq!((machine.downgrade, machine.holds.len()), (Some(DowngradePolicy::Never), 2));
        assert_eq!((settings.channel(), Settings::default().channel()), ("beta", "stable"));
        assert_eq!(read("").unwrap(), Settings::default());
        assert!(Settings::default().machine(Timestamp::UNIX_EPOCH).windows.is_none(), "the site decides");
        let none = read("[policy]\nmaintenance = []\n").unwrap().machine(Timestamp::UNIX_EPOCH);
        assert_eq!(none.windows, Some(Windows::default()), "at any time, whatever the site says");
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        for (text, words) in [
            ("[policy]\nupgrade = \"loud\"\n", "necessary-silent"),
            ("[policy]\nmaintenance = [\"Sat 2-5\"]\n", "Sat 02:00-05:00"),
            ("[policy]\ntime_zone = \"Mars\"\n", "Europe/Prague"),
            ("[policy]\nhold = [\"Connector!\"]\n", "something to hold"),
            ("[policy]\nchannel = \"Beta 2\"\n", "not a channel"),
            ("[policy]\nholds = []\n", "holds"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("line 2") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_zone_without_a_name_is_told_by_its_offset() {
        let east = TimeZone::fixed(jiff::tz::offset(2));
        let told = system_zone(&east, Timestamp::UNIX_EPOCH).unwrap();
        let read = zone(&told).unwrap();
        assert_eq!(read.to_offset(Timestamp::UNIX_EPOCH).seconds(), 7200, "{told}");
        assert_eq!(system_zone(&TimeZone::UTC, Timestamp::UNIX_EPOCH), None);
    }
}
