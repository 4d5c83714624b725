//! What a site says with a directive and a machine says of itself, beyond the upgrade policy; and whose word counts.
//!
//! Precedence: the vendor's signed limits, the machine's policy, the site's policy, the user's wish. Holds are no matter of
//! precedence: what either administrator holds is held.

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, known_or_default},
    directive::{Decision, Directive},
    hold::Hold,
    policy::{DowngradePolicy, UpgradePolicy},
    product::ProductId,
    window::Windows,
};

/// Whose word a decision follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// The signed metadata.
    Vendor,
    /// This machine's own administrator, or what this machine has found out by itself.
    Machine,
    /// The site's administrator.
    Site,
    /// A user of this machine.
    User,
}

impl Whose {
    /// As a possessive, for sentences.
    pub fn policy_of(self) -> &'static str {
        match self {
            Self::Vendor => "the vendor's",
            Self::Machine => "this computer's",
            Self::Site => "the site's",
            Self::User => "the user's",
        }
    }
}

/// What a site says with a directive, beyond its upgrade policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How a permitted downgrade is carried out.
    #[serde(default, deserialize_with = "known_or_default")]
    pub downgrade: DowngradePolicy,
    /// When upgrades that are not urgent may be activated.
    #[serde(default, deserialize_with = "known_or_default")]
    pub windows: Windows,
    /// Until when a *recommended* version must be in place: the vendor has withdrawn the installed one, which still works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Timestamp>,
    /// The other steps on the way to a version that cannot be reached at once; they are kept ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub way: Vec<Version>,
    /// Failures of the past that do not stand in the way any more, since the administrator wants another try.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<Again>,
}

/// One failure, named so that it cannot be mistaken for a later one of the same version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Again {
    /// The version that failed.
    pub version: Version,
    /// When, as the device reported it.
    pub failed_at: Timestamp,
}

/// What a machine's own administrator says (`updater.toml`), beyond the upgrade policy, and where the machine is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachinePolicy {
    /// Before the site's.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "known_or_default")]
    pub downgrade: Option<DowngradePolicy>,
    /// Instead of the site's.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "known_or_default")]
    pub windows: Option<Windows>,
    /// Besides the site's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Hold>,
    /// The machine's time zone, by IANA name or POSIX rule. `None`: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// The upgrade policy that counts.
pub fn upgrade(device: &Device, site: UpgradePolicy) -> (UpgradePolicy, Whose) {
    device.policy.map_or((site, Whose::Site), |policy| (policy, Whose::Machine))
}

/// The downgrade policy that counts.
pub fn downgrade(device: &Device, site: DowngradePolicy) -> (DowngradePolicy, Whose) {
    device.machine.downgrade.map_or((site, Whose::Site), |policy| (policy, Whose::Machine))
}

/// The maintenance windows that count.
pub fn windows<'a>(device: &'a Device, site: &'a Windows) -> (&'a Windows, Whose) {
    device.machine.windows.as_ref().map_or((site, Whose::Site), |windows| (windows, Whose::Machine))
}

/// The machine's own hold that stands in the way of a version. `None`: of none.
pub fn machine_hold<'a>(device: &'a Device, product: &ProductId, version: &Version) -> Option<&'a Hold> {
    device.machine.holds.iter().find(|h| h.covers(product, version))
}

/// Until when a user may put off what a directive says. `None`: for ever.
pub fn deadline(directive: &Directive) -> Option<Timestamp> {
    match &directive.decision {
        Decision::Required { deadline, .. } => Some(*deadline),
        Decision::Recommended { .. } => directive.terms.by,
        _ => None,
    }
}
