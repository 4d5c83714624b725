//! A directory of somebody else's, who may change it while we read it with all our rights.
//!
//! | attack | answer |
//! |---|---|
//! | a symbolic link, at the end of a path or on the way | every step is opened by the descriptor of the one before, without following links |
//! | a FIFO that never gives an end, a device that reading does something to | only regular files are opened, and what was opened is looked at again |
//! | a directory without end | the caller says how many names it takes |

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    path::{Component, Path},
};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat};

/// An open directory of somebody else's.
#[derive(Debug)]
pub struct ForeignDir(OwnedFd);

impl ForeignDir {
    /// Opens it; `path` itself may lead over links, as the caller named it.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, path, flags, Mode::empty())?))
    }

    /// Opens a directory in it. `None`: there is none.
    ///
    /// # Errors
    /// Whatever the file system says; `InvalidInput` when it is a link or no directory.
    pub fn dir(&self, name: &str) -> io::Result<Option<Self>> {
        let Some(kind) = self.kind(name)? else { return Ok(None) };
        if kind != FileType::Directory {
            return Err(unwanted(kind, "directory"));
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Some(Self(openat(&self.0, one(name)?, flags, Mode::empty())?)))
    }

    /// Opens a regular file in it. `None`: there is none.
    ///
    /// # Errors
    /// Whatever the file system says; `InvalidInput` when it is anything else.
    pub fn file(&self, name: &str) -> io::Result<Option<File>> {
        // Looked at before it is opened, since opening alone can do something to a device; and after, since it may have
        // been exchanged in between.
        match self.kind(name)? {
            None => return Ok(None),
            Some(FileType::RegularFile) => {}
            Some(kind) => return Err(unwanted(kind, "regular file")),
        }
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&self.0, one(name)?, flags, Mode::empty())?;
        match FileType::from_raw_mode(fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(Some(File::from(file))),
            kind => Err(unwanted(kind, "regular file")),
        }
    }

    /// The names in it, sorted.
    ///
    /// # Errors
    /// Whatever the file system says; `InvalidInput` for more than `most`, and for a name that is not Unicode.
    pub fn names(&self, most: usize) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry.file_name().to_str().map_err(|_| invalid("a name in it is not Unicode"))?;
            if name == "." || name == ".." {
                continue;
            }
            if names.len() == most {
                return Err(invalid(&format!("there are more than {most} files in it")));
            }
            names.push(name.to_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Whether there is a directory of this name.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn is_dir(&self, name: &str) -> io::Result<bool> {
        Ok(self.kind(name)? == Some(FileType::Directory))
    }

    fn kind(&self, name: &str) -> io::Result<Option<FileType>> {
        match statat(&self.0, one(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A single step of a path.
fn one(name: &str) -> io::Result<&str> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(part)), None) if part == name => Ok(name),
        _ => Err(invalid("its name is a path")),
    }
}

fn unwanted(kind: FileType, wanted: &str) -> io::Error {
    let is = match kind {
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Directory => "a directory",
        FileType::RegularFile => "a file",
        _ => "something else",
    };
    invalid(&format!("it is {is}, not a {wanted}"))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.to_owned())
}
