//! Where the vendor's repository is: on a web server or in a directory.

use std::{io, time::Duration};

use release::tuf::{DirectoryFetch, Fetch};

use crate::config::VendorRepository;

/// A transfer that is silent for this long is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// A metadata file that takes longer is given up.
const METADATA_DEADLINE: Duration = Duration::from_secs(60);

/// The slowest transfer of a package that is borne, in bytes a second.
const SLOWEST: u64 = 16 * 1024;

/// A transport.
#[derive(Debug, Clone)]
pub enum Source {
    /// A web server.
    Web {
        /// Shared connections.
        client: reqwest::Client,
        /// Without a `/` at its end.
        base: String,
    },
    /// A directory.
    Directory(DirectoryFetch),
}

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The web server, or the way to it.
    #[error("the vendor's web server does not deliver")]
    Web(#[from] reqwest::Error),
    /// The directory.
    #[error("the vendor's directory cannot be read")]
    Directory(#[from] io::Error),
    /// More bytes than may be taken.
    #[error("the file is longer than {0} bytes")]
    TooLong(u64),
}

impl Source {
    /// From the configuration.
    ///
    /// # Errors
    /// [`SourceError::Web`] when the TLS library cannot be set up.
    pub fn new(repository: &VendorRepository) -> Result<Self, SourceError> {
        match repository {
            VendorRepository::Directory(path) => Ok(Self::Directory(DirectoryFetch::new(path))),
            VendorRepository::Url(url) => {
                let client = reqwest::Client::builder()
                    .connect_timeout(Duration::from_secs(15))
                    .read_timeout(SILENCE)
                    .redirect(reqwest::redirect::Policy::limited(5))
                    .build()?;
                Ok(Self::Web { client, base: url.as_str().to_owned() })
            }
        }
    }

    /// Starts the transfer of a package of `length` bytes from a web server. The deadline grows with the length.
    pub(super) async fn get(
        client: &reqwest::Client,
        url: String,
        length: u64,
    ) -> Result<reqwest::Response, SourceError> {
        let deadline = METADATA_DEADLINE + Duration::from_secs(length / SLOWEST);
        Ok(client.get(url).timeout(deadline).send().await?.error_for_status()?)
    }
}

impl Fetch for Source {
    type Error = SourceError;

    async fn fetch(&self, path: &str, max_length: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let (client, base) = match self {
            Self::Directory(directory) => return Ok(directory.fetch(path, max_length).await?),
            Self::Web { client, base } => (client, base),
        };
        let mut response = client.get(format!("{base}/{path}")).timeout(METADATA_DEADLINE).send().await?;
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
