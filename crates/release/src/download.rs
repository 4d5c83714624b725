//! Fetching a package: resumable, bounded in size and time, verified on the very file that is then used.
//!
//! | attack | answer |
//! |---|---|
//! | good bytes for the reader that verifies, bad ones for the one that installs | one descriptor: what is hashed through it is handed back, to be unpacked or copied through it |
//! | a planted file or link under the partial file's name | the caller opens it, in a directory of its own, and without following links |
//! | endless data, with or without a length | no byte beyond the signed length is written |
//! | a source that stalls, or sends a byte a second | [`Limits::idle`]; [`Limits::window`] and [`Limits::least_per_window`]; [`Limits::whole`] |
//! | a damaged or poisoned partial file | the whole file is hashed at the end; when it is wrong, it is emptied, and the source that had only added to it is asked once more for all of it |
//! | a source that answers a range with something else | asked once more, for the whole; the bytes that are here stay until it sends that |

use std::{
    fs::File,
    io::{self, Seek, SeekFrom},
    time::Duration,
};

use reqwest::StatusCode;
use tokio::{io::AsyncWriteExt, sync::oneshot};

use crate::tuf::{Mismatch, Verifier};

mod pace;
mod transfer;

pub use pace::Pace;

/// When a source is given up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Without a single byte.
    pub idle: Duration,
    /// In each such stretch of time ...
    pub window: Duration,
    /// ... at least so many bytes must come.
    pub least_per_window: u64,
    /// All of it must have come. `None`: 8 KiB/s, or half of the bandwidth limit where that is less, but at least 10 minutes.
    pub whole: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(30),
            window: Duration::from_secs(60),
            least_per_window: 16 * 1024,
            whole: None,
        }
    }
}

/// Work that waits for the disk and the processor.
pub type Work = Box<dyn FnOnce() + Send>;

/// How a download is carried out.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// When a source is given up.
    pub limits: Limits,
    /// A bandwidth limit.
    pub pace: Option<&'a Pace>,
    /// Is told how many bytes there are, each time that some came.
    pub progress: Option<&'a (dyn Fn(u64) + Send + Sync)>,
    /// Runs the hashing where it keeps nobody waiting.
    pub run: &'a (dyn Fn(Work) + Send + Sync),
}

impl std::fmt::Debug for Terms<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terms").field("limits", &self.limits).field("pace", &self.pace).finish_non_exhaustive()
    }
}

impl Terms<'_> {
    /// These limits, no other conditions, and hashing on the runtime's threads for blocking work.
    pub fn plain(limits: Limits) -> Self {
        Self { limits, pace: None, progress: None, run: &|work| drop(tokio::task::spawn_blocking(work)) }
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
    download_on(client, url, file, wanted, &Terms::plain(limits)).await
}

/// As [`download`], on these terms.
///
/// # Errors
/// The same.
pub async fn download_on(
    client: &reqwest::Client,
    url: &str,
    mut file: File,
    wanted: Wanted<'_>,
    terms: &Terms<'_>,
) -> Result<File, DownloadError> {
    let mut have = file.metadata()?.len();
    if have > wanted.length {
        file.set_len(0)?;
        have = 0;
    }
    loop {
        if have < wanted.length {
            let mut growing = tokio::fs::File::from_std(file);
            let came = transfer::transfer(client, url, &mut growing, have, wanted.length, terms).await;
            // Also when it broke off: the next attempt goes on from what is on the disk.
            let flushed = growing.flush().await;
            came?;
            flushed?;
            file = growing.into_std().await;
        }
        let (hashed, verdict) = verify(file, wanted, terms).await?;
        match verdict {
            Ok(()) => return Ok(hashed),
            // Perhaps not what came now is wrong, but what lay there before: emptied now, so once more.
            Err(Mismatch::WrongHash { .. }) if have > 0 => {
                file = hashed;
                have = 0;
            }
            Err(source) => return Err(DownloadError::NotSigned { url: url.into(), source }),
        }
    }
}

/// The name of a package's partial file in a directory of downloads: by its hash, so that nothing is fetched twice.
pub fn partial_name(sha256: &str) -> String {
    format!("{sha256}.part")
}

/// Hashes the whole file through the descriptor that it will be unpacked from.
async fn verify(file: File, wanted: Wanted<'_>, terms: &Terms<'_>) -> io::Result<(File, Result<(), Mismatch>)> {
    let verifier = Verifier::new(wanted.length, wanted.sha256);
    let (done, hashed) = oneshot::channel();
    // Nobody waits any more when the download was given up meanwhile.
    (terms.run)(Box::new(move || drop(done.send(hash(file, verifier)))));
    hashed.await.map_err(io::Error::other)?
}

fn hash(mut file: File, verifier: Verifier) -> io::Result<(File, Result<(), Mismatch>)> {
    file.seek(SeekFrom::Start(0))?;
    let verdict = verifier.read_whole(&mut file)?;
    // A file that is only too short may still grow into the right one.
    if matches!(verdict, Err(Mismatch::WrongHash { .. } | Mismatch::TooLong { .. })) {
        file.set_len(0)?;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok((file, verdict))
}
