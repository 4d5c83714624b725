//! Replacing a file so that a power cut leaves the old one or the new one, whole.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::platform;

/// Who may read a file that [`replace`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody may read it; the process's umask has the last word.
    Public,
    /// Only its owner (mode 0600). On Windows the directory's access list decides.
    Private,
}

/// Writes `bytes` beside `path`, makes them durable, renames them over `path`, and makes that durable.
///
/// # Errors
/// Whatever the file system says; `path` is then the old file or the new one, never a part of one.
pub fn replace(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let beside = beside(path)?;
    // What a killed process left, or somebody planted while the directory was open to others, is replaced and never written into.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = match access {
        Access::Public => fs::File::create_new(&beside)?,
        Access::Private => platform::create_private(&beside)?,
    };
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, path)?;
    sync_dir(parent(path))
}

/// Makes the names in a directory durable, such as one that a rename has changed. Does nothing on Windows, whose
/// file system journals them itself.
///
/// # Errors
/// Whatever the file system says.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    platform::sync_dir(path)
}

/// Makes a directory, and those above it, that only its owner may enter (mode 0700). One that exists is left as it is.
///
/// # Errors
/// Whatever the file system says.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    platform::create_private_dir(path)
}

/// Lets everybody read a file that was made for its owner alone (mode 0644), such as a temporary one.
///
/// # Errors
/// Whatever the file system says.
pub fn make_public(file: &fs::File) -> io::Result<()> {
    platform::make_public(file)
}

/// Whether somebody other than a file's owner may read it. Always `false` on Windows, where access lists are inherited
/// from the directory.
///
/// # Errors
/// Whatever the file system says.
pub fn is_exposed(path: &Path) -> io::Result<bool> {
    Ok(platform::is_exposed(&fs::metadata(path)?))
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "path has no file name"))?;
    let mut hidden = OsString::from(".new-");
    hidden.push(name);
    Ok(path.with_file_name(hidden))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_has_the_new_content_and_nothing_lies_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        replace(&path, b"old and longer", Access::Public).unwrap();
        replace(&path, b"new", Access::Private).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_private_file_is_readable_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        replace(&path, b"secret", Access::Private).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
