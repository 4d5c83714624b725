//! The way from the installed version to another one, through the steps that the vendor's barriers and permits ask for.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use semver::Version;

use crate::{
    catalog::{Catalog, Release},
    device::{Device, FailedVersion, ProductState},
    policy::DowngradePolicy,
    product::ProductId,
    terms::{self, Again},
};

/// What limits the way.
pub(crate) struct Limits<'a> {
    pub product: &'a ProductId,
    pub catalog: &'a Catalog,
    pub device: &'a Device,
    pub state: &'a ProductState,
    /// The site's.
    pub downgrade: DowngradePolicy,
    /// Failures that do not count.
    pub again: &'a [Again],
    /// Versions that the site holds.
    pub held: &'a dyn Fn(&Version) -> bool,
    pub now: Timestamp,
}

impl<'a> Limits<'a> {
    /// The steps to the highest version that fits and can be reached, the last one being that version; the installed version
    /// itself does not count. A way leads up or down, never both, and is the shortest one. Every step on it must be `passable`.
    pub fn way(
        &self,
        fits: &dyn Fn(&Release) -> bool,
        passable: &dyn Fn(&Release) -> bool,
    ) -> Option<Vec<&'a Version>> {
        let mut eligible: Vec<&Release> = self.releases().filter(|r| self.is_eligible(r)).collect();
        // Of several steps that do, the newest.
        eligible.sort_by_key(|r| std::cmp::Reverse(&r.version));
        let Some(installed) = self.state.installed.as_ref() else {
            let best = eligible.into_iter().filter(|r| fits(r) && self.is_above_floor(r)).max_by_key(|r| &r.version)?;
            return Some(vec![&best.version]);
        };
        // Breadth first: the first way found to a release is the shortest.
        let mut before: BTreeMap<&Version, Option<&Version>> = BTreeMap::new();
        let mut queue = VecDeque::from([(installed, None::<bool>)]);
        while let Some((at, direction)) = queue.pop_front() {
            for next in &eligible {
                let up = next.version > *at;
                let known = next.version == *installed || before.contains_key(&next.version);
                let turns = direction.is_some_and(|d| d != up);
                if known || turns || next.version == *at || !self.leads(at, next) {
                    continue;
                }
                before.insert(&next.version, (at != installed).then_some(at));
                if passable(next) {
                    queue.push_back((&next.version, Some(up)));
                }
            }
        }
        let target =
            eligible.iter().filter(|r| fits(r) && before.contains_key(&r.version)).map(|r| &r.version).max()?;
        let mut way = vec![target];
        while let Some(Some(previous)) = way.last().and_then(|v| before.get(*v)) {
            way.push(previous);
        }
        way.reverse();
        Some(way)
    }

    /// Whether the vendor lets a device go from one version to a release in one step.
    fn leads(&self, from: &Version, to: &Release) -> bool {
        to.reachable_from(Some(from)) && (self.is_above_floor(to) || to.permits_downgrade_from(from))
    }

    fn is_above_floor(&self, release: &Release) -> bool {
        self.floor().is_none_or(|floor| release.version >= *floor)
    }

    fn floor(&self) -> Option<&Version> {
        self.signed_floor().max(self.state.floor.as_ref())
    }

    /// Whether nothing but the way there stands against a release.
    fn is_eligible(&self, release: &Release) -> bool {
        let version = &release.version;
        let updater = self.device.updater.as_ref();
        let down = self.state.installed.as_ref().is_some_and(|installed| version < installed);
        self.failure(version).is_none()
            && !self.is_withdrawn(version)
            && release.updater.as_ref().is_none_or(|needed| updater.is_none_or(|updater| updater >= needed))
            && !(down && self.never_down())
            && !(self.held)(version)
            && terms::machine_hold(self.device, self.product, version).is_none()
    }

    /// Whether a downgrade is never carried out here.
    pub fn never_down(&self) -> bool {
        terms::downgrade(self.device, self.downgrade).0.timing().is_none()
    }

    /// The failure that stands against a version.
    pub fn failure(&self, version: &Version) -> Option<&'a FailedVersion> {
        self.state.failed.iter().find(|f| f.version == *version && stands(f, self.again, self.now))
    }

    /// Whether the vendor wants nobody to stay on a version.
    pub fn is_left(&self, version: &Version) -> bool {
        self.is_withdrawn(version)
            || self.signed_floor().is_some_and(|floor| version < floor)
                && self.releases().all(|r| r.version != *version || r.downgrade_from.is_none())
    }

    /// Whether the vendor has withdrawn a version from this device's channel.
    pub fn is_withdrawn(&self, version: &Version) -> bool {
        self.catalog.is_withdrawn(self.product, &self.device.channel, version)
    }

    fn signed_floor(&self) -> Option<&Version> {
        self.catalog.floor(self.product, &self.device.channel)
    }

    /// The releases for this device.
    pub fn releases(&self) -> impl Iterator<Item = &'a Release> + use<'a> {
        self.catalog.of(self.product, &self.device.platform, &self.device.channel).map(|e| &e.release)
    }
}

/// Whether a failure counts.
pub(crate) fn stands(failed: &FailedVersion, again: &[Again], now: Timestamp) -> bool {
    failed.bars(now) && !again.iter().any(|a| a.version == failed.version && a.failed_at == failed.at)
}
