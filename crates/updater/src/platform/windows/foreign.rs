//! A directory of somebody else's, who may change it while we read it with all our rights.
//!
//! | attack | answer |
//! |---|---|
//! | a link or junction, at the end of a path or on the way | every step is opened as itself and looked at, and is held: what is open so cannot be renamed or removed meanwhile |
//! | a pipe, a device | names with `\\`, `/` or `:` are refused, as are reserved ones; only regular files are opened |
//! | a file that is exchanged or written to while it is read | it is open without sharing for writing and deleting |
//! | a directory without end | the caller says how many names it takes |

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::windows::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use windows_sys::Win32::{
    Foundation::GENERIC_READ,
    Storage::FileSystem::{
        FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_SHARE_READ, FILE_SHARE_WRITE,
    },
};

use super::sddl::is_reparse_point;

/// An open directory of somebody else's.
#[derive(Debug)]
pub struct ForeignDir {
    path: PathBuf,
    /// This and every one above it that was opened so.
    _held: Vec<Arc<File>>,
}

impl ForeignDir {
    /// Opens it; `path` itself may lead over links, as the caller named it.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        // By the name that it has without links, which it keeps while it is open.
        let path = path.canonicalize()?;
        let held = Arc::new(open(&path)?);
        Ok(Self { path, _held: vec![held] })
    }

    /// Opens a directory in it. `None`: there is none.
    ///
    /// # Errors
    /// Whatever the file system says; `InvalidInput` when it is a link or no directory.
    pub fn dir(&self, name: &str) -> io::Result<Option<Self>> {
        let Some((path, file)) = self.step(name)? else { return Ok(None) };
        if !file.metadata()?.is_dir() {
            return Err(invalid("it is a file, not a directory"));
        }
        let mut held = self._held.clone();
        held.push(Arc::new(file));
        Ok(Some(Self { path, _held: held }))
    }

    /// Opens a regular file in it. `None`: there is none.
    ///
    /// # Errors
    /// Whatever the file system says; `InvalidInput` when it is anything else.
    pub fn file(&self, name: &str) -> io::Result<Option<File>> {
        let Some((_, file)) = self.step(name)? else { return Ok(None) };
        if file.metadata()?.is_file() { Ok(Some(file)) } else { Err(invalid("it is a directory, not a regular file")) }
    }

    /// The names in it, sorted.
    ///
    /// # Errors
    /// Whatever the file system says; `InvalidInput` for more than `most`, and for a name that is not Unicode.
    pub fn names(&self, most: usize) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name().into_string().map_err(|_| invalid("a name in it is not Unicode"))?;
            if names.len() == most {
                return Err(invalid(&format!("there are more than {most} files in it")));
            }
            names.push(name);
        }
        names.sort();
        Ok(names)
    }

    /// Whether there is a directory of this name.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn is_dir(&self, name: &str) -> io::Result<bool> {
        Ok(self.step(name).is_ok_and(|found| found.is_some_and(|(_, f)| f.metadata().is_ok_and(|m| m.is_dir()))))
    }

    fn step(&self, name: &str) -> io::Result<Option<(PathBuf, File)>> {
        if release::safe_path::check(name).is_err() || name.contains(['/', '\\', ':']) {
            return Err(invalid("its name is a path, or Windows' own"));
        }
        let path = self.path.join(name);
        match open(&path) {
            Ok(file) if is_reparse_point(&file.metadata()?) => Err(invalid("it is a link")),
            Ok(file) => Ok(Some((path, file))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Opens a file or directory itself. A file cannot be written to, and neither can be renamed or removed, until it is closed.
fn open(path: &Path) -> io::Result<File> {
    let share = if path.is_dir() { FILE_SHARE_READ | FILE_SHARE_WRITE } else { FILE_SHARE_READ };
    OpenOptions::new()
        .access_mode(GENERIC_READ)
        .share_mode(share)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.to_owned())
}
