//! Packages: where from, into which directory, and on what terms. How bytes come, see [`release::download`].
//!
//! Places are asked in this order: those that this PC's administrator named, those that the site names, the site's own mirror. One that
//! has failed is asked after all others for a while. What one place has sent, the next one goes on with.
//!
//! | attack | answer |
//! |---|---|
//! | a planted file or link under the partial file's name | opened without following links; own, regular, link count 1 |
//! | a place that serves other bytes | every package is verified, wherever it comes from; the place is asked last for a long time |
//! | a place that redirects to plain HTTP, to a file, or for ever | at most three redirects, each to `https://`; the site's own mirror: none |
//! | a site that names places that make no sense | [`places`]: only `https://`, only a few, no passwords |
//! | packages until the disk is full | refused before anything is fetched, for want of room on the disk or under the administrator's limit ([`room`]) |

use std::{
    fs::{self, File},
    io::{self, Seek},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use protocol::site::SiteProfile;
pub use release::download::{DownloadError, Limits, Wanted, partial_name};
use release::download::{Pace, Terms, download_on};
use reqwest::Url;

use crate::{platform, settings::download::Settings, words};

pub mod places;
pub mod room;
pub mod transport;

use places::{Origin, Places};
use room::Room;
use transport::Transport;

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

/// Why a package is not here.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no room for it.
    #[error(transparent)]
    Room(#[from] room::NoRoom),
    /// The disk was full before all of it was here. What had come was removed.
    #[error(
        "the disk is full: of {length} bytes only {got} could be written, and they were removed again; {needed} are needed in all"
    )]
    Full {
        /// Bytes of the package.
        length: u64,
        /// Bytes that could be written.
        got: u64,
        /// Bytes, with its content.
        needed: u64,
    },
    /// The directory for downloads cannot be used.
    #[error("the download cannot be written to {dir}")]
    Disk {
        /// Which one.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody had it.
    #[error("{}", .0.join("; "))]
    Nowhere(Vec<String>),
}

/// Fetches packages for this PC.
pub struct Downloads {
    dir: PathBuf,
    room: Room,
    limits: Limits,
    pace: Option<Pace>,
    transport: Transport,
    places: Mutex<Places>,
}

impl std::fmt::Debug for Downloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Downloads").field("dir", &self.dir).field("places", &self.places).finish_non_exhaustive()
    }
}

impl Downloads {
    /// Downloads into `dir`, which only this service can reach. `products` is where versions lie. Opens no connection.
    pub fn new(dir: PathBuf, products: PathBuf, settings: &Settings, profile: &SiteProfile) -> Self {
        Self {
            room: Room::new(dir.clone(), products, settings.max_disk),
            dir,
            limits: Limits::default(),
            pace: settings.bytes_per_second.map(|rate| Pace::new(rate.get())),
            transport: Transport::new(settings, profile),
            places: Mutex::new(Places::new(settings.sources.iter().map(|s| s.url().clone()).collect())),
        }
    }

    /// With other limits on how long a place is waited for.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The site names other places than its own mirror; those that make no sense are left out.
    pub fn alternate(&self, named: &[String]) {
        self.places().alternate(named);
    }

