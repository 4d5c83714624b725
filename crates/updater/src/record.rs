//! What the service must remember across restarts, in `state.json`. What can be seen on the disk (installed and staged
//! versions) is not in it: the disk is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::Arc,
};

use protocol::{Timestamp, Version, device::FailedVersion, product::ProductId};
use serde::{Deserialize, Serialize};

use crate::slots::disk::{Disk, replace_file};

/// Remembered failures of one product; the oldest are forgotten first.
pub const MAX_FAILED: usize = 8;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Format version.
    pub v: u32,
    /// The latest time at which fresh metadata was verified: the clock never counts as earlier.
    #[serde(default)]
    pub trusted_time: Option<Timestamp>,
    /// When the server was last reached.
    #[serde(default)]
    pub last_contact: Option<Timestamp>,
    /// By product.
    #[serde(default)]
    pub products: BTreeMap<ProductId, ProductRecord>,
}

/// What is remembered of one product.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductRecord {
    /// The highest floor that verified metadata ever named.
    #[serde(default)]
    pub floor: Option<Version>,
    /// Versions that were rolled back here.
    #[serde(default)]
    pub failed: Vec<FailedVersion>,
    /// The version that a user agreed to.
    #[serde(default)]
    pub consented: Option<Version>,
    /// Since when something necessary has been put off, by a user who was asked or by a window.
    #[serde(default)]
    pub put_off_since: Option<Timestamp>,
    /// The version before the active one, kept until that one is confirmed.
    #[serde(default)]
    pub previous: Option<Version>,
    /// The version that a program of its own has confirmed as healthy.
    #[serde(default)]
    pub confirmed: Option<Version>,
    /// The version that was active when the service last looked: another one since then is an installer's doing.
    #[serde(default)]
    pub active: Option<Version>,
    /// The version that running programs should restart into, everybody's.
    #[serde(default)]
    pub restart: Option<Version>,
    /// Who agreed to `consented`, as the kernel names users.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub consented_by: BTreeSet<String>,
    /// Whose programs alone should restart into the active version: those who agreed to that.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub restart_for: BTreeSet<String>,
    /// From when on everybody's should: what is necessary can be put off until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub everybody_at: Option<Timestamp>,
}

impl ProductRecord {
    /// Whoever agreed to a version agreed to nothing else: another one is active, or none is waited for any more.
    pub fn forget_who_agreed(&mut self) {
        self.consented_by.clear();
        self.restart_for.clear();
        self.everybody_at = None;
    }

    /// Remembers a version as broken here.
    pub fn remember_failure(&mut self, version: Version, reason: String, at: Timestamp) {
        let before = self.failed.iter().find(|f| f.version == version).map_or(0, |f| f.times);
        self.failed.retain(|f| f.version != version);
        self.failed.push(FailedVersion { times: before.saturating_add(1), ..FailedVersion::new(version, at, reason) });
        let excess = self.failed.len().saturating_sub(MAX_FAILED);
        self.failed.drain(..excess);
    }
}

impl Record {
    /// The time to decide by: the system's clock, but never earlier than a time that is known to have been.
    pub fn effective_now(&self, system: Timestamp) -> Timestamp {
        self.trusted_time.map_or(system, |trusted| trusted.max(system))
    }

    /// The record of a product, made when there is none.
    pub fn product_mut(&mut self, product: &ProductId) -> &mut ProductRecord {
        self.products.entry(product.clone()).or_default()
    }

    /// The record of a product.
    pub fn product(&self, product: &ProductId) -> ProductRecord {
        self.products.get(product).cloned().unwrap_or_default()
    }
}

/// The file that holds the record.
#[derive(Clone)]
pub struct RecordFile {
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

impl RecordFile {
    /// The disk that it is kept on.
    pub fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    /// A record kept in `path`.
    pub fn new(path: PathBuf, disk: Arc<dyn Disk>) -> Self {
        Self { path, disk }
    }

    /// Reads it. A first start has an empty one; so has a file that cannot be read any more, which is reported: all that is
    /// lost is convenience, since the floor also comes from signed metadata and from what is installed.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn read(&self) -> io::Result<Record> {
        let fresh = Record { v: 1, ..Record::default() };
        let Some(bytes) = self.disk.read_file(&self.path)? else {
            return Ok(fresh);
        };
        let error = match serde_json::from_slice(&bytes) {
            Ok(record) => return Ok(record),
            Err(error) => error,
        };
        // A newer version of this program may have written it, which was left since.
        let before = self.disk.read_file(&self.path.with_file_name("state-before.json"))?;
        if let Some(before) = before.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            tracing::warn!(%error, "the remembered state cannot be read; going on from the one before this program's upgrade");
            return Ok(before);
        }
        tracing::error!(%error, path = %self.path.display(), "the remembered state cannot be read; starting afresh");
        Ok(fresh)
    }

    /// Replaces it, durably.
    ///
    /// # Errors
    /// Whatever the disk says; then the old one is there.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        replace_file(self.disk.as_ref(), &self.path, &serde_json::to_vec_pretty(record)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_does_not_bring_old_times_back() {
        let now: Timestamp = "2026-05-01T00:00:00Z".parse().unwrap();
        let record = Record { trusted_time: Some(now), ..Record::default() };
        assert_eq!(record.effective_now("2016-05-01T00:00:00Z".parse().unwrap()), now);
        let later = "2026-05-02T00:00:00Z".parse().unwrap();
        assert_eq!(record.effective_now(later), later);
    }

    #[test]
    fn failures_are_remembered_once_each_and_not_without_end() {
        let mut record = ProductRecord::default();
        for patch in 0..40 {
            record.remember_failure(Version::new(7, 3, patch % 20), "exit 1".into(), Timestamp::UNIX_EPOCH);
        }
        assert_eq!(record.failed.len(), MAX_FAILED);
        assert_eq!(record.failed.last().unwrap().version, Version::new(7, 3, 19));
    }
}
