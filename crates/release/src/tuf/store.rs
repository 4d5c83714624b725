//! The directory of verified metadata, byte for byte as it was fetched, in one of two [`Layout`]s.
//!
//! | history | plain | what |
//! |---|---|---|
//! | `N.root.json` | `root.json` | every root after the pinned one; the newest, which then is the pinned one |
//! | `timestamp.json` | `timestamp.json` | the newest one that verified: the floor for the next |
//! | `complete-timestamp.json` | `complete-timestamp` | the one of the last refresh that went through to the end |
//! | `N.snapshot.json`, `N.targets.json`, `N.<role>.json` | `snapshot.json`, `targets.json`, `<role>.json` | what either of the two leads to; the newest that verified |
//!
//! Each file is replaced atomically and durably. A refresh that breaks off half-way has raised the floor in `timestamp.json`
//! and `N.snapshot.json`, and in the first layout the complete state beside it is still whole.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{Error, delegations::encode_role, fetch::read_capped};
use crate::durable;

pub(super) const TIMESTAMP: &str = "timestamp.json";
const COMPLETE: &str = "complete-timestamp.json";
const PLAIN_COMPLETE: &str = "complete-timestamp";
pub(super) const PLAIN_ROOT: &str = "root.json";

/// How the files are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// By version, beside each other: the last complete state survives a refresh that breaks off.
    History,
    /// One file a role, as the conformance suite looks for them.
    Plain,
}

#[derive(Debug, Clone)]
pub(super) struct Store {
    dir: PathBuf,
    layout: Layout,
}

impl Store {
    pub fn open(dir: &Path, layout: Layout) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|source| Error::Store { path: dir.to_owned(), source })?;
        Ok(Self { dir: dir.to_owned(), layout })
    }

    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// The root that follows the pinned one, if it is kept. Where only the newest is kept, that is the pinned one.
    pub fn read_root(&self, version: u64, cap: u64) -> Result<Option<Vec<u8>>, Error> {
        match self.layout {
            Layout::History => self.read(&root_name(version), cap),
            Layout::Plain => Ok(None),
        }
    }

    pub fn write_root(&self, version: u64, bytes: &[u8]) -> Result<(), Error> {
        match self.layout {
            Layout::History => self.write(&root_name(version), bytes),
            Layout::Plain => self.write(PLAIN_ROOT, bytes),
        }
    }

    /// The file that a version of a role is kept in.
    pub fn role_name(&self, role: &str, version: u64) -> String {
        match self.layout {
            Layout::History => versioned_name(role, version),
            Layout::Plain => format!("{}.json", encode_role(role)),
        }
    }

    /// The file with the timestamp of the last refresh that went through.
    pub fn complete_name(&self) -> &'static str {
        match self.layout {
            Layout::History => COMPLETE,
            Layout::Plain => PLAIN_COMPLETE,
        }
    }

    /// `None` when there is no such file, or it is longer than it could be if we had written it.
    pub fn read(&self, name: &str, cap: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = self.dir.join(name);
        match read_capped(&path, cap) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge) => Ok(None),
            Err(source) => Err(Error::Store { path, source }),
        }
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.dir.join(name);
        durable::replace(&path, bytes, durable::Access::Public).map_err(|source| Error::Store { path, source })
    }

    /// Notes that the state which this timestamp leads to is whole.
    pub fn write_complete(&self, timestamp: &[u8], cap: u64) -> Result<(), Error> {
        let name = self.complete_name();
        if self.read(name, cap)?.as_deref() == Some(timestamp) { Ok(()) } else { self.write(name, timestamp) }
    }

    /// Takes back what keeps older versions out (TUF specification, section 5.3.11).
    pub fn drop_floors(&self) -> Result<(), Error> {
        self.remove(TIMESTAMP)?;
        self.remove(self.complete_name())?;
        match self.layout {
            // Without a timestamp that leads there, these count for nothing.
            Layout::History => Ok(()),
            Layout::Plain => self.remove(&self.role_name("snapshot", 0)),
        }
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.dir.join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Store { path, source }),
            _ => Ok(()),
        }
    }

    /// Removes what no state leads to any more. Roots stay.
    pub fn keep_only(&self, names: &BTreeSet<String>) -> Result<(), Error> {
        let failed = |source| Error::Store { path: self.dir.clone(), source };
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str() else { continue };
            let kept = names.contains(name) || name == TIMESTAMP || name == self.complete_name() || is_root(name);
            if name.ends_with(".json") && !kept {
                self.remove(name)?;
            }
        }
        Ok(())
    }
}

pub(super) fn root_name(version: u64) -> String {
    format!("{version}.root.json")
}

/// As published with consistent snapshots.
pub(super) fn versioned_name(role: &str, version: u64) -> String {
    format!("{version}.{}.json", encode_role(role))
}

fn is_root(name: &str) -> bool {
    name == PLAIN_ROOT || name.strip_suffix(".root.json").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
}
