//! One running connector for one data directory.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

/// Why this connector may not run.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Another one runs.
    #[error("another lockstep-connector already runs for {0}; stop it first, or use another --data directory")]
    Running(PathBuf),
    /// The lock file cannot be used.
    #[error("cannot use {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Held while a connector runs; the system lets go of it however the program ends.
#[derive(Debug)]
pub struct Instance {
    _lock: File,
}

/// How long a connector that is being replaced by the next version may take to end.
const PATIENCE: u32 = 30;

impl Instance {
    /// Becomes the one running connector; waits up to 3 s for one that is just ending.
    ///
    /// # Errors
    /// [`InstanceError`].
    pub async fn acquire(data: &Path) -> Result<Self, InstanceError> {
        for _ in 0..PATIENCE {
            if let Some(lock) = try_lock(data)? {
                return Ok(Self { _lock: lock });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(InstanceError::Running(data.into()))
    }
}

/// Whether a connector runs for this data directory.
///
/// # Errors
/// [`InstanceError::Io`].
pub fn is_running(data: &Path) -> Result<bool, InstanceError> {
    Ok(data.join("lock").exists() && try_lock(data)?.is_none())
}

fn try_lock(data: &Path) -> Result<Option<File>, InstanceError> {
    let path = data.join("lock");
    let failed = |source| InstanceError::Io { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_one_runs_and_the_next_may_when_it_ends() {
        let data = tempfile::tempdir().unwrap();
        assert!(!is_running(data.path()).unwrap());
        let first = Instance::acquire(data.path()).await.unwrap();
        assert!(is_running(data.path()).unwrap());
        assert!(matches!(Instance::acquire(data.path()).await, Err(InstanceError::Running(_))));
        drop(first);
        assert!(!is_running(data.path()).unwrap());
        Instance::acquire(data.path()).await.unwrap();
    }
}
