//! The server's decision: what a device should do now.

use std::cmp::Reverse;

use jiff::Timestamp;
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    catalog::{Catalog, Release},
    device::{Device, known_or_default},
    policy::UpgradePolicy,
    product::ProductId,
    site::{Rollout, Site},
};

/// Why a device that must change cannot be told what to change to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "blocked")]
pub enum Blocked {
    /// No release of the device's platform and channel works with the server.
    NoRelease,
    /// Every release that works with the server has been rolled back on this machine.
    FailedHere,
    /// The releases that work with the server cannot be reached from what is installed.
    Unreachable,
    /// A reason that this version does not know yet.
    #[serde(other)]
    Other,
}

/// What a device should do about one product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "decision")]
pub enum Decision {
    /// Nothing to do.
    Current,
    /// Fetch, verify and unpack this version beside the running one, and wait.
    Stage {
        /// The version to make ready.
        version: Version,
    },
    /// This version is better than the installed one, which still works.
    Recommended {
        /// The better version.
        version: Version,
    },
    /// The installed version cannot work with the server; this one can.
    Required {
        /// The version that can.
        version: Version,
        /// Until when a user may put it off.
        deadline: Timestamp,
    },
    /// The installed version cannot work with the server, and there is nothing to offer.
    Blocked {
        /// Why.
        #[serde(flatten)]
        reason: Blocked,
    },
    /// Do nothing for now: the administrator said so, or the decision is one that this program does not know.
    #[serde(other)]
    Hold,
}

impl Decision {
    /// The version that it speaks of.
    pub fn version(&self) -> Option<&Version> {
        match self {
            Self::Stage { version } | Self::Recommended { version } | Self::Required { version, .. } => Some(version),
            Self::Current | Self::Blocked { .. } | Self::Hold => None,
        }
    }

    /// Whether the installed version cannot work with the server.
    pub fn is_incompatible(&self) -> bool {
        matches!(self, Self::Required { .. } | Self::Blocked { .. })
    }
}

/// A decision about one product, with its reason in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directive {
    /// About which product.
    pub product: ProductId,
    /// What to do.
    #[serde(flatten)]
    pub decision: Decision,
    /// The site's policy for carrying it out.
    #[serde(default, deserialize_with = "known_or_default")]
    pub policy: UpgradePolicy,
    /// The server version that it was decided for.
    #[serde(default)]
    pub server: Option<Version>,
    /// Why, in words for a person.
    pub why: String,
}

/// Seconds that a user may put off a required upgrade where the policy asks.
const GRACE_SECONDS: i64 = 24 * 3600;

/// Decides what a device should do about a product.
///
/// The rules, first match wins:
/// 1. The site does not manage the product, holds it, or does not know its server's version: `hold`.
/// 2. The installed version works with the server (or nothing is coupled to one): a newer eligible release is
///    `recommended`, when the device's turn in the rollout has come; else the best release for the
///    *next* server version is to be staged; else `current`.
/// 3. It does not, or the product is not installed yet: the best eligible release is `required`; without
///    one, `blocked`.
///
/// Eligible: this platform and channel, works with the server, reachable (barrier, floor, permitted downgrade, the
/// device's updater is new enough), and not rolled back here. Best: the highest version. `seed` is the site's, for the rollout.
pub fn directive(
    product: &ProductId,
    site: &Site,
    catalog: &Catalog,
    device: &Device,
    now: Timestamp,
    seed: u64,
) -> Directive {
    let Some(chosen) = site.products.get(product) else {
        return hold(product, "this site does not manage the product");
    };
    let with = |decision, why: String| Directive {
        product: product.clone(),
        decision,
        policy: chosen.policy,
        server: chosen.server.clone(),
        why,
    };
    if chosen.hold {
        return with(Decision::Hold, "the administrator holds this product's upgrades".into());
    }
    let coupled = catalog.is_coupled(product);
    if coupled && chosen.server.is_none() {
        return with(Decision::Hold, "the server's version is not known yet".into());
    }

    let state = device.product(product);
    let installed = state.installed.as_ref();
    let options = Options { product, catalog, device };
    let works = |release: &Release| chosen.server.as_ref().is_none_or(|server| release.works_with(server));

    if let Some(installed) = installed
        && options.installed_works(installed, coupled, chosen.server.as_ref())
    {
        if let Some(better) = options.best(&works).filter(|v| v > installed) {
            if chosen.rollout.is_none_or(|r| turn(r, seed, &device.id, &better) <= now) {
                let why = format!("{better} replaces {installed}, which still works");
                return with(Decision::Recommended { version: better }, why);
            }
            return with(Decision::Current, format!("{better} comes to this device later in the rollout"));
        }
        let next = chosen.next.clone().or_else(|| next_server_version(product, site, catalog));
        if let Some(next) = next.filter(|next| Some(next) != chosen.server.as_ref())
            && let Some(version) = options.best(&|r| r.works_with(&next)).filter(|v| v != installed)
        {
            let why = format!("made ready for server {next}, before it comes");
            return with(Decision::Stage { version }, why);
        }
        return with(Decision::Current, format!("{installed} is the right version"));
    }

    let server = chosen.server.as_ref().map_or("any server".into(), |v| format!("server {v}"));
    if let Some(version) = options.best(&works) {
        let why = match installed {
            Some(old) => format!("{old} does not work with {server}; {version} does"),
            None => format!("not installed yet; {version} works with {server}"),
        };
        let deadline = now.checked_add(jiff::SignedDuration::from_secs(GRACE_SECONDS)).unwrap_or(Timestamp::MAX);
        return with(Decision::Required { version, deadline }, why);
    }
    let (reason, why) = options.why_none(&works);
    if installed.is_none() {
        return with(Decision::Hold, format!("not installed, and {why} for {server}"));
    }
    with(Decision::Blocked { reason }, format!("{why} for {server}"))
}

