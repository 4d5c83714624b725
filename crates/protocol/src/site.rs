//! What the administrator chose, and the profile that travels beside an installer.

use std::collections::BTreeMap;

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    hold::SiteHold,
    policy::{DowngradePolicy, UpgradePolicy},
    product::ProductId,
    terms::Again,
    window::Windows,
};

/// Spreads optional upgrades over time: a device's turn comes at a point that depends on the seed and
/// its id only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// When the first device's turn comes.
    pub start: Timestamp,
    /// Seconds until the last one's.
    pub over_seconds: u32,
}

/// The site's choices for one product.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteProduct {
    /// The version that the running server program reports. `None`: not known yet.
    pub server: Option<Version>,
    /// The server version that clients stage for. `None`: the newest one that a release is made for.
    #[serde(default)]
    pub next: Option<Version>,
    /// When and how, unless a machine's policy says otherwise.
    #[serde(default)]
    pub policy: UpgradePolicy,
    /// Nothing is offered while it is set.
    #[serde(default)]
    pub hold: bool,
    /// Spreads recommended upgrades; required ones never wait.
    #[serde(default)]
    pub rollout: Option<Rollout>,
    /// How a permitted downgrade is carried out.
    #[serde(default)]
    pub downgrade: DowngradePolicy,
    /// When upgrades that are not urgent may be activated.
    #[serde(default)]
    pub windows: Windows,
    /// Seconds that a user may put off what is necessary, from the moment of being asked. `None`: a day. A window that binds required upgrades puts them off no longer either.
    #[serde(default)]
    pub grace_seconds: Option<u32>,
    /// What is held, in part or for some PCs.
    #[serde(default)]
    pub holds: Vec<SiteHold>,
    /// Failures that the administrator wants to be tried again.
    #[serde(default)]
    pub retries: Vec<Retry>,
}

impl SiteProduct {
    /// Seconds that a user may put off what is necessary, from the moment of being asked.
    pub fn grace_seconds(&self) -> u32 {
        self.grace_seconds.unwrap_or(24 * 3600)
    }
}

/// The administrator wants a version that was rolled back on a PC to be tried again there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// The device's id.
    pub device: String,
    /// Which failure.
    #[serde(flatten)]
    pub failure: Again,
}

/// What the site wants of every product it manages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// By product.
    pub products: BTreeMap<ProductId, SiteProduct>,
}

impl Site {
    /// What devices are told about: every product that the site manages, and the updater, which is kept up to date silently
    /// unless the site says something else about it. Releases may need a newer one ([`crate::catalog::Release::updater`]).
    #[must_use]
    pub fn with_updater(mut self) -> Self {
        let silent = || SiteProduct { policy: UpgradePolicy::Silent, ..SiteProduct::default() };
        self.products.entry(ProductId::updater()).or_insert_with(silent);
        self
    }
}

/// `site.json`: which site a PC belongs to. It lies beside a signed installer and then under `/etc/lockstep`,
/// where only an administrator can write, with the vendor's TUF root (`root.json`) next to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteProfile {
    /// Format version, 1.
    pub v: u32,
    /// The server's address, such as `https://mail.example.com:4443`.
    pub server: String,
    /// The certificate (or CA) in PEM that the server's TLS certificate must be or chain to. `None`: the
    /// system's authorities.
    #[serde(default)]
    pub certificate: Option<String>,
    /// Lets an updater enrol; it proves nothing more than having had an installer of this site.
    pub enrolment_key: String,
    /// The site's name for people.
    #[serde(default)]
    pub name: String,
    /// The machine's policy, before the site's. `None`: the site decides.
    #[serde(default)]
    pub policy: Option<UpgradePolicy>,
}
