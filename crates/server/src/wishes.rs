//! What the administrator says about upgrades while the server runs: policies, maintenance windows, the time that users have, holds and
//! second tries. It is kept in the store, as one fact a product, and goes before what `server.toml` says.

use protocol::{
    explain::{downgrade_name, upgrade_name},
    hold::{MAX_HOLDS, SiteHold},
    policy::{DowngradePolicy, UpgradePolicy},
    product::ProductId,
    site::{Retry, SiteProduct},
    window::{MAX_WINDOWS, Windows},
};
use serde::{Deserialize, Serialize};

use crate::store::{Store, StoreError};

/// Second tries that are remembered; the oldest are forgotten first, long after they were made.
const MAX_RETRIES: usize = 1000;
/// Characters of a reason, and of a PC's pattern.
const MAX_REASON: usize = 200;
/// Patterns of one hold.
const MAX_PCS: usize = 256;
/// The longest time that users may be given, in seconds: 90 days.
pub const LONGEST_GRACE: u32 = 90 * 24 * 3600;

/// The administrator's wishes for one product. What is `None` is as `server.toml` says, or as it comes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wishes {
    /// One of the six upgrade policies.
    pub upgrade: Option<UpgradePolicy>,
    /// The downgrade policy.
    pub downgrade: Option<DowngradePolicy>,
    /// Maintenance windows.
    pub windows: Option<Windows>,
    /// Seconds that a user may put off what is necessary.
    pub grace_seconds: Option<u32>,
    /// Holds.
    pub holds: Vec<SiteHold>,
    /// Second tries.
    pub retries: Vec<Retry>,
}

impl Wishes {
    /// What is stored.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(store: &Store, product: &ProductId) -> Result<Self, StoreError> {
        let text = store.fact(&fact(product)).await?;
        let read = text.map(|text| serde_json::from_str(&text).map_err(|_| StoreError::Damaged("a policy")));
        Ok(read.transpose()?.unwrap_or_default())
    }

    /// Stores them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn save(&self, store: &Store, product: &ProductId) -> Result<(), StoreError> {
        let text = serde_json::to_string(self).map_err(|_| StoreError::Damaged("a policy"))?;
        store.set_fact(&fact(product), Some(&text)).await
    }

    /// Puts them in the place of what was configured.
    pub fn apply(&self, to: &mut SiteProduct, configured: UpgradePolicy) {
        to.policy = self.upgrade.unwrap_or(configured);
        to.downgrade = self.downgrade.unwrap_or_default();
        to.windows = self.windows.clone().unwrap_or_default();
        to.grace_seconds = self.grace_seconds;
        to.holds = self.holds.clone();
        to.retries = self.retries.clone();
    }

    /// What is too much or too long, in words.
    pub fn objection(&self) -> Option<String> {
        if self.windows.as_ref().is_some_and(|w| w.weekly.len() > MAX_WINDOWS) {
            return Some(format!("at most {MAX_WINDOWS} maintenance windows are accepted"));
        }
        if let Some(zone) = self.windows.as_ref().and_then(|w| w.zone.as_deref())
            && protocol::window::zone(zone).is_none()
        {
            return Some("that is not a time zone; write it as Europe/Prague".into());
        }
        if self.grace_seconds.is_some_and(|s| s > LONGEST_GRACE) {
            return Some("users may be given at most 90 days".into());
        }
        if self.holds.len() > MAX_HOLDS {
            return Some(format!("at most {MAX_HOLDS} holds are kept; remove one first"));
        }
        let long = |h: &SiteHold| {
            let pcs = h.pcs.as_deref().unwrap_or_default();
            h.reason.chars().count() > MAX_REASON
                || pcs.len() > MAX_PCS
                || pcs.iter().any(|p| p.chars().count() > MAX_REASON)
        };
        self.holds.iter().any(long).then(|| format!("a reason or a PC's name has at most {MAX_REASON} characters"))
    }

    /// Remembers a second try, once.
    pub fn retry(&mut self, retry: Retry) {
        self.retries.retain(|r| *r != retry);
        self.retries.push(retry);
        let excess = self.retries.len().saturating_sub(MAX_RETRIES);
        self.retries.drain(..excess);
    }
}

/// What is in force for a product, for people: one line each.
pub fn words(product: &SiteProduct) -> Vec<String> {
    let hours = product.grace_seconds().div_ceil(3600);
    let mut words = vec![
        format!("upgrades: {}", upgrade_name(product.policy)),
        format!("downgrades: {}", downgrade_name(product.downgrade)),
        format!("maintenance: {}", product.windows),
        format!("users may put off what is necessary for {hours} h"),
    ];
    if product.hold {
        words.push("everything is held by server.toml".into());
    }
    for hold in &product.holds {
        let pcs = hold.pcs.as_ref().map_or(String::new(), |pcs| format!(", on {}", pcs.join(" ")));
        words.push(format!("{}{pcs}", hold.words()));
    }
    words
}

fn fact(product: &ProductId) -> String {
    format!("wishes:{product}")
}