/// The server version that clients prepare for: the lowest one that the newest release of the product is made
/// for, where that is above the server's own. `None`: nothing newer is known.
pub fn next_server_version(product: &ProductId, site: &Site, catalog: &Catalog) -> Option<Version> {
    let server = site.products.get(product)?.server.as_ref()?;
    catalog
        .entries
        .iter()
        .filter(|e| e.release.product == *product)
        .filter_map(|e| lowest(&e.release.server))
        .max()
        .filter(|next| next > server)
}

/// The lowest version that a requirement of the form `>=a, <b`, `=a`, `^a` or `~a` names.
fn lowest(requirement: &VersionReq) -> Option<Version> {
    use semver::Op;
    requirement
        .comparators
        .iter()
        .filter(|c| matches!(c.op, Op::Exact | Op::GreaterEq | Op::Caret | Op::Tilde | Op::Wildcard))
        .map(|c| Version::new(c.major, c.minor.unwrap_or(0), c.patch.unwrap_or(0)))
        .max()
}

/// When a device's turn in a rollout comes: evenly spread, the same at every call.
fn turn(rollout: Rollout, seed: u64, device: &str, version: &Version) -> Timestamp {
    let digest = Sha256::new()
        .chain_update(seed.to_be_bytes())
        .chain_update(version.to_string())
        .chain_update([0])
        .chain_update(device)
        .finalize();
    let draw = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let wait = u64::from(draw) * u64::from(rollout.over_seconds) / u64::from(u32::MAX);
    rollout.start.checked_add(jiff::SignedDuration::from_secs(wait.cast_signed())).unwrap_or(Timestamp::MAX)
}

fn hold(product: &ProductId, why: &str) -> Directive {
    Directive {
        product: product.clone(),
        decision: Decision::Hold,
        policy: UpgradePolicy::default(),
        server: None,
        why: why.into(),
    }
}

/// The releases that a device could go to.
struct Options<'a> {
    product: &'a ProductId,
    catalog: &'a Catalog,
    device: &'a Device,
}

impl Options<'_> {
    /// Whether what is installed works with the server. A version that the catalog does not know
    /// (any more) counts as made for the server of its own major.minor.
    fn installed_works(&self, installed: &Version, coupled: bool, server: Option<&Version>) -> bool {
        let Some(server) = server.filter(|_| coupled) else {
            return true;
        };
        match self.all().find(|r| r.version == *installed) {
            Some(release) => release.works_with(server),
            None => (installed.major, installed.minor) == (server.major, server.minor),
        }
    }

    fn best(&self, works: &dyn Fn(&Release) -> bool) -> Option<Version> {
        let state = self.device.product(self.product);
        let floor = self.catalog.floor(self.product).max(state.floor.as_ref());
        let updater = self.device.updater.as_ref();
        self.all()
            .filter(|r| works(r) && r.reachable_from(state.installed.as_ref()))
            .filter(|r| state.failed.iter().all(|f| f.version != r.version))
            .filter(|r| r.updater.as_ref().is_none_or(|needed| updater.is_none_or(|updater| updater >= needed)))
            .filter(|r| {
                floor.is_none_or(|floor| r.version >= *floor)
                    || state.installed.as_ref().is_some_and(|i| r.permits_downgrade_from(i))
            })
            .map(|r| &r.version)
            .min_by_key(|v| Reverse(*v))
            .cloned()
    }

    fn why_none(&self, works: &dyn Fn(&Release) -> bool) -> (Blocked, String) {
        let state = self.device.product(self.product);
        let fitting: Vec<&Release> = self.all().filter(|r| works(r)).collect();
        if fitting.is_empty() {
            return (Blocked::NoRelease, "there is no release".into());
        }
        if fitting.iter().any(|r| state.failed.iter().any(|f| f.version == r.version)) {
            return (Blocked::FailedHere, "the release was rolled back on this machine".into());
        }
        let updater = self.device.updater.as_ref();
        let words = match (state.installed, fitting.iter().filter_map(|r| r.updater.as_ref()).min()) {
            (Some(installed), _) if fitting.iter().all(|r| r.version < installed) => {
                format!("the vendor has not permitted going back from {installed}")
            }
            (_, Some(needed)) if updater.is_some_and(|updater| updater < needed) => {
                format!("every release needs updater {needed} or newer")
            }
            _ => "no release can be reached from the installed version".into(),
        };
        (Blocked::Unreachable, words)
    }

    fn all(&self) -> impl Iterator<Item = &Release> {
        self.catalog.of(self.product, &self.device.platform, &self.device.channel).map(|e| &e.release)
    }
}
