//! A vendor, a site and its PCs, all real and all in one folder, and the main job played on them.
//!
//! The demo narrates it, the whole-system tests assert on it, the benchmarks time it.

mod chapters;
pub mod ledger;
pub mod narrator;
pub mod outcome;
pub mod pc;
pub mod play;
pub mod site;
pub mod vendor;
pub mod windows;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::packages::is_root;

/// The folder that holds everything; it is removed at the end.
#[derive(Debug)]
pub struct Stage {
    dir: tempfile::TempDir,
}

impl Stage {
    /// A new, empty folder that every user of this machine may pass through, since each PC has a user of its own.
    ///
    /// # Errors
    /// When we are not root, or the folder cannot be made.
    pub fn new() -> Result<Self> {
        ensure!(
            is_root(),
            "root is needed, because each PC's updater runs as root and each PC's user has a number of its own; \
             start this again with sudo"
        );
        let dir = tempfile::Builder::new().prefix("lockstep-").tempdir().context("making the demo's own folder")?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self { dir })
    }

    /// A path inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves the folder behind for a look, and says where it is.
    pub fn keep(self) -> PathBuf {
        self.dir.keep()
    }
}
