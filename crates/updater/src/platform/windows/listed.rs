//! The entry among the installed programs, where the updater came without a package: through the connector, or from a folder. A
//! package makes its own, and takes this one's place. What lies below another root than the computer's has none.

use std::io;

use super::{
    super::values,
    registry::{self, Written},
};
use crate::{download::room::used, layout::Layout};

/// Another key than those of packages, which know nothing of this one.
const KEY: &str = r"Software\Microsoft\Windows\CurrentVersion\Uninstall\LockstepUpdaterByItself";
const HOME: &str = env!("CARGO_PKG_REPOSITORY");

/// Makes the entry, or mends it.
///
/// # Errors
/// Whatever the registry says.
pub fn list(layout: &Layout, version: &str) -> io::Result<()> {
    let Some(launcher) = layout.launcher().filter(|_| layout.is_whole_machine()) else { return Ok(()) };
    let launcher = launcher.to_string_lossy();
    // Not the version that is active now: another one will be.
    let uninstall = format!(r#""{launcher}" --once updater -- uninstall"#);
    let place = layout.products();
    for (name, value) in [
        ("DisplayName", values::SERVICE_DISPLAY),
        ("DisplayVersion", version),
        ("Publisher", "Lockstep"),
        ("Comments", values::SERVICE_DESCRIPTION),
        ("InstallLocation", &place.to_string_lossy()),
        ("DisplayIcon", &launcher),
        ("URLInfoAbout", HOME),
        ("HelpLink", &format!("{HOME}/blob/main/docs/group-policy.md")),
        ("UninstallString", &uninstall),
        ("QuietUninstallString", &format!("{uninstall} --quiet")),
    ] {
        registry::write(KEY, name, Written::Text(value))?;
    }
    let kilobytes = u32::try_from(used(&place)? / 1024).unwrap_or(u32::MAX);
    for (name, value) in [("EstimatedSize", kilobytes), ("NoModify", 1), ("NoRepair", 1)] {
        registry::write(KEY, name, Written::Number(value))?;
    }
    Ok(())
}

/// Says which version it is now, if there is an entry.
///
/// # Errors
/// Whatever the registry says.
pub fn show_version(layout: &Layout, version: &str) -> io::Result<()> {
    match layout.is_whole_machine() && registry::exists(KEY) {
        true => registry::write(KEY, "DisplayVersion", Written::Text(version)),
        false => Ok(()),
    }
}

/// Removes the entry; no error if there is none.
///
/// # Errors
/// Whatever the registry says.
pub fn forget(layout: &Layout) -> io::Result<()> {
    if layout.is_whole_machine() { registry::remove(KEY) } else { Ok(()) }
}
