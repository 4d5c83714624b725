//! Who would be ready, and who would be cut off, if the server moved to another version now: the server's
//! decision and the device's, composed.

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    Admission, Refusal, admit,
    catalog::Catalog,
    device::Device,
    directive::{Blocked, Decision, directive},
    product::ProductId,
    site::Site,
};

/// What would happen to one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "readiness")]
pub enum Readiness {
    /// What it runs works with that server too.
    Current,
    /// It would be upgraded silently.
    Ready {
        /// Whether it has the version already, so that the cut-over costs seconds and no download.
        staged: bool,
    },
    /// It would ask its user first, who may put it off.
    WouldAsk {
        /// Whether it has the version already.
        staged: bool,
    },
    /// It has not been seen since the release came out, or for too long to know.
    NotSeen {
        /// When it was seen last.
        since: Timestamp,
    },
    /// It could not work with that server.
    CutOff {
        /// Why, in words.
        reason: String,
        /// What the administrator can do, in words.
        remedy: String,
    },
}

impl Readiness {
    /// Whether the user would be cut off.
    pub fn is_cut_off(&self) -> bool {
        matches!(self, Self::CutOff { .. })
    }

    /// Where a table has it: the most urgent first.
    pub fn urgency(&self) -> u8 {
        match self {
            Self::CutOff { .. } => 0,
            Self::NotSeen { .. } => 1,
            Self::WouldAsk { .. } => 2,
            Self::Ready { staged: false } => 3,
            Self::Ready { staged: true } => 4,
            Self::Current => 5,
        }
    }
}

/// A device that was not seen for this long (seconds; 14 days) tells nothing about today.
pub const AWAY_SECONDS: i64 = 14 * 24 * 3600;

/// What would happen to a device if the product's server had version `to`.
///
/// `last_seen` is the device's last check-in; `available` is when the site could first offer the releases for `to`.
#[expect(clippy::too_many_arguments, reason = "each is a fact of its own; the two decisions take the same ones")]
pub fn readiness(
    product: &ProductId,
    to: &Version,
    site: &Site,
    catalog: &Catalog,
    device: &Device,
    last_seen: Timestamp,
    available: Option<Timestamp>,
    now: Timestamp,
    seed: u64,
) -> Readiness {
    let mut hypothetical = site.clone();
    if let Some(chosen) = hypothetical.products.get_mut(product) {
        chosen.server = Some(to.clone());
        chosen.next = None;
    }
    let directive = directive(product, &hypothetical, catalog, device, now, seed);
    let state = device.product(product);
    let staged = directive.decision.version().is_some_and(|v| state.staged.contains(v));

    let age = now.duration_since(last_seen).as_secs();
    let unaware = age > AWAY_SECONDS || !staged && available.is_some_and(|available| last_seen < available);

    let verdict = match &directive.decision {
        Decision::Hold => cut_off(directive.why, "let the product's upgrades go on, or name its server's version"),
        Decision::Required { .. } | Decision::Blocked { .. } => match once_staged(catalog, device, &directive, now) {
            Admission::NeedsElevation { .. } => cut_off(
                "updater not installed".into(),
                "reinstall the connector from the integration page on this computer, once, as an administrator",
            ),
            // What it had verified ran out while it was away: it fetches the newer metadata when it is back.
            Admission::Refused(Refusal::MetadataExpired { expired }) if unaware && last_seen < expired => {
                Readiness::NotSeen { since: last_seen }
            }
            Admission::Refused(refusal) => cut_off(refusal.to_string(), remedy(&refusal, &directive.decision)),
            Admission::AwaitConsent { .. } => Readiness::WouldAsk { staged },
            Admission::Stage(_) | Admission::Activate { .. } | Admission::Nothing => Readiness::Ready { staged },
        },
        Decision::Current | Decision::Stage { .. } | Decision::Recommended { .. } => Readiness::Current,
    };
    if verdict.is_cut_off() || matches!(verdict, Readiness::Current) {
        return verdict;
    }
    if unaware {
        return Readiness::NotSeen { since: last_seen };
    }
    verdict
}

/// What the device would do in the end: staging is a step on the way, not an answer.
fn once_staged(catalog: &Catalog, device: &Device, directive: &crate::Directive, now: Timestamp) -> Admission {
    let first = admit(catalog, device, directive, now);
    let Admission::Stage(entry) = first else {
        return first;
    };
    let mut later = device.clone();
    later.products.entry(directive.product.clone()).or_default().staged.push(entry.release.version);
    admit(catalog, &later, directive, now)
}

fn remedy(refusal: &Refusal, decision: &Decision) -> &'static str {
    match refusal {
        Refusal::Blocked(_) if matches!(decision, Decision::Blocked { reason: Blocked::Unreachable }) => {
            "ask the vendor to sign a way there: a permit to go back, or a version in between"
        }
        Refusal::Blocked(_) if matches!(decision, Decision::Blocked { reason: Blocked::FailedHere }) => {
            "find out why on this computer, or wait for the vendor's next release"
        }
        Refusal::Blocked(_) | Refusal::NotInCatalog { .. } => {
            "ask the vendor for a release for this computer that works with that server"
        }
        Refusal::BelowFloor { .. } => "ask the vendor whether this downgrade may be permitted",
        Refusal::Barrier { .. } => "upgrade in steps: let the server stop at the version in between",
        Refusal::FailedHere { .. } => "find out why on this computer, or wait for the vendor's next release",
        Refusal::UpdaterTooOld { .. } => "install the updater anew from the integration page on this computer",
        Refusal::MetadataExpired { .. } => "see that the vendor's repository is renewed and this server can reach it",
        Refusal::DiskFull { .. } => "free some disk space on this computer",
    }
}

fn cut_off(reason: String, remedy: &str) -> Readiness {
    Readiness::CutOff { reason, remedy: remedy.into() }
}
