//! Where packages are downloaded to: a directory that only the service can reach. How, see [`release::download`].
//!
//! | attack | answer |
//! |---|---|
//! | a planted file or link under the partial file's name | opened without following links; own, regular, link count 1 |

use std::{fs::File, path::Path};

pub use release::download::{DownloadError, Limits, Wanted, partial_name};

use crate::platform;

/// Downloads `url` into `dir`, going on where an earlier attempt ended, and returns the verified file, at its beginning.
///
/// # Errors
/// [`DownloadError`]. Bytes that came are kept, unless they are wrong.
pub async fn download(
    client: &reqwest::Client,
    url: &str,
    dir: &Path,
    wanted: Wanted<'_>,
    limits: Limits,
) -> Result<File, DownloadError> {
    let file = platform::open_private(&dir.join(partial_name(wanted.sha256)))?;
    release::download::download(client, url, file, wanted, limits).await
}
