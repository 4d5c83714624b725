//! The server's decision: what a device should do now.

use jiff::{SignedDuration, Timestamp};
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    catalog::{Catalog, Release},
    device::{Device, FailedVersion, is_default, known_or_default},
    hold::SiteHold,
    policy::UpgradePolicy,
    product::{Platform, ProductId},
    site::{Rollout, Site},
    steps::Limits,
    terms::{self, Terms},
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
    /// The site's or the machine's administrator holds them back.
    Held,
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
    /// What else the site says about it.
    #[serde(default, skip_serializing_if = "is_default", deserialize_with = "known_or_default")]
    pub terms: Terms,
    /// The server version that it was decided for.
    #[serde(default)]
    pub server: Option<Version>,
    /// Why, in words for a person.
    pub why: String,
}

/// Decides what a device should do about a product.
///
/// The rules, first match wins:
/// 1. The site does not manage the product, holds it (or the device's own administrator does), or does not know its server's
///    version: `hold`.
/// 2. The installed version works with the server (or nothing is coupled to one): where the vendor has withdrawn it, the
///    best eligible release, up or down, is `recommended` with a deadline; else a newer eligible release is
///    `recommended`, when the device's turn in the rollout has come; else the best release for the
///    *next* server version is to be staged; else `current`.
/// 3. It does not, or the product is not installed yet: the best eligible release is `required`; without
///    one, `blocked`.
///
/// Eligible: this platform and channel, works with the server, reachable (barrier, floor, permitted downgrade, the
/// device's updater is new enough), not withdrawn, not held by the site or the machine, not against a downgrade policy of
/// `never`, and not rolled back here of late. Best: the highest version. Where it can only be reached in steps, the directive names
/// the first one, and [`Terms::way`] the others. `seed` is the site's, for the rollout.
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
    let retries = chosen.retries.iter().filter(|r| r.device == device.id);
    let again: Vec<_> = retries.map(|r| r.failure.clone()).collect();
    let terms = Terms { downgrade: chosen.downgrade, windows: chosen.windows.clone(), again, ..Terms::default() };
    let with = |decision, way: Vec<Version>, why: String| Directive {
        product: product.clone(),
        decision,
        policy: chosen.policy,
        terms: Terms { way, ..terms.clone() },
        server: chosen.server.clone(),
        why,
    };
    let simply = |decision, why: String| with(decision, vec![], why);
    let holds: Vec<&SiteHold> = chosen.holds.iter().filter(|h| h.binds(device, now)).collect();
    if chosen.hold {
        return simply(Decision::Hold, "the administrator holds this product's upgrades".into());
    }
    if let Some(whole) = holds.iter().find(|h| h.what.is_whole(product)) {
        return simply(Decision::Hold, whole.words());
    }
    if device.machine.holds.iter().any(|h| h.is_whole(product)) {
        return simply(Decision::Hold, format!("this computer's own policy holds {product}"));
    }
    let coupled = catalog.is_coupled(product, &device.channel);
    if coupled && chosen.server.is_none() {
        return simply(Decision::Hold, "the server's version is not known yet".into());
    }

    let state = device.product(product);
    let installed = state.installed.as_ref();
    let held = |version: &Version| holds.iter().any(|h| h.what.covers(product, version));
    let (again, downgrade) = (&*terms.again, chosen.downgrade);
    let limits = Limits { product, catalog, device, state: &state, downgrade, again, held: &held, now };
    let options = Options { limits: &limits, holds: &holds };
    let works = |release: &Release| chosen.server.as_ref().is_none_or(|server| release.works_with(server));
    let grace = SignedDuration::from_secs(i64::from(chosen.grace_seconds()));
    let asked = state.put_off_since.map_or(now, |since| since.min(now));
    let deadline = asked.checked_add(grace).unwrap_or(Timestamp::MAX);

    if let Some(installed) = installed
        && options.installed_works(installed, coupled, chosen.server.as_ref())
    {
        let best = limits.way(&works, &works);
        let withdrawn = limits.is_left(installed);
        if withdrawn && let Some((step, rest)) = first_of(&best) {
            let why = format!("the vendor has withdrawn {installed}; {} takes its place", last_of(&step, &rest));
            let mut order = with(Decision::Recommended { version: step }, rest, why);
            order.terms.by = Some(deadline);
            return order;
        }
        if let Some((step, rest)) = first_of(&best).filter(|(step, _)| step > installed) {
            if chosen.rollout.is_none_or(|r| turn(r, seed, &device.id, &step) <= now) {
                let why = format!("{step} replaces {installed}, which still works{}", on_the_way(&step, &rest));
                return with(Decision::Recommended { version: step }, rest, why);
            }
            return simply(Decision::Current, format!("{step} comes to this device later in the rollout"));
        }
        let next = chosen
            .next
            .clone()
            .or_else(|| next_server_version(product, &device.channel, Some(&device.platform), site, catalog));
        if let Some(next) = next.filter(|next| Some(next) != chosen.server.as_ref())
            && let Some(way) = limits.way(&|r| r.works_with(&next), &|_| true)
            && let Some(last) = way.last()
        {
            let why = format!("made ready for server {next}, before it comes");
            let version = (*way.iter().find(|v| !state.staged.contains(v)).unwrap_or(last)).clone();
            let others = way.iter().filter(|v| ***v != version).map(|v| (*v).clone()).collect();
            return with(Decision::Stage { version }, others, why);
        }
        let mut why = format!("{installed} is the right version");
        if withdrawn {
            why = format!("the vendor has withdrawn {installed}, but offers nothing in its place");
        }
        if let Some(other) = options.why_not_newer(installed, &works) {
            why.push_str(&format!("; {other}"));
        }
        return simply(Decision::Current, why);
    }

    let server = chosen.server.as_ref().map_or("any server".into(), |v| format!("server {v}"));
    if let Some((version, rest)) = first_of(&limits.way(&works, &|_| true)) {
        let last = last_of(&version, &rest);
        let why = match installed {
            Some(old) => format!("{old} does not work with {server}; {last} does{}", on_the_way(&version, &rest)),
            None => format!("not installed yet; {last} works with {server}"),
        };
        return with(Decision::Required { version, deadline }, rest, why);
    }
    let (reason, why) = options.why_none(&works);
    if installed.is_none() {
        return simply(Decision::Hold, format!("not installed, and {why} for {server}"));
    }
    simply(Decision::Blocked { reason }, format!("{why} for {server}"))
}

