//! Files below a URL.
//!
//! | attack | answer |
//! |---|---|
//! | endless data, with or without a length | it stops with the first byte above the limit |
//! | a byte a second | one deadline for the whole file |
//! | a redirect to somewhere else | not followed |

use std::{io, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use release::tuf::Fetch;
use reqwest::{Client, Response, StatusCode, Url, redirect};
use rustls::{ClientConfig, RootCertStore};

/// Whatever lies below one URL.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    /// Ends with a slash.
    base: String,
    deadline: Duration,
}

impl Http {
    /// `deadline` is how long one file may take.
    pub fn new(base: &str, deadline: Duration) -> Result<Self> {
        let base = format!("{}/", base.trim_end_matches('/'));
        let url = Url::parse(&base).with_context(|| format!("{base} is no URL"))?;
        // The system's authorities need not be there where nobody asks for them.
        let tls = if url.scheme() == "https" { tls_trust::client_config(None)? } else { no_tls()? };
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .timeout(deadline)
            .build()
            .context("setting up HTTP")?;
        Ok(Self { client, base, deadline })
    }

    /// Asks for a file by its relative path, which is encoded already. `None`: there is none.
    pub async fn get(&self, path: &str) -> io::Result<Option<Response>> {
        let url = Url::parse(&format!("{}{path}", self.base)).map_err(io::Error::other)?;
        let response = self.client.get(url).send().await.map_err(io::Error::other)?;
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Ok(None),
            StatusCode::OK => Ok(Some(response)),
            status => Err(io::Error::other(format!("the server answers {status}"))),
        }
    }

    /// How long one file may take.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }
}

impl Fetch for Http {
    type Error = io::Error;

    async fn fetch(&self, path: &str, max_length: u64) -> io::Result<Option<Vec<u8>>> {
        // The reader names files as they lie in a repository; this URL is that of its metadata.
        let name = path.strip_prefix("metadata/").unwrap_or(path);
        let whole = async {
            let Some(mut response) = self.get(name).await? else { return Ok(None) };
            let mut bytes = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(io::Error::other)? {
                bytes.extend_from_slice(&chunk);
                if bytes.len() as u64 > max_length {
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {max_length} bytes")));
                }
            }
            Ok(Some(bytes))
        };
        tokio::time::timeout(self.deadline, whole).await.unwrap_or_else(|_| Err(too_slow()))
    }
}

/// What is said of a source that takes longer than its deadline.
pub fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the server is too slow")
}

fn no_tls() -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}
