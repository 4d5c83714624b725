//! One request, or two, and what comes of them: bytes in a file.

use std::{io::SeekFrom, time::Duration};

use reqwest::{Response, StatusCode, header};
use tokio::{
    fs::File,
    io::{AsyncSeekExt, AsyncWriteExt},
    time::{Instant, sleep, timeout},
};

use super::{DownloadError, Limits, Terms};
use crate::tuf::Mismatch;

/// The slowest that a whole package may come, bytes a second.
const SLOWEST: u64 = 8 * 1024;
/// The least time for a whole package.
const LEAST_TIME: Duration = Duration::from_secs(600);

/// Brings `file`, which has `have` bytes, to `length` bytes, or as far as the source goes.
pub(super) async fn transfer(
    client: &reqwest::Client,
    url: &str,
    file: &mut File,
    have: u64,
    length: u64,
    terms: &Terms<'_>,
) -> Result<(), DownloadError> {
    let limits = terms.limits;
    let began = Instant::now();
    let deadline = began + whole(length - have, terms);
    let stalled = || DownloadError::Stalled { url: url.into() };
    let broke_off = |source| DownloadError::Transfer { url: url.into(), source };

    // RFC 9110, section 14: a server may ignore Range (200), or answer with another range than asked for.
    let mut response = ask(client, url, have, limits).await?;
    let unusable = match response.status() {
        StatusCode::PARTIAL_CONTENT => !continues_at(&response, have, length),
        StatusCode::RANGE_NOT_SATISFIABLE => have > 0,
        _ => false,
    };
    if unusable {
        // It cannot go on from here; perhaps it can give the whole. What is here stays until that comes.
        response = ask(client, url, 0, limits).await?;
    }
    let mut have = match response.status() {
        StatusCode::PARTIAL_CONTENT if !unusable => have,
        StatusCode::OK => 0,
        status => return Err(DownloadError::Status { url: url.into(), status }),
    };
    // Another length than signed is known before anything is lost for it.
    if let Some(rest) = response.content_length() {
        wrong_length(have.saturating_add(rest), length, url)?;
    }
    file.set_len(have).await?;
    file.seek(SeekFrom::Start(have)).await?;

    let mut window = (Instant::now(), have);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(stalled());
        }
        let next = timeout(limits.idle.min(left), response.chunk()).await.map_err(|_| stalled())?;
        let Some(bytes) = next.map_err(broke_off)? else {
            return Ok(());
        };
        have = have.saturating_add(bytes.len() as u64);
        if have > length {
            file.set_len(0).await?;
            let source = Mismatch::TooLong { expected: length };
            return Err(DownloadError::NotSigned { url: url.into(), source });
        }
        file.write_all(&bytes).await?;
        if let Some(tell) = terms.progress {
            tell(have);
        }
        if let Some(wait) = terms.pace.map(|pace| pace.spend(bytes.len() as u64)).filter(|wait| !wait.is_zero()) {
            sleep(wait).await;
        }
        if window.0.elapsed() >= limits.window {
            if have - window.1 < limits.least_per_window {
                return Err(stalled());
            }
            window = (Instant::now(), have);
        }
    }
}

async fn ask(client: &reqwest::Client, url: &str, from: u64, limits: Limits) -> Result<Response, DownloadError> {
    let mut request = client.get(url);
    if from > 0 {
        // No If-Range: the name of what is asked for is its hash, and all of it is hashed at the end. So bytes of another
        // source go on here, whose ETag would be a different one.
        request = request.header(header::RANGE, format!("bytes={from}-"));
    }
    timeout(limits.idle, request.send())
        .await
        .map_err(|_| DownloadError::Stalled { url: url.into() })?
        .map_err(|source| DownloadError::Transfer { url: url.into(), source })
}

/// `Content-Range: bytes FIRST-LAST/WHOLE` (RFC 9110, section 14.4) that goes on at `have`. The whole may be `*`.
fn continues_at(response: &Response, have: u64, length: u64) -> bool {
    let range = || {
        let value = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
        let (first, rest) = value.split_once('-')?;
        let whole = rest.split_once('/').map_or("*", |(_, whole)| whole.trim());
        let fits = whole == "*" || whole.parse::<u64>().ok()? == length;
        Some(fits && first.trim().parse::<u64>().ok()? == have)
    };
    have > 0 && range().unwrap_or(false)
}

fn wrong_length(got: u64, expected: u64, url: &str) -> Result<(), DownloadError> {
    let source = match got.cmp(&expected) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Greater => Mismatch::TooLong { expected },
        std::cmp::Ordering::Less => Mismatch::TooShort { expected, got },
    };
    Err(DownloadError::NotSigned { url: url.into(), source })
}

/// How long so many bytes may take in all, however steadily they trickle.
fn whole(bytes: u64, terms: &Terms<'_>) -> Duration {
    if let Some(whole) = terms.limits.whole {
        return whole;
    }
    let slowest = terms.pace.map_or(SLOWEST, |pace| (pace.rate() / 2).clamp(1, SLOWEST));
    Duration::from_secs(bytes / slowest).max(LEAST_TIME)
}