fn first_of(way: &Option<Vec<&Version>>) -> Option<(Version, Vec<Version>)> {
    let (first, rest) = way.as_ref()?.split_first()?;
    Some(((*first).clone(), rest.iter().map(|v| (*v).clone()).collect()))
}

fn last_of<'a>(first: &'a Version, rest: &'a [Version]) -> &'a Version {
    rest.last().unwrap_or(first)
}

fn on_the_way(step: &Version, rest: &[Version]) -> String {
    rest.last().map_or(String::new(), |last| format!("; {step} is a step on the way to {last}"))
}

/// The server version that clients prepare for: the lowest one that the newest release of the product is made
/// for, where that is above the server's own: of those in a channel, and for one platform or any. `None`: nothing newer is known.
pub fn next_server_version(
    product: &ProductId,
    channel: &str,
    platform: Option<&Platform>,
    site: &Site,
    catalog: &Catalog,
) -> Option<Version> {
    let server = site.products.get(product)?.server.as_ref()?;
    catalog
        .entries
        .iter()
        .map(|e| &e.release)
        .filter(|r| r.product == *product && r.channel == channel && platform.is_none_or(|p| r.platform == *p))
        .filter_map(|r| lowest(&r.server))
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
    rollout.start.checked_add(SignedDuration::from_secs(wait.cast_signed())).unwrap_or(Timestamp::MAX)
}

