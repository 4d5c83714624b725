//! The device's decision: what it makes of a directive, from the catalog that it verified itself.
//!
//! The site's server is not trusted with code (DESIGN, invariant 1): it may delay, choose among eligible
//! signed releases, or refuse. So everything a directive says is checked here again.
//!
//! | attack | answer |
//! |---|---|
//! | a directive names a version that the vendor never signed | [`Refusal::NotInCatalog`] |
//! | ... or one for another platform or channel | the same: it is not in *this* device's catalog |
//! | ... or an old, vulnerable one | [`Refusal::BelowFloor`], unless the vendor signed that very downgrade |
//! | ... or one that skips a bridge version | [`Refusal::Barrier`] |
//! | metadata kept stale to hide a fix or serve an old state | [`Refusal::MetadataExpired`] for anything not yet staged |
//! | the same broken version again and again | [`Refusal::FailedHere`] |

use jiff::Timestamp;
use semver::Version;

use crate::{
    catalog::{Catalog, Entry},
    device::Device,
    directive::{Decision, Directive},
    policy::Timing,
};

/// What the device does about a directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Nothing.
    Nothing,
    /// Fetch, verify and unpack this release beside the running one.
    Stage(Box<Entry>),
    /// Switch to this staged version.
    Activate {
        /// Which one.
        version: Version,
        /// Whether a running program is told to restart now.
        restart: bool,
    },
    /// Wait for the user's consent to this staged version.
    AwaitConsent {
        /// Which one.
        version: Version,
        /// Whether the user may refuse.
        may_refuse: bool,
    },
    /// There is no updater: only the installer, with an administrator's password, can do it.
    NeedsElevation {
        /// The version that the installer would bring.
        version: Version,
    },
    /// Not done, and why.
    Refused(Refusal),
}

/// Why a device does not carry out a directive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The vendor's signed metadata has no such release for this device.
    #[error("the site offers {version}, which the vendor has not signed for this computer")]
    NotInCatalog {
        /// The version that was asked for.
        version: Version,
    },
    /// It is older than what this device may ever run.
    #[error(
        "{version} is below {floor}, the oldest version this device may run, and the vendor has not permitted going back to it"
    )]
    BelowFloor {
        /// The version that was asked for.
        version: Version,
        /// The oldest one allowed.
        floor: Version,
    },
    /// An intermediate version must come first.
    #[error("{version} can only be installed over {oldest} or newer")]
    Barrier {
        /// The version that was asked for.
        version: Version,
        /// The oldest one it installs over.
        oldest: Version,
    },
    /// It was rolled back here before.
    #[error("{version} was rolled back on this machine: {reason}")]
    FailedHere {
        /// The version that was asked for.
        version: Version,
        /// Why it was rolled back.
        reason: String,
    },
    /// The updater must be upgraded first.
    #[error("{version} needs updater {needed} or newer")]
    UpdaterTooOld {
        /// The version that was asked for.
        version: Version,
        /// The oldest updater that can install it.
        needed: Version,
    },
    /// Nothing new is fetched on expired metadata.
    #[error("cannot update: metadata expired on {expired}")]
    MetadataExpired {
        /// When.
        expired: Timestamp,
    },
    /// Too little room.
    #[error("not enough disk space: {needed} bytes needed, {free} free")]
    DiskFull {
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// The server has nothing to offer.
    #[error("{0}")]
    Blocked(String),
}

/// Room that staging takes: the package, and its content unpacked, which is rarely more than three times as much.
const STAGING_FACTOR: u64 = 4;

/// Decides what the device does about a directive. `catalog` is what the device verified itself; `device` is its
/// local state; `now` its effective time, which never runs backwards.
///
/// Precedence: the vendor's signed limits, the machine's policy, the site's policy, the user's wish.
pub fn admit(catalog: &Catalog, device: &Device, directive: &Directive, now: Timestamp) -> Admission {
    let state = device.product(&directive.product);
    let (version, necessary) = match &directive.decision {
        Decision::Current | Decision::Hold => return Admission::Nothing,
        Decision::Blocked { .. } => {
            return Admission::Refused(Refusal::Blocked(directive.why.clone()));
        }
        Decision::Stage { version } | Decision::Recommended { version } => (version, false),
        Decision::Required { version, .. } => (version, true),
    };
    if state.installed.as_ref() == Some(version) {
        return Admission::Nothing;
    }
    let Some(updater) = &device.updater else {
        return if necessary { Admission::NeedsElevation { version: version.clone() } } else { Admission::Nothing };
    };

    let staged = state.staged.contains(version);
    let Some(entry) = catalog.find(&directive.product, &device.platform, &device.channel, version) else {
        return Admission::Refused(Refusal::NotInCatalog { version: version.clone() });
    };
    if let Some(refusal) = signed_limits(catalog, entry, device, updater) {
        return Admission::Refused(refusal);
    }
    if let Some(failed) = state.failed.iter().find(|f| f.version == *version) {
        return Admission::Refused(Refusal::FailedHere { version: version.clone(), reason: failed.reason.clone() });
    }

    if !staged {
        return stage(entry, device, now);
    }
    if matches!(directive.decision, Decision::Stage { .. }) {
        return Admission::Nothing;
    }
    let consented = state.consented.as_ref() == Some(version);
    let fresh = state.installed.is_none();
    match device.policy.unwrap_or(directive.policy).timing(necessary) {
        _ if consented || fresh => Admission::Activate { version: version.clone(), restart: true },
        Timing::Now { restart } => Admission::Activate { version: version.clone(), restart },
        Timing::AskFirst { may_refuse } => Admission::AwaitConsent { version: version.clone(), may_refuse },
        Timing::NotNow => Admission::Nothing,
    }
}

fn signed_limits(catalog: &Catalog, entry: &Entry, device: &Device, updater: &Version) -> Option<Refusal> {
    let release = &entry.release;
    let state = device.product(&release.product);
    let version = release.version.clone();
    let permitted = state.installed.as_ref().is_some_and(|i| release.permits_downgrade_from(i));
    let floor =
        [catalog.floor(&release.product), state.floor.as_ref(), state.installed.as_ref()].into_iter().flatten().max();
    if let Some(floor) = floor.filter(|floor| version < **floor && !permitted) {
        return Some(Refusal::BelowFloor { version, floor: floor.clone() });
    }
    if let Some(oldest) = &release.upgrades_from
        && !release.reachable_from(state.installed.as_ref())
    {
        return Some(Refusal::Barrier { version, oldest: oldest.clone() });
    }
    if let Some(needed) = release.updater.as_ref().filter(|needed| updater < *needed) {
        return Some(Refusal::UpdaterTooOld { version, needed: needed.clone() });
    }
    None
}

fn stage(entry: &Entry, device: &Device, now: Timestamp) -> Admission {
    if let Some(expired) = device.metadata_expires.filter(|expires| *expires <= now) {
        return Admission::Refused(Refusal::MetadataExpired { expired });
    }
    let needed = entry.length.saturating_mul(STAGING_FACTOR);
    if let Some(free) = device.disk_free.filter(|free| *free < needed) {
        return Admission::Refused(Refusal::DiskFull { needed, free });
    }
    Admission::Stage(Box::new(entry.clone()))
}
