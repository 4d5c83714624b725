//! What differs between systems.

use std::path::Path;

/// Bytes that this process can still write beside the file `path`. `None`: unknown; then only a failed write tells.
pub(crate) fn free_space(path: &Path) -> Option<u64> {
    free_in(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

#[cfg(unix)]
fn free_in(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(windows)]
use win32::free_space as free_in;
