//! Whom to believe: the root that everything in the folder must lead back to.
//!
//! 1. The root that this computer has pinned, if only an administrator could have written it. It is never replaced by an
//!    installer: the vendor's later roots follow from it.
//! 2. Else the root that this very program carries ([`release::carried_root`]).
//! 3. Else the folder's own `root.json`: then the folder is believed as it lies, like any program that is run as it was downloaded.

use std::{fmt, fs, io};

use release::{carried_root, tuf};
use serde::Serialize;

use super::{InstallError, disk, folder::Folder};
use crate::{
    layout::Layout,
    platform,
    site::{self, SiteError},
};

/// Whose root is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Believed {
    /// This computer's.
    Pinned,
    /// This program's.
    Carried,
    /// The folder's.
    Folder,
}

impl Believed {
    /// The root itself, in words.
    pub fn root(self) -> &'static str {
        match self {
            Self::Pinned => "the root.json that this computer has pinned",
            Self::Carried => "the root that this program carries",
            Self::Folder => "the folder's root.json",
        }
    }
}

impl fmt::Display for Believed {
    /// Ends the phrase "the vendor that …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pinned => "this computer trusts",
            Self::Carried => "this program trusts",
            Self::Folder => "its own root.json names",
        })
    }
}

/// A root, and whose it is.
#[derive(Debug, Clone)]
pub struct Root {
    /// The file, verbatim.
    pub bytes: Vec<u8>,
    /// Whose.
    pub whose: Believed,
}

/// Chooses the root.
///
/// # Errors
/// [`InstallError::Root`], [`InstallError::Program`]; whatever the disk says.
pub fn choose(layout: &Layout, folder: &Folder) -> Result<Root, InstallError> {
    let (bytes, whose, remedy) = if let Some(bytes) = pinned(layout)? {
        let path = layout.vendor_root();
        let remedy = format!("ask your vendor; to trust the downloaded one instead, remove {} first", path.display());
        (bytes, Believed::Pinned, remedy)
    } else if let Some(bytes) =
        carried_root::read(&mut platform::own_program().map_err(carried_root::CarriedRootError::Io)?)?
    {
        (bytes, Believed::Carried, "download it again".into())
    } else {
        (folder.small_file("root.json")?, Believed::Folder, "download and unpack it again".into())
    };
    tuf::check_root(&bytes).map_err(|source| InstallError::Root { which: whose, remedy, source })?;
    Ok(Root { bytes, whose })
}

/// The pinned root. One that others could have written is removed, before anybody could take it for ours.
pub(super) fn pinned(layout: &Layout) -> Result<Option<Vec<u8>>, InstallError> {
    let path = layout.vendor_root();
    if fs::symlink_metadata(&path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    match site::read_vendor_root(layout) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(SiteError::Writable { path: open, why }) => {
            tracing::warn!(path = %open.display(), why, "others could have changed the vendor's pinned root, so it is not believed");
            fs::remove_file(&path).map_err(disk(&path))?;
            Ok(None)
        }
        Err(other) => Err(other.into()),
    }
}
