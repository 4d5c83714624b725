//! What is to change besides the releases: keys, thresholds, delegations. It waits in `.staging/plan.json`, and takes effect
//! with the next publication.

use std::path::Path;

use anyhow::Context;
use release::durable::{self, Access};
use serde::{Deserialize, Serialize};

/// The file in the staging folder.
pub const PLAN: &str = "plan.json";

/// One change. Keys are public, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Change {
    AddKey {
        role: String,
        key: String,
    },
    /// By its id.
    RemoveKey {
        role: String,
        id: String,
    },
    /// In the place of an old one, by its id.
    ReplaceKey {
        role: String,
        id: String,
        key: String,
    },
    Threshold {
        role: String,
        threshold: u32,
    },
    /// Sign again what has not changed, with a later expiry.
    Renew {
        role: String,
    },
    Delegate {
        name: String,
        product: String,
        channel: Option<String>,
        keys: Vec<String>,
        threshold: u32,
    },
    Undelegate {
        name: String,
    },
    /// `count` 0: no bins.
    Bins {
        count: u32,
        keys: Vec<String>,
        threshold: u32,
    },
}

/// All changes that wait, in their order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    v: u32,
    pub changes: Vec<Change>,
}

impl Plan {
    pub fn read(staging: &Path) -> anyhow::Result<Self> {
        let path = staging.join(PLAN);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("cannot read {}", path.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self { v: 1, changes: Vec::new() }),
            Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub fn write(&self, staging: &Path) -> anyhow::Result<()> {
        let path = staging.join(PLAN);
        durable::replace(&path, &serde_json::to_vec_pretty(self)?, Access::Public)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
