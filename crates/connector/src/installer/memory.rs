//! The last attempt, on disk: a restart of the connector does not ask again sooner.

use std::path::{Path, PathBuf};

use super::policy::Attempt;
use crate::files;

/// Where it is kept in the data directory.
fn path(data: &Path) -> PathBuf {
    data.join("installer.json")
}

/// The last attempt that did not install anything. What cannot be read counts as none: the worst is one prompt too many.
pub fn load(data: &Path) -> Option<Attempt> {
    let text = std::fs::read(path(data)).ok()?;
    serde_json::from_slice(&text)
        .inspect_err(|error| tracing::warn!(%error, "when the installer was last started is not known any more"))
        .ok()
}

/// Keeps it.
///
/// # Errors
/// From the file system.
pub fn save(data: &Path, attempt: &Attempt) -> std::io::Result<()> {
    files::replace_private(&path(data), &serde_json::to_vec_pretty(attempt)?)
}

/// Forgets it: something was installed.
///
/// # Errors
/// From the file system.
pub fn forget(data: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path(data)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::installer::policy::Outcome;

    #[test]
    fn it_is_kept_and_forgotten_and_damage_is_none() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(load(data.path()), None);
        let attempt = Attempt {
            version: "7.3.0".parse().unwrap(),
            at: "2026-05-04T11:00:00Z".parse().unwrap(),
            outcome: Outcome::Refused,
            detail: "dismissed".into(),
        };
        save(data.path(), &attempt).unwrap();
        assert_eq!(load(data.path()), Some(attempt));
        forget(data.path()).unwrap();
        forget(data.path()).unwrap();
        assert_eq!(load(data.path()), None);
        std::fs::write(path(data.path()), "{").unwrap();
        assert_eq!(load(data.path()), None);
    }
}