fn hold(product: &ProductId, why: &str) -> Directive {
    Directive {
        product: product.clone(),
        decision: Decision::Hold,
        policy: UpgradePolicy::default(),
        terms: Terms::default(),
        server: None,
        why: why.into(),
    }
}

/// The releases that a device could go to, and why not to the others.
struct Options<'a> {
    limits: &'a Limits<'a>,
    holds: &'a [&'a SiteHold],
}

impl Options<'_> {
    /// Whether what is installed works with the server. A version that the catalog does not know
    /// (any more) counts as made for the server of its own major.minor.
    fn installed_works(&self, installed: &Version, coupled: bool, server: Option<&Version>) -> bool {
        let Some(server) = server.filter(|_| coupled) else {
            return true;
        };
        match self.limits.releases().find(|r| r.version == *installed) {
            Some(release) => release.works_with(server),
            None => (installed.major, installed.minor) == (server.major, server.minor),
        }
    }

    /// What keeps a newer version that works from being recommended, where it is somebody's choice or a failure of the past.
    fn why_not_newer(&self, installed: &Version, works: &dyn Fn(&Release) -> bool) -> Option<String> {
        let newer = self.limits.releases().filter(|r| works(r) && r.version > *installed).max_by_key(|r| &r.version)?;
        self.why_not(&newer.version)
    }

    fn why_not(&self, version: &Version) -> Option<String> {
        let limits = self.limits;
        if limits.is_withdrawn(version) {
            return Some(format!("the vendor has withdrawn {version}"));
        }
        if let Some(hold) = self.holds.iter().find(|h| h.what.covers(limits.product, version)) {
            return Some(format!("{version} waits: {}", hold.words()));
        }
        if let Some(hold) = terms::machine_hold(limits.device, limits.product, version) {
            return Some(format!("{version} waits: this computer's own policy holds {hold}"));
        }
        let failed = limits.failure(version)?;
        Some(format!("{version} was rolled back on this machine and is tried again after {:.0}", failed.retry_at()))
    }

    fn why_none(&self, works: &dyn Fn(&Release) -> bool) -> (Blocked, String) {
        let limits = self.limits;
        let fitting: Vec<&Release> = limits.releases().filter(|r| works(r)).collect();
        if fitting.is_empty() {
            return (Blocked::NoRelease, "there is no release".into());
        }
        if let Some(hold) =
            self.holds.iter().find(|h| fitting.iter().any(|r| h.what.covers(limits.product, &r.version)))
        {
            return (Blocked::Held, hold.words());
        }
        if let Some(hold) = fitting.iter().find_map(|r| terms::machine_hold(limits.device, limits.product, &r.version))
        {
            return (Blocked::Held, format!("this computer's own policy holds {hold}"));
        }
        if let Some(next) = fitting.iter().filter_map(|r| limits.failure(&r.version)).map(FailedVersion::retry_at).min()
        {
            let words = format!("the release was rolled back on this machine, and is tried again after {next:.0},");
            return (Blocked::FailedHere, words);
        }
        if fitting.iter().all(|r| limits.is_withdrawn(&r.version)) {
            return (Blocked::NoRelease, "the vendor has withdrawn every release".into());
        }
        let updater = limits.device.updater.as_ref();
        let installed = limits.state.installed.as_ref();
        let words = match (installed, fitting.iter().filter_map(|r| r.updater.as_ref()).min()) {
            (Some(installed), _) if fitting.iter().all(|r| r.version < *installed) => {
                let permitted = fitting.iter().any(|r| r.permits_downgrade_from(installed));
                if permitted && limits.never_down() {
                    let whose = terms::downgrade(limits.device, limits.downgrade).1.policy_of();
                    return (Blocked::Held, format!("{whose} policy never goes back from {installed}"));
                }
                format!("the vendor has not permitted going back from {installed}")
            }
            (_, Some(needed)) if updater.is_some_and(|updater| updater < needed) => {
                format!("every release needs updater {needed} or newer")
            }
            _ => "no release can be reached from the installed version".into(),
        };
        (Blocked::Unreachable, words)
    }
}
