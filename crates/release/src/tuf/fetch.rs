//! Where a repository's files come from.

use std::{
    fs,
    future::Future,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// A transport for a repository's metadata. Packages are streamed by the caller, through a [`super::Verifier`].
pub trait Fetch: Sync {
    /// The transport's own error.
    type Error: Into<Box<dyn std::error::Error + Send + Sync>>;

    /// Fetches a file by its path in the repository, such as `metadata/timestamp.json`. `Ok(None)` means that there is
    /// no such file (HTTP 404 or 403). It must give up, with an error, as soon as there are more than `max_length` bytes.
    fn fetch(&self, path: &str, max_length: u64) -> impl Future<Output = Result<Option<Vec<u8>>, Self::Error>> + Send;
}

/// A repository in a local directory: a mounted share, a USB stick, a test.
#[derive(Debug, Clone)]
pub struct DirectoryFetch {
    root: PathBuf,
}

impl DirectoryFetch {
    /// `root` is the directory that holds `metadata/` and `targets/`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where a target's bytes are, by its path in the repository (see [`super::consistent_target_path`]).
    pub fn target(&self, consistent_path: &str) -> PathBuf {
        self.root.join("targets").join(consistent_path)
    }
}

impl Fetch for DirectoryFetch {
    type Error = io::Error;

    async fn fetch(&self, path: &str, max_length: u64) -> io::Result<Option<Vec<u8>>> {
        match read_capped(&self.root.join(path), max_length) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(bytes) => Ok(Some(bytes)),
        }
    }
}

/// Reads a file of at most `max_length` bytes.
pub(super) fn read_capped(path: &Path, max_length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(max_length.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_length {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {max_length} bytes")));
    }
    Ok(bytes)
}
