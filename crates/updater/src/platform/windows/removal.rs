//! Deleting what may be in use: waiting, and at last when Windows starts the next time.

#![expect(unsafe_code, reason = "a rename at the next start is not in the standard library")]

use std::{
    fs, io,
    path::Path,
    ptr::null,
    thread::sleep,
    time::{Duration, Instant},
};

use windows_sys::Win32::Storage::FileSystem::{MOVEFILE_DELAY_UNTIL_REBOOT, MoveFileExW};

use super::{files::is_in_use, files::patiently, process::others_below, succeeded, wide};

/// Programs that are asked to end have this long.
const FAREWELL: Duration = Duration::from_secs(15);

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

/// Makes room for removing what is below `dir`: programs of this session that run from there are asked to end, and those that run
/// all the same, this one among them, are moved into `aside`, on the same volume, which goes when Windows starts the next time.
///
/// # Errors
/// When the processes cannot be listed, or a program cannot be moved.
pub fn take_running_aside(dir: &Path, aside: &Path) -> io::Result<()> {
    let until = Instant::now() + FAREWELL;
    // Those of other sessions do not hear it.
    while others_below(dir)?.into_iter().filter(|pid| win32::ask_to_stop(*pid).is_ok()).count() > 0
        && Instant::now() < until
    {
        sleep(Duration::from_millis(100));
    }
    fs::create_dir(aside)?;
    move_what_stays(dir, aside)?;
    if fs::remove_dir(aside).is_err() {
        delay(aside);
        at_next_start(dir);
    }
    Ok(())
}

/// Removes every file below `dir` that can be, and moves the others.
fn move_what_stays(dir: &Path, aside: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path == aside {
            continue;
        }
        if path.is_dir() && !path.is_symlink() {
            move_what_stays(&path, aside)?;
        } else if fs::remove_file(&path).is_err() {
            let number = fs::read_dir(aside)?.count();
            fs::rename(&path, aside.join(format!("{number}-removed.exe")))?;
        }
    }
    Ok(())
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
