//! The intent, durable before each step, in `journal.json`.
//!
//! The file is replaced atomically; a torn one cannot exist. It holds one entry for each slot that is being worked on: a
//! product's link and a product's set of versions are two, since a version may be staged while another is activated.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::{Version, product::ProductId};
use serde::{Deserialize, Serialize};

use super::disk::{Disk, replace_file};

/// Something that is done to a product's versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "operation")]
pub enum Operation {
    /// Make a version complete.
    Stage {
        /// Which one.
        version: Version,
        /// Makes names unguessable.
        scratch: u64,
    },
    /// Put a whole copy of a version in the place of one that is there, which may be the active one.
    Renew {
        /// Which one.
        version: Version,
        /// Makes names unguessable.
        scratch: u64,
    },
    /// Point the link elsewhere.
    Activate {
        /// The new version. `None`: none at all.
        to: Option<Version>,
        /// The one that was active.
        from: Option<Version>,
        /// Whether running programs are to be told once it is found healthy.
        restart: bool,
        /// Makes names unguessable.
        scratch: u64,
    },
    /// Remove a version.
    Remove {
        /// Which one.
        version: Version,
        /// Makes names unguessable.
        scratch: u64,
    },
}

/// What an operation works on; one at a time for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// The `current` link.
    Link,
    /// The directory of versions.
    Versions,
}

impl Operation {
    /// What it works on.
    pub fn slot(&self) -> Slot {
        match self {
            Self::Activate { .. } => Slot::Link,
            Self::Stage { .. } | Self::Renew { .. } | Self::Remove { .. } => Slot::Versions,
        }
    }
}

/// One intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Of which product.
    pub product: ProductId,
    /// What is being done.
    #[serde(flatten)]
    pub operation: Operation,
    /// The step that is about to be done, counted from 0.
    pub step: usize,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Page {
    v: u32,
    entries: Vec<Entry>,
}

/// The journal's file and what is in it.
pub struct Journal {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    entries: Mutex<Vec<Entry>>,
}

impl Journal {
    /// A journal that is kept in `path`.
    pub fn new(path: PathBuf, disk: Arc<dyn Disk>) -> Self {
        Self { path, disk, entries: Mutex::default() }
    }

    /// What was under way when the service ended.
    ///
    /// # Errors
    /// Whatever the disk says; `InvalidData` when the file is not a journal.
    pub fn read(&self) -> io::Result<Vec<Entry>> {
        let Some(bytes) = self.disk.read_file(&self.path)? else {
            return Ok(vec![]);
        };
        let page: Page = serde_json::from_slice(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        Ok(page.entries)
    }

    /// Writes an intent; it replaces the one for the same slot.
    ///
    /// # Errors
    /// Whatever the disk says; then the step must not be done.
    pub fn intend(&self, entry: Entry) -> io::Result<()> {
        let mut entries = self.lock();
        let mut next = entries.clone();
        next.retain(|e| !(e.product == entry.product && e.operation.slot() == entry.operation.slot()));
        next.push(entry);
        self.write(&next)?;
        *entries = next;
        Ok(())
    }

    /// Forgets the intent for a slot, if there is one.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn end(&self, product: &ProductId, slot: Slot) -> io::Result<()> {
        let mut entries = self.lock();
        let mut next = entries.clone();
        next.retain(|e| !(e.product == *product && e.operation.slot() == slot));
        if next.len() != entries.len() {
            self.write(&next)?;
            *entries = next;
        }
        Ok(())
    }

    /// Takes over what an earlier run had intended, so that it can be ended.
    pub(super) fn adopt(&self, found: Vec<Entry>) {
        *self.lock() = found;
    }

    fn write(&self, entries: &[Entry]) -> io::Result<()> {
        let bytes = serde_json::to_vec(&Page { v: 1, entries: entries.to_vec() })?;
        replace_file(self.disk.as_ref(), &self.path, &bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        // A panic elsewhere cannot leave half an entry: the list is replaced whole.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
