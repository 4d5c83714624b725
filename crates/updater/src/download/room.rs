//! Room for a package: on the disk, and under the administrator's limit. Blocks on the disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use protocol::staging_room;

use crate::platform;

/// More directories within each other than this are not looked into; the service makes far fewer.
const MAX_DEPTH: u32 = 40;

/// There is not enough of it.
#[derive(Debug, thiserror::Error)]
pub enum NoRoom {
    /// On the disk.
    #[error("not enough disk space: {needed} bytes needed, {free} free")]
    Disk {
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// Under the administrator's limit.
    #[error(
        "not enough room under this computer's limit (max_disk in updater.toml): {needed} bytes needed, {used} of {limit} used"
    )]
    Limit {
        /// Bytes.
        needed: u64,
        /// Bytes.
        used: u64,
        /// Bytes.
        limit: u64,
    },
    /// It cannot be found out.
    #[error("the room under this computer's limit cannot be measured")]
    Unknown(#[source] io::Error),
}

/// Where downloads and versions lie.
#[derive(Debug, Clone)]
pub struct Room {
    downloads: PathBuf,
    products: PathBuf,
    limit: Option<u64>,
}

impl Room {
    /// `limit`: bytes that both together may take. `None`: as many as the disk has.
    pub fn new(downloads: PathBuf, products: PathBuf, limit: Option<u64>) -> Self {
        Self { downloads, products, limit }
    }

    /// Sees to it that there is room for a package of this length, of which `part` holds a beginning. When there is not, beginnings
    /// of other packages are removed, which at worst are fetched again. Versions are never removed here: those that nothing
    /// needs are gone already, and the running one and the way back stay.
    ///
    /// # Errors
    /// [`NoRoom`]; then nothing should be fetched.
    pub fn make(&self, part: &Path, length: u64) -> Result<(), NoRoom> {
        match self.check(part, length) {
            Err(NoRoom::Disk { .. } | NoRoom::Limit { .. }) => {
                self.drop_others(part).map_err(NoRoom::Unknown)?;
                self.check(part, length)
            }
            other => other,
        }
    }

    fn check(&self, part: &Path, length: u64) -> Result<(), NoRoom> {
        let here = fs::symlink_metadata(part).map_or(0, |m| m.len());
        let needed = staging_room(length).saturating_sub(here);
        if let Some(free) = platform::free_space(&self.downloads).filter(|free| *free < needed) {
            return Err(NoRoom::Disk { needed, free });
        }
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let used = used(&self.downloads, 0)
            .and_then(|downloads| Ok(downloads.saturating_add(used(&self.products, 0)?)))
            .map_err(NoRoom::Unknown)?;
        if used.saturating_add(needed) > limit {
            return Err(NoRoom::Limit { needed, used, limit });
        }
        Ok(())
    }

    fn drop_others(&self, part: &Path) -> io::Result<()> {
        for entry in fs::read_dir(&self.downloads)? {
            let path = entry?.path();
            if path != part && path.extension().is_some_and(|e| e == "part") {
                tracing::info!(path = %path.display(), "removed to make room");
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Bytes of all files below a directory. Links are not followed.
fn used(dir: &Path, depth: u32) -> io::Result<u64> {
    let mut sum = 0u64;
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let meta = match entry.metadata() {
            // Removed meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            meta => meta?,
        };
        sum = sum.saturating_add(match meta.is_dir() {
            true if depth < MAX_DEPTH => used(&entry.path(), depth + 1)?,
            _ => meta.len(),
        });
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pc {
        _dir: tempfile::TempDir,
        downloads: PathBuf,
        products: PathBuf,
    }

    fn pc() -> Pc {
        let dir = tempfile::tempdir().unwrap();
        let (downloads, products) = (dir.path().join("downloads"), dir.path().join("opt"));
        fs::create_dir_all(&downloads).unwrap();
        fs::create_dir_all(products.join("connector/versions/7.2.0/bin")).unwrap();
        fs::write(products.join("connector/versions/7.2.0/bin/program"), vec![1; 5000]).unwrap();
        Pc { _dir: dir, downloads, products }
    }

    #[test]
    fn the_limit_counts_versions_and_downloads_and_old_beginnings_go_first() {
        let pc = pc();
        let (mine, old) = (pc.downloads.join("aa.part"), pc.downloads.join("bb.part"));
        fs::write(&mine, vec![1; 500]).unwrap();
        fs::write(&old, vec![1; 3000]).unwrap();
        let room = |limit| Room::new(pc.downloads.clone(), pc.products.clone(), Some(limit));
        room(12_000).make(&mine, 1000).unwrap();
        assert!(old.exists(), "there was room");
        room(9_000).make(&mine, 1000).unwrap();
        assert!(!old.exists() && mine.exists());
        let refused = room(8_999).make(&mine, 1000);
        assert!(matches!(refused, Err(NoRoom::Limit { needed: 3500, used: 5500, limit: 8999 })), "{refused:?}");
        assert!(mine.exists() && pc.products.join("connector/versions/7.2.0/bin/program").exists());
    }

    #[test]
    fn a_package_larger_than_the_disk_is_refused_in_figures() {
        let pc = pc();
        let room = Room::new(pc.downloads.clone(), pc.products.clone(), None);
        let refused = room.make(&pc.downloads.join("aa.part"), u64::MAX / 2).unwrap_err();
        assert!(
            refused.to_string().starts_with("not enough disk space: 18446744073709551615 bytes needed"),
            "{refused}"
        );
        room.make(&pc.downloads.join("aa.part"), 1000).unwrap();
    }
}
