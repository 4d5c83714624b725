//! Packages at which the service itself came to its end: a panic, which ends the process as it is shipped, memory that the system did not
//! give, a fault in a library. Started anew, it would unpack the same package again, for ever, and do nothing else. So tries are
//! counted in a file beside the download, and after [`TRIES`] of them the package is left alone for an hour.
//!
//! A reboot counts too, since nobody can tell. The file is not synced: an end of the process does not lose it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Tries in a row, none of which came to an end of its own.
const TRIES: u32 = 3;
/// How long it is left alone then.
const REST: Duration = Duration::from_secs(3600);

/// The name of the file that counts, in the directory of downloads.
pub fn tries_name(sha256: &str) -> String {
    format!("{sha256}.tries")
}

/// One try at a package.
#[derive(Debug)]
pub struct Try {
    counted: PathBuf,
}

impl Try {
    /// Counts a try. A disk that does not take the count keeps nobody from unpacking.
    ///
    /// # Errors
    /// Words for people, when the package has ended the service too often.
    pub fn begin(downloads: &Path, sha256: &str) -> Result<Self, String> {
        let counted = downloads.join(tries_name(sha256));
        let before = fs::read_to_string(&counted).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0u32);
        if before >= TRIES && !is_rested(&counted).unwrap_or(true) {
            return Err(format!(
                "the service ended {before} times while it unpacked this package; its log says why, and it is tried again in an hour"
            ));
        }
        if let Err(error) = fs::write(&counted, format!("{}\n", before.saturating_add(1))) {
            tracing::warn!(%error, "a try at a package cannot be counted");
        }
        Ok(Self { counted })
    }

    /// The service is still there.
    pub fn end(self) {
        // Removed with the download at the latest.
        drop(fs::remove_file(self.counted));
    }
}

/// A clock that was set back since says nothing.
fn is_rested(counted: &Path) -> io::Result<bool> {
    Ok(fs::metadata(counted)?.modified()?.elapsed().is_ok_and(|since| since >= REST))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::SystemTime};

    use super::*;

    /// As a process that ends in the middle.
    fn ends(downloads: &Path) {
        Try::begin(downloads, "ab").unwrap();
    }

    #[test]
    fn a_package_that_ends_the_service_again_and_again_is_left_alone_for_an_hour() {
        let downloads = tempfile::tempdir().unwrap();
        for _ in 0..TRIES {
            ends(downloads.path());
        }
        let why = Try::begin(downloads.path(), "ab").unwrap_err();
        assert!(why.starts_with("the service ended 3 times while it unpacked this package"), "{why}");
        Try::begin(downloads.path(), "cd").unwrap();

        let counted = File::options().write(true).open(downloads.path().join(tries_name("ab"))).unwrap();
        counted.set_modified(SystemTime::now() - REST).unwrap();
        ends(downloads.path());
        Try::begin(downloads.path(), "ab").unwrap_err();
    }

    #[test]
    fn a_try_that_came_to_its_end_is_forgotten() {
        let downloads = tempfile::tempdir().unwrap();
        for _ in 0..=TRIES {
            Try::begin(downloads.path(), "ab").unwrap().end();
        }
        assert_eq!(fs::read_dir(downloads.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_not_a_count_or_cannot_be_written_stops_nothing() {
        let downloads = tempfile::tempdir().unwrap();
        fs::write(downloads.path().join(tries_name("ab")), "many").unwrap();
        Try::begin(downloads.path(), "ab").unwrap().end();
        Try::begin(&downloads.path().join("missing"), "ab").unwrap().end();
    }
}
