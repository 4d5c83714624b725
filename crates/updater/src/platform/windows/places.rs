//! Known folders: asked of Windows, never of the environment.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use win32::known_folder;
use windows_sys::Win32::UI::Shell::{FOLDERID_ProgramData, FOLDERID_ProgramFiles};

/// `%ProgramFiles%` and `%ProgramData%` of this computer.
fn folders() -> Option<&'static (PathBuf, PathBuf)> {
    static FOLDERS: OnceLock<Option<(PathBuf, PathBuf)>> = OnceLock::new();
    FOLDERS
        .get_or_init(|| {
            known_folder(&FOLDERID_ProgramFiles).and_then(|p| Ok((p, known_folder(&FOLDERID_ProgramData)?))).ok()
        })
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
