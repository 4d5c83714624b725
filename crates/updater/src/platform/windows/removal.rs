//! Deleting what may be in use: waiting, and at last when Windows starts the next time.

#![expect(unsafe_code, reason = "a rename at the next start is not in the standard library")]

use std::{fs, io, path::Path, ptr::null};

use windows_sys::Win32::Storage::FileSystem::{MOVEFILE_DELAY_UNTIL_REBOOT, MoveFileExW};

use super::{files::is_in_use, files::patiently, succeeded, wide};

/// Removes a file.
///
/// # Errors
/// Whatever the file system says, after having waited for whoever has it open.
pub fn remove_file(path: &Path) -> io::Result<()> {
    patiently(|| fs::remove_file(path))
}

/// Removes a directory with everything in it. What is in use in one that has been taken out of sight (its name begins with a dot)
/// goes when Windows starts the next time; until then each sweep tries again.
///
/// # Errors
/// Whatever the file system says, after having waited for whoever has something in it open.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match patiently(|| fs::remove_dir_all(path)) {
        Err(error) if is_in_use(&error) && is_out_of_sight(path) => {
            tracing::warn!(path = %path.display(), %error, "in use; it goes when Windows starts the next time");
            delay(path);
            Ok(())
        }
        other => other,
    }
}

/// Removes a file that was renamed aside, now or when Windows starts the next time.
pub(super) fn when_possible(path: &Path) {
    if fs::remove_file(path).is_err() {
        at_next_start(path);
    }
}

fn is_out_of_sight(path: &Path) -> bool {
    path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with('.'))
}

/// What is in a directory first, then itself: Windows does it in this order.
fn delay(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            delay(&entry.path());
        } else {
            at_next_start(&entry.path());
        }
    }
    at_next_start(path);
}

fn at_next_start(path: &Path) {
    let name = wide(path);
    // SAFETY: a text that ends with a zero, and nothing as the target, which means deletion.
    if let Err(error) = succeeded(unsafe { MoveFileExW(name.as_ptr(), null(), MOVEFILE_DELAY_UNTIL_REBOOT) }) {
        tracing::warn!(path = %path.display(), %error, "stays");
    }
}
