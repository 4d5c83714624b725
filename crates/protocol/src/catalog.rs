//! What a release says about itself in the vendor's signed metadata.
//!
//! A [`Release`] is the `lockstep` member of a TUF target's `custom` field, so that a decision needs the
//! metadata only, never the package. A [`Catalog`] is all releases that verified metadata names.

use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

use crate::product::{Platform, ProductId};

/// Which mail-store schemas a version understands; others are refused when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreSchemas {
    /// The oldest schema number that this version can open.
    pub reads_from: u32,
    /// The schema number that it writes, and the newest that it can open.
    pub writes: u32,
}

/// The compatibility facts of one release for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Which product.
    pub product: ProductId,
    /// Which version of it.
    pub version: Version,
    /// `stable`, `beta`, …: a device takes releases of its own channel only.
    pub channel: String,
    /// What it runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// The server versions that it works with, such as `>=7.3, <7.4`. `*` for a product without a server.
    pub server: VersionReq,
    /// Mail-store schemas, for products that have a store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreSchemas>,
    /// Barrier: the oldest version that may go to this one directly. `None`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrades_from: Option<Version>,
    /// The oldest updater that can install it. `None`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updater: Option<Version>,
    /// Floor: whoever takes this release's channel and has seen it installs nothing older, ever (withdrawn versions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Version>,
    /// Versions that may go *down* to this release. `None`: no downgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downgrade_from: Option<VersionReq>,
    /// Versions of this product that the vendor has withdrawn from this release's channel: never installed anew, and whoever has
    /// one leaves it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdraws: Vec<Version>,
}

impl Release {
    /// Whether it works with a server of this version. A pre-release of a server counts as the
    /// version that it leads to, since `>=7.3` is meant to include 7.3.0-beta.1.
    pub fn works_with(&self, server: &Version) -> bool {
        let mut plain = server.clone();
        plain.pre = semver::Prerelease::EMPTY;
        plain.build = semver::BuildMetadata::EMPTY;
        self.server.matches(&plain)
    }

    /// Whether a device that has `installed` may go to this release in one step, upwards through
    /// the barrier or downwards with the vendor's permission. A fresh installation may always.
    pub fn reachable_from(&self, installed: Option<&Version>) -> bool {
        let Some(installed) = installed else {
            return true;
        };
        if *installed <= self.version {
            self.upgrades_from.as_ref().is_none_or(|oldest| installed >= oldest)
        } else {
            self.permits_downgrade_from(installed)
        }
    }

    /// Whether the vendor signed that `installed` may be replaced by this older release.
    pub fn permits_downgrade_from(&self, installed: &Version) -> bool {
        self.downgrade_from.as_ref().is_some_and(|req| req.matches(installed))
    }
}

/// One release and the TUF target that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The TUF target path.
    pub target: String,
    /// Bytes.
    pub length: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// What the vendor says about it.
    pub release: Release,
}

/// Every release that verified metadata names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// In no particular order.
    pub entries: Vec<Entry>,
}

