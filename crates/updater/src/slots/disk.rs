//! The file system behind a trait, so that a test can fail, lose or reorder what it is asked to do.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use release::package::{NewFile, Place};

use crate::platform;

/// What the executor needs of a file system. Paths are always below directories that only the service can write.
pub trait Disk: Send + Sync {
    /// Makes a new directory with this mode.
    ///
    /// # Errors
    /// Also when something is there.
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()>;

    /// Makes a directory and its parents (0755) unless they are there, and the names of those it makes durable.
    ///
    /// # Errors
    /// Whatever the system says.
    fn ensure_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a new file with this mode, to be written and made durable by the caller.
    ///
    /// # Errors
    /// Also when something is there.
    fn create_file(&self, path: &Path, mode: u32) -> io::Result<Box<dyn NewFile>>;

    /// Writes a file and makes its content durable, not yet its name. An existing one is replaced.
    ///
    /// # Errors
    /// Whatever the system says.
    fn write_file(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.remove_file(path)?;
        let mut file = self.create_file(path, mode)?;
        file.write_all(bytes)?;
        file.sync()
    }

    /// Reads a file. `None`: there is none.
    ///
    /// # Errors
    /// Whatever the system says.
    fn read_file(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// Makes a pointer to a version, `versions/<version>` from where the pointer lies: a symbolic link, or on Windows a file with the
    /// version's name.
    ///
    /// # Errors
    /// Whatever the system says.
    fn make_pointer(&self, target: &Path, pointer: &Path) -> io::Result<()>;

    /// Where a pointer leads. `None`: there is none.
    ///
    /// # Errors
    /// Whatever the system says.
    fn read_pointer(&self, pointer: &Path) -> io::Result<Option<PathBuf>>;

    /// Renames, replacing a file or link at `to`.
    ///
    /// # Errors
    /// Whatever the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Exchanges two names, in one step where the system can do that (not Windows).
    ///
    /// # Errors
    /// Whatever the system says; also when the file system cannot do that.
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()>;

    /// Finishes an exchange that was interrupted where it is more than one step.
    ///
    /// # Errors
    /// Whatever the system says.
    fn finish_exchange(&self, _one: &Path, _other: &Path) -> io::Result<()> {
        Ok(())
    }

    /// The names in a directory; none when it is not there.
    ///
    /// # Errors
    /// Whatever the system says.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Removes a file or link; it is no error if there is none.
    ///
    /// # Errors
    /// Whatever the system says.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with everything in it; it is no error if there is none.
    ///
    /// # Errors
    /// Whatever the system says.
    fn remove_tree(&self, path: &Path) -> io::Result<()>;

    /// Gives every directory in a tree the mode 0755, and makes them all durable, the deepest first.
    ///
    /// # Errors
    /// Whatever the system says.
    fn seal_tree(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory's names durable.
    ///
    /// # Errors
    /// Whatever the system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// Replaces a private file so that the old or the new one is there, whole, whatever happens.
///
/// # Errors
/// Whatever the disk says.
pub fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let beside = dir.join(format!(".{name}.new"));
    let replaced = disk.write_file(&beside, bytes, 0o600).and_then(|()| disk.rename(&beside, path));
    if let Err(error) = replaced {
        // Where this fails too, the next start sweeps it.
        drop(disk.remove_file(&beside));
        return Err(error);
    }
    disk.sync_dir(dir)
}

/// Removes what [`replace_file`] leaves in a directory when the process is killed in it.
///
/// # Errors
/// Whatever the disk says.
pub fn sweep_replaced(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    for name in disk.list(dir)? {
        if name.starts_with('.') && name.ends_with(".new") {
            disk.remove_file(&dir.join(name))?;
        }
    }
    Ok(())
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        platform::make_new_dir(path, mode)
    }

    fn ensure_dir(&self, path: &Path) -> io::Result<()> {
        platform::make_dir(path, 0o755)
    }

    fn create_file(&self, path: &Path, mode: u32) -> io::Result<Box<dyn NewFile>> {
        Ok(Box::new(platform::create_new(path, mode)?))
    }

    fn read_file(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        absent_is_none(fs::read(path))
    }

    fn make_pointer(&self, target: &Path, pointer: &Path) -> io::Result<()> {
        platform::make_pointer(target, pointer)
    }

    fn read_pointer(&self, pointer: &Path) -> io::Result<Option<PathBuf>> {
        absent_is_none(platform::read_pointer(pointer))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        platform::rename(from, to)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        platform::exchange(one, other)
    }

    fn finish_exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        platform::finish_exchange(one, other)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let Some(entries) = absent_is_none(fs::read_dir(path))? else {
            return Ok(vec![]);
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        absent_is_none(platform::remove_file(path)).map(|_| ())
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        absent_is_none(platform::remove_tree(path)).map(|_| ())
    }

    fn seal_tree(&self, path: &Path) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.seal_tree(&entry.path())?;
            }
        }
        platform::set_mode(path, 0o755)?;
        platform::sync_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        platform::sync_dir(path)
    }
}

/// A disk as the place that a package is unpacked to: so its content takes the same way as everything else.
pub(super) struct Unpacking<'a>(pub &'a dyn Disk);

impl Place for Unpacking<'_> {
    fn is_fresh(&self, dir: &Path) -> io::Result<bool> {
        Ok(self.0.list(dir)?.is_empty())
    }

    fn make_public_dir(&self, path: &Path) -> io::Result<()> {
        self.0.make_dir(path, 0o755)
    }

    fn create_file(&self, path: &Path, mode: u32) -> io::Result<Box<dyn NewFile>> {
        self.0.create_file(path, mode)
    }

    fn sync_names(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
