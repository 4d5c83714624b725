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
    /// It would leave its users cut off until a maintenance window opens, since its windows bind required upgrades too.
    WouldWait {
        /// Whether it has the version already.
        staged: bool,
        /// When the window opens, or the deadline ends the wait.
        until: Timestamp,
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
            Self::WouldWait { .. } => 2,
            Self::WouldAsk { .. } => 3,
            Self::Ready { staged: false } => 4,
            Self::Ready { staged: true } => 5,
            Self::Current => 6,
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
    let mut order = directive(product, &hypothetical, catalog, device, now, seed);
    let state = device.product(product);
    let mut steps = order.decision.version().into_iter().chain(&order.terms.way).peekable();
    let staged = steps.peek().is_some() && steps.all(|v| state.staged.contains(v));

    let age = now.duration_since(last_seen).as_secs();
    let unaware = age > AWAY_SECONDS || !staged && available.is_some_and(|available| last_seen < available);

    let (mut asks, mut waits) = (false, None);
    let mut stepping = device.clone();
    let verdict = loop {
        match &order.decision {
            Decision::Hold => {
                break cut_off(order.why, "let the product's upgrades go on, or name its server's version");
            }
            Decision::Current | Decision::Stage { .. } | Decision::Recommended { .. } => {
                break match (waits, asks) {
                    _ if stepping.product(product).installed == state.installed => Readiness::Current,
                    (Some(until), _) => Readiness::WouldWait { staged, until },
                    (None, true) => Readiness::WouldAsk { staged },
                    (None, false) => Readiness::Ready { staged },
                };
            }
            Decision::Required { .. } | Decision::Blocked { .. } => {}
        }
        let version = match once_staged(catalog, &stepping, &order, now) {
            Admission::NeedsElevation { .. } => {
                break cut_off(
                    "updater not installed".into(),
                    "reinstall the connector from the integration page on this computer, once, as an administrator",
                );
            }
            // What it had verified ran out while it was away: it fetches the newer metadata when it is back.
            Admission::Refused(Refusal::MetadataExpired { expired }) if unaware && last_seen < expired => {
                break Readiness::NotSeen { since: last_seen };
            }
            Admission::Refused(refusal) => break cut_off(refusal.to_string(), remedy(&refusal, &order.decision)),
            Admission::AwaitConsent { version, .. } => {
                asks = true;
                // What has been agreed to may still have to wait for a window.
                stepping.products.entry(product.clone()).or_default().consented = Some(version);
                continue;
            }
            Admission::Wait { version, until } => {
                let deadline = crate::terms::deadline(&order).unwrap_or(until);
                waits = waits.max(Some(until.min(deadline)));
                version
            }
            Admission::Activate { version, .. } => version,
            // A required version that is not installed is activated, waited for or refused.
            Admission::Stage(_) | Admission::Nothing => break Readiness::Ready { staged },
        };
        // Each step leads on in the same direction, so this ends.
        let next = stepping.products.entry(product.clone()).or_default();
        if next.installed.as_ref() == Some(&version) {
            break Readiness::Ready { staged };
        }
        next.installed = Some(version);
        order = directive(product, &hypothetical, catalog, &stepping, now, seed);
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
        Refusal::Blocked(_) if matches!(decision, Decision::Blocked { reason: Blocked::Held }) => {
            "take the hold or the policy back, or leave the server where it is"
        }
        Refusal::Blocked(_) if matches!(decision, Decision::Blocked { reason: Blocked::Unreachable }) => {
            "ask the vendor to sign a way there: a permit to go back, or a version in between"
        }
        Refusal::Blocked(_) if matches!(decision, Decision::Blocked { reason: Blocked::FailedHere }) => {
            "find out why on this computer and let it try again (`lockstep retry`), or wait for the vendor's next release"
        }
        Refusal::Blocked(_) | Refusal::NotInCatalog { .. } => {
            "ask the vendor for a release for this computer that works with that server"
        }
        Refusal::Held { .. } | Refusal::NeverDown { .. } => {
            "take the hold or the policy back, or leave the server where it is"
        }
        Refusal::Withdrawn { .. } => "ask the vendor for a release in place of the withdrawn one",
        Refusal::BelowFloor { .. } => "ask the vendor whether this downgrade may be permitted",
        Refusal::Barrier { .. } => "upgrade in steps: let the server stop at the version in between",
        Refusal::FailedHere { .. } => {
            "find out why on this computer and let it try again (`lockstep retry`), or wait for the vendor's next release"
        }
        Refusal::UpdaterTooOld { .. } => "install the updater anew from the integration page on this computer",
        Refusal::MetadataExpired { .. } => "see that the vendor's repository is renewed and this server can reach it",
        Refusal::DiskFull { .. } => "free some disk space on this computer",
    }
}

fn cut_off(reason: String, remedy: &str) -> Readiness {
    Readiness::CutOff { reason, remedy: remedy.into() }
}
