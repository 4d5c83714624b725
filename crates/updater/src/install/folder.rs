//! The folder to install from, as something that its owner may change at any moment.
//!
//! | attack | answer |
//! |---|---|
//! | links, FIFOs, devices | [`ForeignDir`] opens regular files only, each step by descriptor |
//! | a million files, endless files | [`MAX_METADATA_FILES`], [`MAX_METADATA`], [`MAX_TARGETS`]; a package is read up to its signed length |
//! | names that lead elsewhere when they are written | [`release::safe_path`] before anything is written under them |

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use release::{safe_path, tuf::Limits};

use super::{InstallError, disk};
use crate::{platform, platform::ForeignDir, site};

/// Metadata files: every root since the first one, four others, and the delegated roles.
const MAX_METADATA_FILES: usize = 2000;
/// Bytes of all metadata files together.
const MAX_METADATA: u64 = 64 << 20;
/// Packages.
const MAX_TARGETS: usize = 256;
/// Directories below `payload/targets`.
const MAX_DEPTH: usize = 4;

/// The folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    dir: ForeignDir,
}

impl Folder {
    /// Opens it.
    ///
    /// # Errors
    /// [`InstallError::Incomplete`].
    pub fn open(path: &Path) -> Result<Self, InstallError> {
        let dir = ForeignDir::open(path).map_err(disk(path))?;
        Ok(Self { path: path.into(), dir })
    }

    /// A path in it, for people.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.path.join(relative)
    }

    /// Reads a small file at its top.
    ///
    /// # Errors
    /// [`InstallError::Incomplete`], [`InstallError::Refused`].
    pub fn small_file(&self, name: &str) -> Result<Vec<u8>, InstallError> {
        let file = self.dir.file(name).map_err(refused(name))?;
        let file = file.ok_or_else(|| InstallError::Incomplete(self.path(name)))?;
        let mut bytes = Vec::new();
        copy(file, site::MAX_FILE, &mut bytes).map_err(refused(name))?;
        Ok(bytes)
    }

    /// Copies the metadata to `into/metadata`.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn copy_metadata(&self, into: &Path) -> Result<(), InstallError> {
        let from = self.payload("metadata")?;
        let into = into.join("metadata");
        platform::make_dir(&into, 0o700).map_err(disk(&into))?;
        let mut room = MAX_METADATA;
        for name in from.names(MAX_METADATA_FILES).map_err(refused("payload/metadata"))? {
            let path = format!("payload/metadata/{name}");
            safe_path::check(&name).map_err(io::Error::other).map_err(refused(&path))?;
            let file = from.file(&name).map_err(refused(&path))?;
            // Gone since it was listed.
            let Some(file) = file else { continue };
            let to = into.join(&name);
            let mut out = platform::create_new(&to, 0o600).map_err(disk(&to))?;
            room -= copy(file, room.min(Limits::default().targets), &mut out).map_err(refused(&path))?;
        }
        Ok(())
    }

    /// The packages' paths below `payload/targets`.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn targets(&self) -> Result<Vec<String>, InstallError> {
        let mut found = Vec::new();
        list(&self.payload("targets")?, "", MAX_DEPTH, &mut found)?;
        Ok(found)
    }

    /// Copies a package into a file of our own, but no more than `length` bytes and one.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn copy_target(&self, target: &str, length: u64, to: &Path) -> Result<File, InstallError> {
        let shown = format!("payload/targets/{target}");
        let mut dir = self.payload("targets")?;
        let (parents, name) = target.rsplit_once('/').unwrap_or(("", target));
        for parent in parents.split('/').filter(|p| !p.is_empty()) {
            let next = dir.dir(parent).map_err(refused(&shown))?;
            dir = next.ok_or_else(|| InstallError::Incomplete(self.path(&shown)))?;
        }
        let file = dir.file(name).map_err(refused(&shown))?;
        let file = file.ok_or_else(|| InstallError::Incomplete(self.path(&shown)))?;
        let mut out = platform::open_private(to).map_err(disk(to))?;
        // One byte too many shows that it is too long; the verifier says so.
        io::copy(&mut file.take(length.saturating_add(1)), &mut out).map_err(disk(to))?;
        Ok(out)
    }

    fn payload(&self, part: &str) -> Result<ForeignDir, InstallError> {
        let payload = self.dir.dir("payload").map_err(refused("payload"))?;
        let payload = payload.ok_or_else(|| InstallError::Incomplete(self.path("payload")))?;
        let shown = format!("payload/{part}");
        let dir = payload.dir(part).map_err(refused(&shown))?;
        dir.ok_or_else(|| InstallError::Incomplete(self.path(&shown)))
    }
}

fn list(dir: &ForeignDir, prefix: &str, depth: usize, found: &mut Vec<String>) -> Result<(), InstallError> {
    let shown = |name: &str| format!("payload/targets/{prefix}{name}");
    for name in dir.names(MAX_TARGETS).map_err(refused(&shown("")))? {
        let below = dir.is_dir(&name).map_err(refused(&shown(&name)))?;
        let entered = if below && depth > 0 { dir.dir(&name).map_err(refused(&shown(&name)))? } else { None };
        if let Some(below) = entered {
            list(&below, &format!("{prefix}{name}/"), depth - 1, found)?;
        } else if found.len() == MAX_TARGETS {
            let why = io::Error::other(format!("there are more than {MAX_TARGETS} packages in it"));
            return Err(refused("payload/targets")(why));
        } else {
            found.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}

/// Copies at most `most` bytes and says how many there were; more is an error.
fn copy(file: File, most: u64, out: &mut dyn Write) -> io::Result<u64> {
    let copied = io::copy(&mut file.take(most.saturating_add(1)), out)?;
    if copied > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {most} bytes")));
    }
    Ok(copied)
}

fn refused(path: &str) -> impl FnOnce(io::Error) -> InstallError + use<> {
    let path = path.trim_end_matches('/').to_owned();
    move |source| InstallError::Refused { path, source }
}