    /// Fetches a package: `path` below a place's directory of targets, or from `mirror`, the site's own. `tell` is called with
    /// the bytes that are here.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch(
        &self,
        path: &str,
        mirror: (&reqwest::Client, Url),
        wanted: Wanted<'_>,
        tell: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<File, FetchError> {
        let part = self.dir.join(partial_name(wanted.sha256));
        self.make_room(&part, wanted.length).await?;
        let terms = Terms {
            limits: self.limits,
            pace: self.pace.as_ref(),
            progress: Some(tell),
            run: &|work| platform::in_background(work),
        };
        let order = self.places().order(Instant::now());
        let mut elsewhere = None;
        let mut problems = Vec::new();
        for place in order {
            let (client, url) = match &place {
                Origin::Mirror => (mirror.0.clone(), mirror.1.clone()),
                Origin::Elsewhere(base) => match self.elsewhere(&mut elsewhere) {
                    Ok(client) => (client, below(base, path)),
                    Err(problem) => {
                        problems.push(problem);
                        continue;
                    }
                },
            };
            let file = platform::open_private(&part).map_err(|source| self.disk(source))?;
            match download_on(&client, url.as_str(), file, wanted, &terms).await {
                Ok(file) => {
                    self.places().worked(&place);
                    return Ok(file);
                }
                Err(DownloadError::Disk(error)) => return Err(self.refused_by_disk(error, &part, wanted.length)),
                Err(error) => {
                    let problem = words(&error);
                    tracing::warn!(error = problem, "a place has no package for us");
                    let lied = matches!(error, DownloadError::NotSigned { .. });
                    self.places().failed(&place, lied, Instant::now(), rand::random());
                    problems.push(problem);
                }
            }
        }
        Err(FetchError::Nowhere(problems))
    }

    async fn make_room(&self, part: &Path, length: u64) -> Result<(), FetchError> {
        let (room, part) = (self.room.clone(), part.to_owned());
        let made = tokio::task::spawn_blocking(move || room.make(&part, length)).await;
        made.map_err(|e| self.disk(io::Error::other(e)))??;
        Ok(())
    }

    /// Sees to it that there is room for what a verified package unpacks to, as its manifest says; leaves the file at its
    /// beginning. A package without a manifest is for unpacking to refuse.
    ///
    /// # Errors
    /// [`FetchError`]; then it should not be unpacked.
    pub async fn make_room_for_content(&self, mut package: File, wanted: Wanted<'_>) -> Result<File, FetchError> {
        let (room, part) = (self.room.clone(), self.dir.join(partial_name(wanted.sha256)));
        let looking = move || -> io::Result<(File, Result<(), room::NoRoom>)> {
            let manifest = release::package::read_manifest(&mut package);
            package.rewind()?;
            Ok((package, manifest.map_or(Ok(()), |manifest| room.make_for_content(&part, manifest.content_size()))))
        };
        let looked = tokio::task::spawn_blocking(looking).await.map_err(io::Error::other).flatten();
        let (package, made) = looked.map_err(|source| self.disk(source))?;
        made?;
        Ok(package)
    }

    /// The client for other places is made when it is needed, and not kept: the system's authorities take some memory.
    fn elsewhere(&self, made: &mut Option<reqwest::Client>) -> Result<reqwest::Client, String> {
        match made {
            Some(client) => Ok(client.clone()),
            None => {
                let client = self.transport.elsewhere().map_err(|e| words(&e))?;
                Ok(made.insert(client).clone())
            }
        }
    }

    /// A full disk must not stay full because of us.
    fn refused_by_disk(&self, error: io::Error, part: &Path, length: u64) -> FetchError {
        if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return self.disk(error);
        }
        let got = fs::metadata(part).map_or(0, |m| m.len());
        match fs::remove_file(part) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => self.disk(source),
            _ => FetchError::Full { length, got, needed: protocol::staging_room(length) },
        }
    }

    fn disk(&self, source: io::Error) -> FetchError {
        FetchError::Disk { dir: self.dir.clone(), source }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // A panic elsewhere leaves a memory of failures that is at worst incomplete.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address of something below a directory, whatever is in its name.
fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    // Always so for http and https, and nothing else is a place.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path.split('/'));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_path_stays_a_path_below_its_directory() {
        for (base, url) in [
            ("https://cdn.example.com/lockstep/targets", "https://cdn.example.com/lockstep/targets/a/b%3Fc"),
            ("https://cdn.example.com/lockstep/targets/", "https://cdn.example.com/lockstep/targets/a/b%3Fc"),
            ("http://10.0.0.1:8080", "http://10.0.0.1:8080/a/b%3Fc"),
        ] {
            assert_eq!(below(&base.parse().unwrap(), "a/b?c").as_str(), url);
        }
    }
}
