//! Fetching one target: checked while it streams, kept only when it is what was signed.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use release::tuf::{Mismatch, TargetInfo, Verifier, consistent_target_path};

use super::source::{Source, SourceError};

/// Why a target could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The transport failed.
    #[error("it cannot be fetched")]
    Source(#[from] SourceError),
    /// The bytes are not those that were signed.
    #[error("it is not what the vendor signed")]
    Mismatch(#[from] Mismatch),
    /// The mirror's directory failed.
    #[error("cannot write {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Whether a target's file is here. Its bytes were checked before it got this name.
pub fn is_there(file: &Path, length: u64) -> bool {
    fs::metadata(file).is_ok_and(|m| m.is_file() && m.len() == length)
}

/// Whether a file that is there still has the bytes that were signed. Reads all of it.
///
/// # Errors
/// The disk's.
pub fn is_unchanged(file: &Path, info: &TargetInfo) -> io::Result<bool> {
    Ok(Verifier::new(info.length, &info.sha256).read_whole(fs::File::open(file)?)?.is_ok())
}

/// Fetches a target into `file`, which appears at once and whole.
///
/// # Errors
/// [`DownloadError`]; then there is no such file.
pub async fn fetch(source: &Source, target: &str, info: &TargetInfo, file: &Path) -> Result<(), DownloadError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DownloadError::Write { path, source }
    };
    let beside = file.with_extension("part");
    let mut part = fs::File::create(&beside).map_err(failed(&beside))?;
    let outcome = copy(source, target, info, &mut part, &beside).await;
    let outcome = outcome.and_then(|()| part.sync_all().map_err(failed(&beside)));
    drop(part);
    if let Err(error) = outcome {
        // The error that led here is the one to tell; a part that stays is overwritten next time.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    fs::rename(&beside, file).map_err(failed(file))?;
    let directory = file.parent().unwrap_or(Path::new("."));
    release::durable::sync_dir(directory).map_err(failed(directory))
}

async fn copy(
    source: &Source,
    target: &str,
    info: &TargetInfo,
    part: &mut fs::File,
    path: &Path,
) -> Result<(), DownloadError> {
    let failed = |source| DownloadError::Write { path: path.to_owned(), source };
    let mut verifier = Verifier::new(info.length, &info.sha256);
    let consistent = consistent_target_path(target, &info.sha256);
    match source {
        Source::Directory(directory) => {
            let unreadable = |e| DownloadError::Source(SourceError::Directory(e));
            let mut file = fs::File::open(directory.target(&consistent)).map_err(unreadable)?;
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let n = file.read(&mut buffer).map_err(unreadable)?;
                if n == 0 {
                    break;
                }
                verifier.update(&buffer[..n])?;
                part.write_all(&buffer[..n]).map_err(failed)?;
            }
        }
        Source::Web { client, base } => {
            let mut response = Source::get(client, format!("{base}/targets/{consistent}"), info.length).await?;
            while let Some(chunk) = response.chunk().await.map_err(SourceError::Web)? {
                verifier.update(&chunk)?;
                part.write_all(&chunk).map_err(failed)?;
            }
        }
    }
    Ok(verifier.finish()?)
}