impl Catalog {
    /// The releases of a product for a platform and a channel.
    pub fn of<'a, 'b>(
        &'a self,
        product: &'b ProductId,
        platform: &'b Platform,
        channel: &'b str,
    ) -> impl Iterator<Item = &'a Entry> + use<'a, 'b> {
        self.entries.iter().filter(move |e| {
            e.release.product == *product && e.release.platform == *platform && e.release.channel == channel
        })
    }

    /// One release of a product for a platform and a channel.
    pub fn find(&self, product: &ProductId, platform: &Platform, channel: &str, version: &Version) -> Option<&Entry> {
        self.of(product, platform, channel).find(|e| e.release.version == *version)
    }

    /// What is said about a product to those who take a channel, for whatever platform. What is said in another channel is nothing
    /// to them: its key may be somebody else's.
    fn said_in(&self, product: &ProductId, channel: &str) -> impl Iterator<Item = &Release> {
        self.entries.iter().map(|e| &e.release).filter(move |r| r.product == *product && r.channel == channel)
    }

    /// The highest floor that any release of the product in this channel names.
    pub fn floor(&self, product: &ProductId, channel: &str) -> Option<&Version> {
        self.said_in(product, channel).filter_map(|r| r.floor.as_ref()).max()
    }

    /// Whether any release of the product in this channel says that the vendor has withdrawn this version.
    pub fn is_withdrawn(&self, product: &ProductId, channel: &str, version: &Version) -> bool {
        self.said_in(product, channel).any(|r| r.withdraws.contains(version))
    }

    /// What a device of a platform needs of it: the releases for that platform and, of other platforms, one of each channel that names
    /// the highest floor, one that depends on a server's version, and those that withdraw something, so that [`Catalog::floor`],
    /// [`Catalog::is_coupled`] and [`Catalog::is_withdrawn`] say the same.
    pub fn for_platform(&self, platform: &Platform) -> Self {
        let of_platform = |entry: &&Entry| entry.release.platform == *platform;
        let mut kept = Self { entries: self.entries.iter().filter(of_platform).cloned().collect() };
        for entry in self.entries.iter().filter(|entry| !of_platform(entry)) {
            let Release { product, channel, server, .. } = &entry.release;
            let floor = entry.release.floor.as_ref().is_some_and(|floor| kept.floor(product, channel) < Some(floor));
            let coupled = *server != VersionReq::STAR && !kept.is_coupled(product, channel);
            let withdraws = entry.release.withdraws.iter().any(|v| !kept.is_withdrawn(product, channel, v));
            if floor || coupled || withdraws {
                kept.entries.push(entry.clone());
            }
        }
        kept
    }

    /// Whether the product's releases in this channel depend on a server's version at all.
    pub fn is_coupled(&self, product: &ProductId, channel: &str) -> bool {
        self.said_in(product, channel).any(|r| r.server != VersionReq::STAR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: &str, server: &str) -> Release {
        Release {
            product: ProductId::connector(),
            version: version.parse().unwrap(),
            channel: "stable".into(),
            platform: Platform { os: "linux".into(), arch: "x86_64".into() },
            server: server.parse().unwrap(),
            store: None,
            upgrades_from: None,
            updater: None,
            floor: None,
            downgrade_from: None,
            withdraws: vec![],
        }
    }

    #[test]
    fn a_release_works_with_the_servers_it_names_and_their_previews() {
        let r = release("7.3.0", ">=7.3, <7.4");
        for (server, works) in
            [("7.2.9", false), ("7.3.0", true), ("7.3.7", true), ("7.3.0-beta.1", true), ("7.4.0", false)]
        {
            assert_eq!(r.works_with(&server.parse().unwrap()), works, "{server}");
        }
    }

    #[test]
    fn barriers_hold_upwards_and_permits_downwards() {
        let mut r = release("7.3.0", "*");
        r.upgrades_from = Some("7.1.0".parse().unwrap());
        r.downgrade_from = Some(">=7.4, <7.5".parse().unwrap());
        for (installed, reachable) in [
            (None, true),
            (Some("7.0.9"), false),
            (Some("7.1.0"), true),
            (Some("7.3.0"), true),
            (Some("7.4.2"), true),
            (Some("7.5.0"), false),
        ] {
            let installed = installed.map(|v| v.parse().unwrap());
            assert_eq!(r.reachable_from(installed.as_ref()), reachable, "{installed:?}");
        }
    }

    #[test]
    fn what_is_said_in_one_channel_holds_for_that_channel_alone() {
        let beta = Release {
            channel: "beta".into(),
            floor: Some("9.0.0".parse().unwrap()),
            withdraws: vec!["7.3.0".parse().unwrap()],
            ..release("7.5.0", ">=7.5")
        };
        let entry = |release| Entry { target: String::new(), length: 1, sha256: String::new(), release };
        let catalog = Catalog { entries: vec![entry(release("7.3.0", "*")), entry(beta)] };
        let (product, version) = (ProductId::connector(), "7.3.0".parse().unwrap());
        let said = |channel| {
            let floor = catalog.floor(&product, channel).is_some();
            (floor, catalog.is_withdrawn(&product, channel, &version), catalog.is_coupled(&product, channel))
        };
        assert_eq!((said("stable"), said("beta")), ((false, false, false), (true, true, true)));
    }

    #[test]
    fn a_device_keeps_its_platform_alone_and_decides_as_with_all_of_them() {
        let windows = Platform { os: "windows".into(), arch: "x86_64".into() };
        let entry = |version: &str, platform: &Platform, floor: Option<&str>, server: &str| {
            let floor = floor.map(|v| v.parse().unwrap());
            let release = Release { platform: platform.clone(), floor, ..release(version, server) };
            Entry { target: format!("connector/{version}-{platform}"), length: 1, sha256: String::new(), release }
        };
        let linux = release("1.0.0", "*").platform;
        let catalog = Catalog {
            entries: vec![
                entry("7.2.0", &linux, Some("7.1.0"), "*"),
                entry("7.2.0", &windows, Some("7.0.0"), "*"),
                entry("7.3.0", &windows, Some("7.2.0"), ">=7.3, <7.4"),
                entry("7.4.0", &windows, None, ">=7.4, <7.5"),
            ],
        };
        let product = ProductId::connector();
        for (platform, kept) in [(&linux, 2), (&windows, 3)] {
            let own = catalog.for_platform(platform);
            assert_eq!(own.entries.len(), kept);
            assert_eq!(own.floor(&product, "stable"), catalog.floor(&product, "stable"));
            assert_eq!(own.is_coupled(&product, "stable"), catalog.is_coupled(&product, "stable"));
            let versions = |c: &Catalog| c.of(&product, platform, "stable").cloned().collect::<Vec<_>>();
            assert_eq!(versions(&own), versions(&catalog));
        }
    }
}
