//! Files that are replaced whole or not at all, and that nobody but their owner reads.

use std::{fs, io::Write, path::Path};

/// Replaces `path` atomically and durably with a file that only its owner can read (mode 0600 where there are
/// modes, an access list elsewhere): a reader sees the old content or the new one, whole.
///
/// # Errors
/// From the file system; the old file is then untouched.
pub fn replace_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let temporary = write_beside(path, content, true)?;
    crate::platform::replace_durably(&temporary, path)
}

/// As [`replace_private`], but quick rather than durable: for what is written anew every few seconds anyway.
///
/// # Errors
/// From the file system; the old file is then untouched.
pub fn replace_private_quickly(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let temporary = write_beside(path, content, false)?;
    fs::rename(&temporary, path)
}

/// Writes over a file in place, in the room that it has: for what is better torn than old.
///
/// # Errors
/// From the file system.
pub fn overwrite(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = fs::File::options().write(true).open(path)?;
    file.write_all(content)?;
    file.set_len(content.len() as u64)
}

/// Makes a directory, with its parents, that only its owner can enter.
///
/// # Errors
/// From the file system.
pub fn private_directory(path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(path)?;
    crate::platform::make_private(path, true)
}

fn write_beside(path: &Path, content: &[u8], durable: bool) -> std::io::Result<std::path::PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    match fs::remove_file(&temporary) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let mut file = crate::platform::create_private(&temporary)?;
    file.write_all(content)?;
    if durable {
        file.sync_all()?;
    }
    Ok(temporary)
}
