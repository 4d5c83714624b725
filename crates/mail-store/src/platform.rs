//! What differs between systems.

use std::path::Path;

/// Bytes that this process can still write beside the file `path`. `None`: unknown; then only a failed write tells.
#[cfg(unix)]
pub(crate) fn free_space(path: &Path) -> Option<u64> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Not on Windows yet: there the store finds out when a write fails, which undoes the step all the same.
#[cfg(not(unix))]
pub(crate) fn free_space(_path: &Path) -> Option<u64> {
    None
}
