//! Where things belong on Windows. Known folders are asked for (`SHGetKnownFolderPath`), never taken from the environment,
//! which the user can set.
//!
//! Below a root other than the computer's own everything lies as on Linux, but the active version is named in a file instead
//! of a link.

use std::path::{Component, Path, PathBuf};

use protocol::Version;
use windows_sys::{
    Win32::{
        System::SystemInformation::{ComputerNameDnsHostname, GetComputerNameExW},
        UI::Shell::{FOLDERID_LocalAppData, FOLDERID_ProgramData, FOLDERID_ProgramFiles},
    },
    core::GUID,
};

use super::registry::{self, Hive, View};

/// What the updater is called among the installed programs, whichever package brought it.
const UPDATER: &str = "Lockstep Updater";

/// Where Windows lists the installed programs.
const UNINSTALL: &str = r"Software\Microsoft\Windows\CurrentVersion\Uninstall";

/// What Windows starts when this user signs in; of the machine's part, when anybody does.
const RUN: &str = r"Software\Microsoft\Windows\CurrentVersion\Run";

/// The value there that the connector's package makes for everybody (`packaging/windows/lockstep-connector.wxs`).
const MACHINES: &str = "LockstepConnector";

/// `%LOCALAPPDATA%\Lockstep\Connector`: this user's, and not carried to other computers.
pub fn user_data() -> Option<PathBuf> {
    Some(known(&FOLDERID_LocalAppData)?.join("Lockstep").join("Connector"))
}

/// The machine's settings: `%ProgramData%\Lockstep\etc`, where only an administrator can write.
pub fn settings(root: &Path) -> PathBuf {
    real(root, &FOLDERID_ProgramData)
        .map_or_else(|| root.join("etc").join("lockstep"), |base| base.join("Lockstep").join("etc"))
}

/// The programs that are installed for everybody: `%ProgramFiles%\Lockstep`.
pub fn programs(root: &Path) -> PathBuf {
    real(root, &FOLDERID_ProgramFiles).map_or_else(|| root.join("opt").join("lockstep"), |base| base.join("Lockstep"))
}

/// What starts the machine's connector; replaced by the installer only.
pub fn launcher(root: &Path) -> PathBuf {
    programs(root).join("launcher").join("lockstep-launcher.exe")
}

/// Whether Windows starts the machine's connector when anybody signs in. It does where the connector's package was installed, with
/// that part of it; the updater alone, as a package or as the installer brings it, leaves each user's own start to the user.
pub fn machine_starts_it() -> bool {
    registry::text(Hive::Machine, RUN, MACHINES, View::Bits64).is_some()
}

/// The version that the pointer file of a product names.
pub fn active_version(product: &Path) -> Option<Version> {
    let text = std::fs::read_to_string(product.join("current")).ok()?;
    let version = text.trim().parse().ok()?;
    product.join("versions").join(text.trim()).is_dir().then_some(version)
}

/// The version of the updater among the installed programs, in the 64-bit list and in the 32-bit one. Only for the computer's
/// own root: others have no such list.
pub fn listed_updater(root: &Path) -> Option<String> {
    real(root, &FOLDERID_ProgramFiles)?;
    [View::Bits64, View::Bits32].into_iter().find_map(|view| {
        registry::subkeys(Hive::Machine, UNINSTALL, view).into_iter().find_map(|key| {
            let key = format!(r"{UNINSTALL}\{key}");
            let text = |name: &str| registry::text(Hive::Machine, &key, name, view);
            let ours = text("DisplayName").as_deref() == Some(UPDATER);
            ours.then(|| text("DisplayVersion").unwrap_or_default())
        })
    })
}

/// The key whose values Windows starts when this user signs in.
pub fn autostart() -> Option<PathBuf> {
    Some(RUN.into())
}

/// Bytes that this user may still write where `path` is, or will be. `None`: unknown.
pub fn disk_free(path: &Path) -> Option<u64> {
    let folder = path.ancestors().find(|folder| folder.is_dir())?;
    win32::free_space(folder)
}

/// The file that holds the PC's name. `None`: the computer itself has none, and anybody may make folders beside the system's.
pub fn hostname_file(root: &Path) -> Option<PathBuf> {
    real(root, &FOLDERID_ProgramData).is_none().then(|| root.join("etc").join("hostname"))
}

/// The PC's name, in full and as it was given.
pub fn hostname() -> String {
    let mut buffer = [0u16; 256];
    let mut size = u32::try_from(buffer.len()).unwrap_or_default();
    // SAFETY: the buffer is as big as is said; the size is that of the text afterwards.
    let done = unsafe { GetComputerNameExW(ComputerNameDnsHostname, buffer.as_mut_ptr(), &raw mut size) };
    let name = buffer.get(..size as usize).filter(|name| done != 0 && !name.is_empty());
    name.map_or_else(|| "pc".into(), String::from_utf16_lossy)
}

/// The known folder, if `root` is the computer's own: a drive's or the current drive's root.
fn real(root: &Path, folder: &GUID) -> Option<PathBuf> {
    let own = root.components().all(|part| matches!(part, Component::RootDir | Component::Prefix(_)));
    own.then(|| known(folder)).flatten()
}

fn known(folder: &GUID) -> Option<PathBuf> {
    win32::known_folder(folder).ok()
}
