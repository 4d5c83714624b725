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
    space: fn(&Path) -> Option<Space>,
}

/// A file system, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Space {
    /// The same for two directories on the same one.
    device: u64,
    /// Bytes.
    free: u64,
}

/// `None`: not to be found out, so nothing is refused for it.
fn space(path: &Path) -> Option<Space> {
    let path = path.ancestors().find(|path| path.exists())?;
    Some(Space { device: platform::file_id(path).ok()?.device, free: platform::free_space(path)? })
}

/// Bytes free where `path` lies, or will lie.
pub fn free_for(path: &Path) -> Option<u64> {
    space(path).map(|space| space.free)
}

impl Room {
    /// `limit`: bytes that both together may take. `None`: as many as the disk has.
    pub fn new(downloads: PathBuf, products: PathBuf, limit: Option<u64>) -> Self {
        Self { downloads, products, limit, space }
    }

    /// Sees to it that there is room for a package of this length, of which `part` holds a beginning. When there is not, beginnings
    /// of other packages are removed, which at worst are fetched again. Versions are never removed here: those that nothing
    /// needs are gone already, and the running one and the way back stay.
    ///
    /// # Errors
    /// [`NoRoom`]; then nothing should be fetched.
    pub fn make(&self, part: &Path, length: u64) -> Result<(), NoRoom> {
        self.dropping_others(part, || self.check(part, length))
    }

    /// Sees to it that there is room for a package's content, once the verified package says how much that is; `part` is its
    /// file, which is there until it is unpacked.
    ///
    /// # Errors
    /// [`NoRoom`]; then it should not be unpacked.
    pub fn make_for_content(&self, part: &Path, content: u64) -> Result<(), NoRoom> {
        self.dropping_others(part, || self.check_content(content))
    }

    fn dropping_others(&self, part: &Path, check: impl Fn() -> Result<(), NoRoom>) -> Result<(), NoRoom> {
        match check() {
            Err(NoRoom::Disk { .. } | NoRoom::Limit { .. }) => {
                self.drop_others(part).map_err(NoRoom::Unknown)?;
                check()
            }
            other => other,
        }
    }

    fn check(&self, part: &Path, length: u64) -> Result<(), NoRoom> {
        let here = fs::symlink_metadata(part).map_or(0, |m| m.len());
        let needed = staging_room(length).saturating_sub(here);
        let (downloads, products) = ((self.space)(&self.downloads), (self.space)(&self.products));
        let elsewhere =
            downloads.zip(products).is_some_and(|(downloads, products)| downloads.device != products.device);
        if elsewhere {
            enough(downloads, length.saturating_sub(here))?;
            enough(products, staging_room(length).saturating_sub(length))?;
        } else {
            enough(downloads, needed)?;
        }
        self.check_limit(needed)
    }

    fn check_content(&self, content: u64) -> Result<(), NoRoom> {
        enough((self.space)(&self.products), content)?;
        self.check_limit(content)
    }

    fn check_limit(&self, needed: u64) -> Result<(), NoRoom> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let used = used(&self.downloads)
            .and_then(|downloads| Ok(downloads.saturating_add(used(&self.products)?)))
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

fn enough(space: Option<Space>, needed: u64) -> Result<(), NoRoom> {
    match space.filter(|space| space.free < needed) {
        Some(Space { free, .. }) => Err(NoRoom::Disk { needed, free }),
        None => Ok(()),
    }
}

/// Bytes of all files below a directory. Links are not followed.
///
/// # Errors
/// Whatever the file system says.
pub fn used(dir: &Path) -> io::Result<u64> {
    used_from(dir, 0)
}

fn used_from(dir: &Path, depth: u32) -> io::Result<u64> {
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
            true if depth < MAX_DEPTH => used_from(&entry.path(), depth + 1)?,
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
    fn what_a_package_unpacks_to_counts_and_not_only_its_length() {
        let pc = pc();
        let (mine, old) = (pc.downloads.join("aa.part"), pc.downloads.join("bb.part"));
        fs::write(&mine, vec![1; 1000]).unwrap();
        fs::write(&old, vec![1; 500]).unwrap();
        let room = Room::new(pc.downloads.clone(), pc.products.clone(), Some(2_000_000));
        room.make(&mine, 1000).unwrap();
        room.make_for_content(&mine, 1_990_000).unwrap();
        assert!(old.exists(), "there was room");
        room.make_for_content(&mine, 1_994_000).unwrap();
        assert!(mine.exists() && !old.exists(), "what has only begun goes first");
        let refused = room.make_for_content(&mine, 3_000_000).unwrap_err();
        assert!(matches!(refused, NoRoom::Limit { needed: 3_000_000, used: 6000, limit: 2_000_000 }), "{refused:?}");
        let words = refused.to_string();
        assert!(words.contains("max_disk in updater.toml") && words.contains("3000000 bytes needed"), "{words}");
    }

    #[test]
    fn versions_on_a_file_system_of_their_own_need_room_there() {
        let pc = pc();
        let part = pc.downloads.join("aa.part");
        fn given(path: &Path) -> Option<Space> {
            let products = path.ends_with("opt");
            Some(Space { device: u64::from(products), free: if products { 2999 } else { 1000 } })
        }
        let room = Room { space: given, ..Room::new(pc.downloads.clone(), pc.products.clone(), None) };
        let refused = room.make(&part, 1000).unwrap_err();
        assert!(matches!(refused, NoRoom::Disk { needed: 3000, free: 2999 }), "{refused:?}");
        room.make(&part, 999).unwrap();
        let refused = room.make_for_content(&part, 3000).unwrap_err();
        assert!(matches!(refused, NoRoom::Disk { needed: 3000, free: 2999 }), "{refused:?}");
        room.make_for_content(&part, 2999).unwrap();
        // The same file system holds both.
        fn one(_: &Path) -> Option<Space> {
            Some(Space { device: 1, free: 3999 })
        }
        let room = Room { space: one, ..room };
        assert!(matches!(room.make(&part, 1000), Err(NoRoom::Disk { needed: 4000, free: 3999 })));
    }

    #[test]
    fn a_directory_that_is_not_there_yet_has_the_room_of_the_one_it_will_lie_in() {
        let pc = pc();
        let found = space(&pc.products.join("not/there/yet")).unwrap();
        assert_eq!(found.device, space(&pc.products).unwrap().device);
        assert!(free_for(&pc.products.join("not/there/yet")).is_some_and(|free| free > 0));
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
