//! Known folders: asked of Windows, never of the environment.

#![expect(unsafe_code, reason = "Windows gives a text that is to be freed")]

use std::{
    ffi::OsString,
    io,
    os::windows::ffi::OsStringExt,
    path::{Path, PathBuf},
    ptr::null_mut,
    sync::OnceLock,
};

use windows_sys::{
    Win32::{
        System::Com::CoTaskMemFree,
        UI::Shell::{FOLDERID_ProgramData, FOLDERID_ProgramFiles, SHGetKnownFolderPath},
    },
    core::GUID,
};

/// `%ProgramFiles%` and `%ProgramData%` of this computer.
fn folders() -> Option<&'static (PathBuf, PathBuf)> {
    static FOLDERS: OnceLock<Option<(PathBuf, PathBuf)>> = OnceLock::new();
    FOLDERS
        .get_or_init(|| folder(&FOLDERID_ProgramFiles).and_then(|p| Ok((p, folder(&FOLDERID_ProgramData)?))).ok())
        .as_ref()
}

/// Where programs and state lie on the whole computer, which the root `/` stands for: `%ProgramFiles%\Lockstep` and
/// `%ProgramData%\Lockstep`. `None`: for another root, or when Windows does not say.
pub fn known_layout(root: &Path) -> Option<(PathBuf, PathBuf)> {
    let (programs, data) = folders().filter(|_| root == Path::new("/"))?;
    Some((programs.join("Lockstep"), data.join("Lockstep")))
}

/// Whether a directory lies above what is ours: others may add to it, but not take away.
pub fn is_above(root: &Path, dir: &Path) -> bool {
    if root != Path::new("/") {
        return !dir.starts_with(root);
    }
    folders().is_some_and(|(programs, data)| programs.starts_with(dir) || data.starts_with(dir))
}

fn folder(id: &GUID) -> io::Result<PathBuf> {
    let mut text = null_mut();
    // SAFETY: a constant, no token, and a place to write to; what comes is freed below, whatever the result.
    let result = unsafe { SHGetKnownFolderPath(id, 0, null_mut(), &raw mut text) };
    let path = (result == 0 && !text.is_null()).then(|| {
        // SAFETY: Windows has ended the text with a zero.
        let length = (0..).take_while(|at| unsafe { *text.add(*at) } != 0).count();
        // SAFETY: so many units are there.
        OsString::from_wide(unsafe { std::slice::from_raw_parts(text, length) }).into()
    });
    // SAFETY: to be freed so, and not used any more.
    unsafe { CoTaskMemFree(text.cast()) };
    path.ok_or_else(|| io::Error::from_raw_os_error(result))
}
