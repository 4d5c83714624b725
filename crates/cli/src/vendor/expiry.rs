//! For how long each role's metadata is good: what the repository's settings say, and what an option says for once.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, ensure};
use protocol::Timestamp;
use release::durable::{self, Access};
use serde::{Deserialize, Serialize};

use super::delegations::common_name;

const FILE: &str = "settings.json";

/// Days, where nothing else is said.
const DEFAULTS: [(&str, i64); 4] = [("root", 365), ("targets", 180), ("snapshot", 90), ("timestamp", 30)];

/// How long metadata is good for, this time.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ExpiryArgs {
    /// Days that a new root is good for, this time; `lockstep role set` says it for good [default: 365]
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=3650))]
    pub root_days: Option<i64>,
    /// Days that the list of releases is good for [default: 180]
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=3650))]
    pub targets_days: Option<i64>,
    /// Days that the snapshot is good for [default: 90]
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=3650))]
    pub snapshot_days: Option<i64>,
    /// Days that the timestamp is good for: the longest that a client can be kept from news without noticing [default: 30]
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=3650))]
    pub timestamp_days: Option<i64>,
}

/// Days by role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Periods {
    #[serde(default)]
    days: BTreeMap<String, i64>,
}

/// When the online roles' new metadata expires.
#[derive(Debug, Clone, Copy)]
pub struct Expiry {
    pub snapshot: Timestamp,
    pub timestamp: Timestamp,
}

impl Periods {
    /// What the repository's settings say, and above them what the options say.
    pub fn read(staging: &Path, args: &ExpiryArgs) -> anyhow::Result<Self> {
        let mut periods = Self::stored(staging)?;
        let args = [
            ("root", args.root_days),
            ("targets", args.targets_days),
            ("snapshot", args.snapshot_days),
            ("timestamp", args.timestamp_days),
        ];
        for (role, days) in args {
            if let Some(days) = days {
                periods.days.insert(role.into(), days);
            }
        }
        Ok(periods)
    }

    fn stored(staging: &Path) -> anyhow::Result<Self> {
        let path = staging.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
        };
        let periods: Self =
            serde_json::from_slice(&bytes).with_context(|| format!("cannot read {}", path.display()))?;
        let good = periods.days.values().all(|days| (1..=3650).contains(days));
        ensure!(good, "{}: days are from 1 to 3650", path.display());
        Ok(periods)
    }

    /// Changes the settings.
    pub fn set(staging: &Path, role: &str, days: i64) -> anyhow::Result<()> {
        let mut periods = Self::stored(staging)?;
        periods.days.insert(role.to_owned(), days);
        let path = staging.join(FILE);
        durable::replace(&path, &serde_json::to_vec_pretty(&periods)?, Access::Public)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// For how many days a role is good. A delegated one as long as the targets, all bins the same.
    pub fn days(&self, role: &str) -> i64 {
        let named = |role: &str| self.days.get(role).copied();
        let default = |role: &str| DEFAULTS.iter().find(|(name, _)| *name == role).map(|(_, days)| *days);
        let role = common_name(role);
        named(role).or_else(|| default(role)).or_else(|| named("targets")).unwrap_or(180)
    }

    /// When a role that is signed now expires.
    pub fn from(&self, role: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
        self.days_from(now, self.days(role))
    }

    /// So many days later.
    pub fn days_from(&self, now: Timestamp, days: i64) -> anyhow::Result<Timestamp> {
        Ok(now.checked_add(jiff::SignedDuration::from_hours(days * 24))?)
    }

    pub fn online(&self, now: Timestamp) -> anyhow::Result<Expiry> {
        Ok(Expiry { snapshot: self.from("snapshot", now)?, timestamp: self.from("timestamp", now)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_goes_before_the_settings_and_these_before_the_defaults() {
        let dir = tempfile::tempdir().unwrap();
        Periods::set(dir.path(), "timestamp", 14).unwrap();
        Periods::set(dir.path(), "targets", 100).unwrap();
        Periods::set(dir.path(), "bins", 200).unwrap();
        let args = ExpiryArgs { timestamp_days: Some(7), ..ExpiryArgs::default() };
        let periods = Periods::read(dir.path(), &args).unwrap();
        let days = ["root", "targets", "snapshot", "timestamp", "mailer", "bins-0f"].map(|role| periods.days(role));
        assert_eq!(days, [365, 100, 90, 7, 100, 200]);
        std::fs::write(dir.path().join(FILE), r#"{"days":{"root":0}}"#).unwrap();
        assert!(Periods::read(dir.path(), &args).is_err());
    }
}
