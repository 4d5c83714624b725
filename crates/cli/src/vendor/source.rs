//! A repository to look at: a directory, or a web server.

use std::{io, path::PathBuf, time::Duration};

use anyhow::Context;
use protocol::Timestamp;
use release::tuf::{DirectoryFetch, Fetch, Repository, Trusted};

use crate::{admin::http_client, runtime::wait};

/// A metadata file that takes longer is given up.
const DEADLINE: Duration = Duration::from_secs(60);

/// Of a first root.
const MAX_ROOT: u64 = 512 * 1024;

/// Where it is.
pub enum Source {
    Directory(PathBuf),
    /// Without a `/` at its end.
    Web {
        client: reqwest::Client,
        base: String,
    },
}

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Web(#[from] reqwest::Error),
    #[error(transparent)]
    Directory(#[from] io::Error),
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
}

impl Source {
    /// `https://…` is a web server, everything else a directory.
    pub fn new(place: &str) -> anyhow::Result<Self> {
        if place.starts_with("https://") || place.starts_with("http://") {
            let base = place.trim_end_matches('/').to_owned();
            return Ok(Self::Web { client: http_client(None)?, base });
        }
        Ok(Self::Directory(place.into()))
    }

    /// Verifies what is there, from a root in a file or else from the repository's own first one. Expiry is left out of account.
    pub fn read(&self, root: Option<&PathBuf>) -> anyhow::Result<Trusted> {
        let shown = self.shown();
        let root = match root {
            Some(path) => std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?,
            None => {
                let first = wait(self.fetch("metadata/1.root.json", MAX_ROOT))?;
                let first = first.with_context(|| format!("cannot read metadata/1.root.json in {shown}"))?;
                first.with_context(|| format!("{shown} is no repository: it has no metadata/1.root.json"))?
            }
        };
        let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
        let reader = Repository::open(scratch.path(), &root)?;
        wait(reader.refresh(self, Timestamp::MIN))?.with_context(|| format!("{shown} does not verify"))
    }

    pub fn shown(&self) -> String {
        match self {
            Self::Directory(path) => path.display().to_string(),
            Self::Web { base, .. } => base.clone(),
        }
    }
}

impl Fetch for Source {
    type Error = SourceError;

    async fn fetch(&self, path: &str, max_length: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let (client, base) = match self {
            Self::Directory(directory) => return Ok(DirectoryFetch::new(directory).fetch(path, max_length).await?),
            Self::Web { client, base } => (client, base),
        };
        let mut response = client.get(format!("{base}/{path}")).timeout(DEADLINE).send().await?;
        if matches!(response.status().as_u16(), 403 | 404) {
            return Ok(None);
        }
        response = response.error_for_status()?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > max_length {
                return Err(SourceError::TooLong(max_length));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }
}
