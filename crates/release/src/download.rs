//! Fetching a package: resumable, bounded in size and time, verified on the very file that is then used.
//!
//! | attack | answer |
//! |---|---|
//! | good bytes for the reader that verifies, bad ones for the one that installs | one descriptor: what is hashed through it is handed back, to be unpacked or copied through it |
//! | a planted file or link under the partial file's name | the caller opens it, in a directory of its own, and without following links |
//! | endless data, with or without a length | no byte beyond the signed length is written |
//! | a source that stalls, or sends a byte a second | [`Limits::idle`]; [`Limits::window`] and [`Limits::least_per_window`] |
//! | a damaged or poisoned partial file | the whole file is hashed at the end; when it is wrong, it is emptied |

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    time::Duration,
};

use reqwest::{StatusCode, header};
use tokio::{
    io::{AsyncSeekExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use crate::tuf::{Mismatch, Verifier};

/// When a source is given up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Without a single byte.
    pub idle: Duration,
    /// In each such stretch of time ...
    pub window: Duration,
    /// ... at least so many bytes must come.
    pub least_per_window: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle: Duration::from_secs(30), window: Duration::from_secs(60), least_per_window: 16 * 1024 }
    }
}

/// What is wanted, as the vendor signed it.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Bytes.
    pub length: u64,
    /// Lower-case hexadecimal.
    pub sha256: &'a str,
}

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The source cannot be reached, or broke off. What came is kept for the next attempt.
    #[error("the download of {url} broke off")]
    Transfer {
        /// From where.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The source says no.
    #[error("{url} answers {status}")]
    Status {
        /// From where.
        url: String,
        /// What it says.
        status: StatusCode,
    },
    /// The source is too slow to wait for.
    #[error("{url} sends nothing, or next to nothing")]
    Stalled {
        /// From where.
        url: String,
    },
    /// The bytes are not what the vendor signed.
    #[error("what {url} sends is not what the vendor signed")]
    NotSigned {
        /// From where.
        url: String,
        /// The difference.
        source: Mismatch,
    },
    /// The disk refused.
    #[error("the download cannot be written")]
    Disk(#[from] io::Error),
}

/// Downloads `url` into `file`, going on where an earlier attempt ended, and returns it verified, at its beginning.
/// `file` is open for reading and writing, and nobody else can write to it; see [`partial_name`].
///
/// # Errors
/// [`DownloadError`]. Bytes that came are kept, unless they are wrong.
pub async fn download(
    client: &reqwest::Client,
    url: &str,
    file: File,
    wanted: Wanted<'_>,
    limits: Limits,
) -> Result<File, DownloadError> {
    let mut have = file.metadata()?.len();
    if have > wanted.length {
        file.set_len(0)?;
        have = 0;
    }
    let mut file = tokio::fs::File::from_std(file);
    if have < wanted.length {
        let came = transfer(client, url, &mut file, have, wanted.length, limits).await;
        // Also when it broke off: the next attempt goes on from what is on the disk.
        file.flush().await?;
        came?;
    }
    let file = file.into_std().await;
    verify(file, wanted, url).await
}

/// The name of a package's partial file in a directory of downloads: by its hash, so that nothing is fetched twice.
pub fn partial_name(sha256: &str) -> String {
    format!("{sha256}.part")
}

async fn transfer(
    client: &reqwest::Client,
    url: &str,
    file: &mut tokio::fs::File,
    have: u64,
    length: u64,
    limits: Limits,
) -> Result<(), DownloadError> {
    let broke_off = |source| DownloadError::Transfer { url: url.into(), source };
    let stalled = |_| DownloadError::Stalled { url: url.into() };
    let mut request = client.get(url);
    if have > 0 {
        request = request.header(header::RANGE, format!("bytes={have}-"));
    }
    let mut response = timeout(limits.idle, request.send()).await.map_err(stalled)?.map_err(broke_off)?;

    // RFC 9110, section 14: a server may ignore Range (200), or answer with another range than asked for.
    let mut have = match response.status() {
        StatusCode::PARTIAL_CONTENT if continues_at(&response, have) => have,
        StatusCode::OK => 0,
        StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT => {
            file.set_len(0).await?;
            return Err(DownloadError::Status { url: url.into(), status: response.status() });
        }
        status => return Err(DownloadError::Status { url: url.into(), status }),
    };
    file.set_len(have).await?;
    file.seek(SeekFrom::Start(have)).await?;

    let mut window = (Instant::now(), have);
    while let Some(bytes) = timeout(limits.idle, response.chunk()).await.map_err(stalled)?.map_err(broke_off)? {
        have = have.saturating_add(bytes.len() as u64);
        if have > length {
            file.set_len(0).await?;
            let source = Mismatch::TooLong { expected: length };
            return Err(DownloadError::NotSigned { url: url.into(), source });
        }
        file.write_all(&bytes).await?;
        if window.0.elapsed() >= limits.window {
            if have - window.1 < limits.least_per_window {
                return Err(DownloadError::Stalled { url: url.into() });
            }
            window = (Instant::now(), have);
        }
    }
    Ok(())
}

fn continues_at(response: &reqwest::Response, have: u64) -> bool {
    response
        .headers()
        .get(header::CONTENT_RANGE)
        .and_then(|v| v.to_str().ok()?.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok())
        == Some(have)
}

/// Hashes the whole file through the descriptor that it will be unpacked from.
async fn verify(mut file: File, wanted: Wanted<'_>, url: &str) -> Result<File, DownloadError> {
    let mut verifier = Verifier::new(wanted.length, wanted.sha256);
    let hashing = tokio::task::spawn_blocking(move || {
        file.seek(SeekFrom::Start(0))?;
        let mut buffer = vec![0; 64 * 1024];
        let verdict = loop {
            match file.read(&mut buffer)? {
                0 => break verifier.finish(),
                n => {
                    if let Err(mismatch) = verifier.update(&buffer[..n]) {
                        break Err(mismatch);
                    }
                }
            }
        };
        // A file that is only too short may still grow into the right one.
        if matches!(verdict, Err(Mismatch::WrongHash { .. } | Mismatch::TooLong { .. })) {
            file.set_len(0)?;
        }
        file.seek(SeekFrom::Start(0))?;
        Ok::<_, io::Error>((file, verdict))
    });
    let (file, verdict) = hashing.await.map_err(io::Error::other)??;
    verdict.map_err(|source| DownloadError::NotSigned { url: url.into(), source })?;
    Ok(file)
}
