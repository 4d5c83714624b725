//! The directory of verified metadata, byte for byte as it was fetched.
//!
//! | file | what |
//! |---|---|
//! | `N.root.json` | every root after the pinned one |
//! | `timestamp.json` | the newest one that verified: the floor for the next |
//! | `complete-timestamp.json` | the one of the last refresh that went through to the end |
//! | `N.snapshot.json`, `N.targets.json`, `N.<role>.json` | what either of the two leads to |
//!
//! Each file is replaced atomically and durably. A refresh that breaks off half-way has raised the floor in `timestamp.json`
//! and `N.snapshot.json`, and the complete state beside it is still whole.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{Error, fetch::read_capped};
use crate::durable;

pub(super) const TIMESTAMP: &str = "timestamp.json";
pub(super) const COMPLETE: &str = "complete-timestamp.json";

#[derive(Debug, Clone)]
pub(super) struct Store {
    dir: PathBuf,
}

impl Store {
    pub fn open(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|source| Error::Store { path: dir.to_owned(), source })?;
        Ok(Self { dir: dir.to_owned() })
    }

    pub fn directory(&self) -> &Path {
        &self.dir
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

    pub fn remove(&self, name: &str) -> Result<(), Error> {
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
            let kept = names.contains(name) || name == TIMESTAMP || name == COMPLETE || is_root(name);
            if name.ends_with(".json") && !kept {
                self.remove(name)?;
            }
        }
        Ok(())
    }
}

fn is_root(name: &str) -> bool {
    name.strip_suffix(".root.json").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
}
