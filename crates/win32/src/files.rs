//! Known folders, renames, free space.

#![expect(unsafe_code, reason = "Windows' calls for files take pointers")]

use std::{
    io,
    path::{Path, PathBuf},
    ptr::null_mut,
};

use windows_sys::{
    Win32::{
        Storage::FileSystem::{GetDiskFreeSpaceExW, MOVEFILE_REPLACE_EXISTING, MOVEFILE_WRITE_THROUGH, MoveFileExW},
        System::Com::CoTaskMemFree,
        UI::Shell::SHGetKnownFolderPath,
    },
    core::GUID,
};

use crate::{succeeded, text, wide};

/// A known folder: asked of Windows, never of the environment, which a user can set.
///
/// # Errors
/// Whatever Windows says.
pub fn known_folder(id: &GUID) -> io::Result<PathBuf> {
    let mut found = null_mut();
    // SAFETY: a folder's number, no token, and a place to write to; what comes is freed below, whatever the result.
    let result = unsafe { SHGetKnownFolderPath(id, 0, null_mut(), &raw mut found) };
    // SAFETY: Windows has ended the text with a zero.
    let path = (result == 0 && !found.is_null()).then(|| unsafe { text(found) }.into());
    // SAFETY: to be freed so, and not used any more.
    unsafe { CoTaskMemFree(found.cast()) };
    path.ok_or_else(|| io::Error::from_raw_os_error(result))
}

/// Renames, replacing a file at `to`, in one step that has reached the disk when this returns.
///
/// # Errors
/// Whatever the file system says; then `to` is what it was.
pub fn replace(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (wide(from), wide(to));
    // SAFETY: two texts that end with a zero.
    succeeded(unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH) })
}

/// Bytes that this user can still write below `dir`, which must be there. `None`: unknown.
pub fn free_space(dir: &Path) -> Option<u64> {
    let (name, mut free) = (wide(dir), 0);
    // SAFETY: a text that ends with a zero, and a place to write to; what is not wanted is null.
    succeeded(unsafe { GetDiskFreeSpaceExW(name.as_ptr(), &raw mut free, null_mut(), null_mut()) }).ok()?;
    Some(free)
}
