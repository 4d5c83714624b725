//! What a PC reports about itself. The same value is what the device decides on ([`crate::admit()`]), so the
//! server's preflight can compute a device's answer without asking it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use crate::{
    policy::UpgradePolicy,
    product::{Platform, ProductId},
    terms::MachinePolicy,
};

/// The channel of a device whose administrator says nothing else.
pub const STABLE: &str = "stable";

/// The state of one product on one PC. One vocabulary everywhere: the updater's machine, the JSON
/// values, the console's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceState {
    /// Nothing to do, or nothing known yet.
    #[default]
    Idle,
    /// Fetching, verifying and unpacking a version beside the running one.
    Staging,
    /// A version is complete beside the running one.
    Staged,
    /// A staged version waits for the user's consent.
    AwaitingConsent,
    /// Switching to a staged version.
    Activating,
    /// Switched; the machine-level health rule is being checked.
    Confirming,
    /// The last activation failed its health rule; the version before it runs again.
    RolledBack,
    /// The last attempt failed before anything was switched; it will be tried again.
    Failed,
}

/// A version that was rolled back on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedVersion {
    /// Which one.
    pub version: Version,
    /// When it failed.
    pub at: Timestamp,
    /// Why, in words.
    pub reason: String,
    /// How often it has failed here; each time doubles the wait.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: u32,
    /// Whether an administrator of this machine wants it to be tried again now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

impl FailedVersion {
    /// Days until the second try.
    const FIRST_WAIT: i64 = 7;
    /// The wait never exceeds `7 * 2^3` days, eight weeks.
    const DOUBLINGS: u32 = 3;

    /// A first failure.
    pub fn new(version: Version, at: Timestamp, reason: String) -> Self {
        Self { version, at, reason, times: 1, again: false }
    }

    /// When it is tried again by itself.
    pub fn retry_at(&self) -> Timestamp {
        let days = Self::FIRST_WAIT << self.times.saturating_sub(1).min(Self::DOUBLINGS);
        self.at.checked_add(SignedDuration::from_hours(24 * days)).unwrap_or(Timestamp::MAX)
    }

    /// Whether the version must not be installed because of it.
    pub fn bars(&self, now: Timestamp) -> bool {
        !self.again && now < self.retry_at()
    }
}

fn once() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_once(times: &u32) -> bool {
    *times == 1
}

/// One product on one PC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductState {
    /// The active version. `None`: not installed.
    #[serde(default)]
    pub installed: Option<Version>,
    /// Versions that are verified and complete beside it.
    #[serde(default)]
    pub staged: Vec<Version>,
    /// Never below this, unless the vendor permits that very downgrade.
    #[serde(default)]
    pub floor: Option<Version>,
    /// Versions that were rolled back here.
    #[serde(default)]
    pub failed: Vec<FailedVersion>,
    /// A version that the user of this PC has agreed to.
    #[serde(default)]
    pub consented: Option<Version>,
    /// Since when something necessary has been put off, by a user who was asked or by a window. Deadlines are counted from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put_off_since: Option<Timestamp>,
    /// Where it stands.
    #[serde(default, deserialize_with = "known_or_default")]
    pub state: DeviceState,
    /// What is going on or went wrong, in words for the administrator.
    #[serde(default)]
    pub detail: Option<String>,
}

/// A PC as its updater sees it, or, on a PC without an updater, as the connector sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The random id given at enrolment, or the connector's seat id where there is no updater.
    pub id: String,
    /// The PC's name for people; a claim, never a key.
    pub hostname: String,
    /// What it runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// The release channel it takes.
    #[serde(default = "stable")]
    pub channel: String,
    /// The updater's version. `None`: there is none, so nothing can be installed without an administrator.
    #[serde(default)]
    pub updater: Option<Version>,
    /// The machine's own policy, which goes before the site's.
    #[serde(default, deserialize_with = "known_or_default")]
    pub policy: Option<UpgradePolicy>,
    /// The rest of what the machine's own administrator has said.
    #[serde(default, skip_serializing_if = "is_default", deserialize_with = "known_or_default")]
    pub machine: MachinePolicy,
    /// Bytes free where versions are kept. `None`: unknown.
    #[serde(default)]
    pub disk_free: Option<u64>,
    /// When the metadata that this PC has verified expires. `None`: it has none.
    #[serde(default)]
    pub metadata_expires: Option<Timestamp>,
    /// By product.
    #[serde(default)]
    pub products: BTreeMap<ProductId, ProductState>,
}

impl Device {
    /// A PC of which nothing is known but what it runs on: its other fields are empty.
    pub fn unknown(platform: Platform, channel: &str) -> Self {
        Self {
            id: String::new(),
            hostname: String::new(),
            platform,
            channel: channel.to_owned(),
            updater: None,
            policy: None,
            machine: MachinePolicy::default(),
            disk_free: None,
            metadata_expires: None,
            products: BTreeMap::new(),
        }
    }

    /// The state of a product; the state of something not installed where nothing is known.
    pub fn product(&self, product: &ProductId) -> ProductState {
        self.products.get(product).cloned().unwrap_or_default()
    }
}

/// Reads a value that a later release may have more kinds of: one that is not known counts as the default, and the rest
/// of the message as what it says.
pub(crate) fn known_or_default<'de, D, T>(reader: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = serde_json::Value::deserialize(reader)?;
    Ok(T::deserialize(value).unwrap_or_default())
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn stable() -> String {
    STABLE.into()
}

/// Whether this can be a channel's name: 1 to 32 characters of a-z and `-`.
pub fn is_channel(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}
