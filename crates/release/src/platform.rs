//! What differs between systems: executable bits and the durability of directories.

use std::{fs, io, path::Path};

#[cfg(unix)]
mod imp {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};

    use super::*;

    pub fn is_executable(meta: &fs::Metadata) -> Option<bool> {
        Some(meta.permissions().mode() & 0o111 != 0)
    }

    pub fn create_file(path: &Path, mode: u32) -> io::Result<fs::File> {
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        // By descriptor, and again, since the process's umask has cut the mode above.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        Ok(file)
    }

    pub fn create_dir(path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o755).create(path)?;
        fs::File::open(path)?.set_permissions(fs::Permissions::from_mode(0o755))
    }

    pub fn create_private(path: &Path) -> io::Result<fs::File> {
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    pub fn create_private_dir(path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    pub fn make_public(file: &fs::File) -> io::Result<()> {
        file.set_permissions(fs::Permissions::from_mode(0o644))
    }

    pub fn is_exposed(meta: &fs::Metadata) -> bool {
        meta.permissions().mode() & 0o077 != 0
    }

    pub fn sync_dir(path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }
}

#[cfg(not(unix))]
mod imp {
    use super::*;

    /// Windows knows a program by its name, not by a bit.
    pub fn is_executable(_meta: &fs::Metadata) -> Option<bool> {
        None
    }

    /// Rights come from the directory, which the caller made with its final access list.
    pub fn create_file(path: &Path, _mode: u32) -> io::Result<fs::File> {
        fs::OpenOptions::new().write(true).create_new(true).open(path)
    }

    pub fn create_dir(path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    pub fn create_private(path: &Path) -> io::Result<fs::File> {
        fs::File::create_new(path)
    }

    pub fn create_private_dir(path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    pub fn make_public(_file: &fs::File) -> io::Result<()> {
        Ok(())
    }

    pub fn is_exposed(_meta: &fs::Metadata) -> bool {
        false
    }

    /// NTFS journals directory entries itself and offers no call for it.
    pub fn sync_dir(_path: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a file may be executed. `None` where the file system does not say.
pub(crate) fn is_executable(meta: &fs::Metadata) -> Option<bool> {
    imp::is_executable(meta)
}

/// Creates a file that does not exist yet, with exactly this mode whatever the umask.
pub(crate) fn create_file(path: &Path, mode: u32) -> io::Result<fs::File> {
    imp::create_file(path, mode)
}

/// Creates a directory that everybody may read and only its owner may change.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    imp::create_dir(path)
}

/// Creates a file that does not exist yet and that only its owner may read.
pub(crate) fn create_private(path: &Path) -> io::Result<fs::File> {
    imp::create_private(path)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    imp::sync_dir(path)
}

/// Makes a directory, and those above it, for its owner alone.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    imp::create_private_dir(path)
}

/// Whether a mode lets others read.
pub(crate) fn is_exposed(meta: &fs::Metadata) -> bool {
    imp::is_exposed(meta)
}

/// Lets everybody read a file.
pub(crate) fn make_public(file: &fs::File) -> io::Result<()> {
    imp::make_public(file)
}
