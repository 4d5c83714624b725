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
//! | ... or one that the vendor has withdrawn | [`Refusal::Withdrawn`], even when it was staged before |
//! | the same broken version again and again | [`Refusal::FailedHere`], until a long wait is over; the administrator's wish for another try names one failure, so it counts once |
//! | a user who never answers | what is necessary happens without them at the deadline |

use jiff::Timestamp;
use semver::Version;

use crate::{
    catalog::{Catalog, Entry},
    device::{Device, FailedVersion, ProductState},
    directive::{Decision, Directive},
    policy::Timing,
    steps::stands,
    terms::{self, Whose},
    window::device_zone,
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
    /// Switch to this staged version, but only when a maintenance window opens.
    Wait {
        /// Which one.
        version: Version,
        /// When the window opens.
        until: Timestamp,
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
    /// The vendor has withdrawn it.
    #[error("the vendor has withdrawn {version}")]
    Withdrawn {
        /// The version that was asked for.
        version: Version,
    },
    /// This machine's own administrator holds it.
    #[error("{version} waits: this computer's own policy holds {hold}")]
    Held {
        /// The version that was asked for.
        version: Version,
        /// The hold, as it is written.
        hold: String,
    },
    /// It is older than what is installed, and the policy is never to go back.
    #[error("{version} is older than {installed}, and {} policy is never to go back", whose.policy_of())]
    NeverDown {
        /// The version that was asked for.
        version: Version,
        /// The installed one.
        installed: Version,
        /// Whose policy that is.
        whose: Whose,
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

/// Bytes that staging a package of this length takes: the package, and its content unpacked, which is rarely more than three
/// times as much.
pub fn staging_room(length: u64) -> u64 {
    length.saturating_mul(4)
}

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
    if let Some(refusal) = signed_limits(catalog, entry, device, updater, directive) {
        return Admission::Refused(refusal);
    }
    if let Some(refusal) = administrators_limits(device, directive, version) {
        return Admission::Refused(refusal);
    }
    let bars = |f: &&FailedVersion| f.version == *version && stands(f, &directive.terms.again, now);
    if let Some(failed) = state.failed.iter().find(bars) {
        return Admission::Refused(Refusal::FailedHere { version: version.clone(), reason: failed.reason.clone() });
    }

    if !staged {
        return stage(entry, device, now);
    }
    if matches!(directive.decision, Decision::Stage { .. }) {
        return Admission::Nothing;
    }
    let fresh = state.installed.is_none();
    let agreed = state.consented.as_ref() == Some(version) || fresh;
    // What is necessary is put off until its deadline and no longer: not by a silent user, and not by a window.
    let due = terms::deadline(directive).is_some_and(|deadline| deadline <= now);
    let restart = match timing(device, directive, &state, version, necessary) {
        _ if agreed || due => true,
        Timing::Now { restart } => restart,
        Timing::AskFirst { may_refuse } => {
            return Admission::AwaitConsent { version: version.clone(), may_refuse };
        }
        Timing::NotNow => return Admission::Nothing,
    };
    let (windows, _) = terms::windows(device, &directive.terms.windows);
    let bound = !fresh && !due && (!necessary || windows.required_too);
    let zone = device_zone(device.machine.zone.as_deref());
    if bound
        && !windows.is_open(now, &zone)
        && let Some(until) = windows.opens(now, &zone)
    {
        return Admission::Wait { version: version.clone(), until };
    }
    Admission::Activate { version: version.clone(), restart }
}

/// When and how: by the downgrade policy if it leads down, else by the upgrade policy.
fn timing(device: &Device, directive: &Directive, state: &ProductState, version: &Version, necessary: bool) -> Timing {
    if state.installed.as_ref().is_some_and(|installed| version < installed) {
        let (policy, _) = terms::downgrade(device, directive.terms.downgrade);
        // One that never goes back was refused before.
        return policy.timing().unwrap_or(Timing::NotNow);
    }
    let (policy, _) = terms::upgrade(device, directive.policy);
    match policy.timing(necessary) {
        // To leave a withdrawn version is necessary, though not so that a running program must be disturbed for it.
        Timing::NotNow if directive.terms.by.is_some() => policy.timing(true),
        timing => timing,
    }
}

/// The next moment at which [`admit()`] may answer otherwise though nothing else has changed: a deadline, the edge of a
/// maintenance window, the end of the wait after a failure.
pub fn look_again(device: &Device, directive: &Directive, now: Timestamp) -> Option<Timestamp> {
    let version = directive.decision.version()?;
    let state = device.product(&directive.product);
    if state.installed.as_ref() == Some(version) {
        return None;
    }
    let (windows, _) = terms::windows(device, &directive.terms.windows);
    let edge = windows.next_edge(now, &device_zone(device.machine.zone.as_deref()));
    let retry = state.failed.iter().find(|f| f.version == *version).map(FailedVersion::retry_at);
    [terms::deadline(directive), edge, retry].into_iter().flatten().filter(|at| *at > now).min()
}

/// What this machine's administrator holds, and what no administrator lets go back.
fn administrators_limits(device: &Device, directive: &Directive, version: &Version) -> Option<Refusal> {
    if let Some(hold) = terms::machine_hold(device, &directive.product, version) {
        return Some(Refusal::Held { version: version.clone(), hold: hold.to_string() });
    }
    let installed = device.product(&directive.product).installed.filter(|installed| version < installed)?;
    let (policy, whose) = terms::downgrade(device, directive.terms.downgrade);
    let never = policy.timing().is_none();
    never.then(|| Refusal::NeverDown { version: version.clone(), installed, whose })
}

fn signed_limits(
    catalog: &Catalog,
    entry: &Entry,
    device: &Device,
    updater: &Version,
    directive: &Directive,
) -> Option<Refusal> {
    let release = &entry.release;
    let state = device.product(&release.product);
    let version = release.version.clone();
    if catalog.is_withdrawn(&release.product, &device.channel, &version) {
        return Some(Refusal::Withdrawn { version });
    }
    // What is only made ready may wait for a step that is made ready as well; to activate it, the step must be installed.
    let only_staged = matches!(directive.decision, Decision::Stage { .. });
    let steps = || state.staged.iter().filter(|_| only_staged && state.installed.is_some());
    let permitted = state.installed.iter().chain(steps()).any(|from| release.permits_downgrade_from(from));
    let signed = catalog.floor(&release.product, &device.channel);
    let floor = [signed, state.floor.as_ref(), state.installed.as_ref()].into_iter().flatten().max();
    if let Some(floor) = floor.filter(|floor| version < **floor && !permitted) {
        return Some(Refusal::BelowFloor { version, floor: floor.clone() });
    }
    if let Some(oldest) = &release.upgrades_from
        && !release.reachable_from(state.installed.as_ref())
        && !steps().any(|step| release.reachable_from(Some(step)))
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
    let needed = staging_room(entry.length);
    if let Some(free) = device.disk_free.filter(|free| *free < needed) {
        return Admission::Refused(Refusal::DiskFull { needed, free });
    }
    Admission::Stage(Box::new(entry.clone()))
}
