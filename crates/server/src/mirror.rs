//! The vendor's repository, verified and served again.
//!
//! Two directories of verified metadata: `verified` follows the vendor; `served` is fed from it only when every file that it names
//! is here. So what PCs see is always whole, whatever breaks off.
//! Files of targets are kept under their SHA-256, so a name in the repository never becomes a path on this machine.
//!
//! | attack | answer |
//! |---|---|
//! | forged, old or mixed metadata | verified by [`release::tuf`] from the pinned root |
//! | other bytes than were signed, endless bytes | length and hash checked while they stream; kept only when both are right |
//! | a transfer that never ends | deadlines, and a limit on silence |
//! | somebody changes the mirror's files on this machine | every file is hashed again at start and at each refresh; a changed one is gone before it is fetched anew, and the console says so |
//! | a path in a request that leaves the mirror | a request is looked up in a table of what was verified, never joined to a directory |

mod download;
mod source;

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use axum::body::Bytes;
use jiff::Timestamp;
use protocol::catalog::{Catalog, Entry};
use release::tuf::{self, Fetch, Repository, Trusted, consistent_target_path};

pub use source::Source;

/// Why the mirror could not be brought up to date. What was served before still is.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The metadata could not be fetched or verified.
    #[error("the vendor's repository cannot be used")]
    Metadata(#[from] tuf::Error),
    /// A target could not be fetched, or is not what was signed.
    #[error("cannot mirror {target}")]
    Target {
        /// Its path in the repository.
        target: String,
        /// What went wrong.
        source: download::DownloadError,
    },
    /// The mirror's directory failed.
    #[error("cannot use the mirror's directory {path}")]
    Directory {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// One state of the repository, whole: what is served.
#[derive(Debug)]
pub struct Served {
    trusted: Trusted,
    metadata: HashMap<String, Bytes>,
    targets: HashMap<String, PathBuf>,
}

impl Served {
    /// Every release.
    pub fn catalog(&self) -> &Catalog {
        self.trusted.catalog()
    }

    /// Every installer, and which release it brings.
    pub fn installers(&self) -> &[Entry] {
        self.trusted.installers()
    }

    /// The earliest expiry of any role.
    pub fn expires(&self) -> Timestamp {
        self.trusted.expires()
    }

    /// Grows with every state that the vendor publishes.
    pub fn version(&self) -> u64 {
        self.trusted.version()
    }

    /// A metadata file by its name below `metadata/`.
    pub fn metadata(&self, name: &str) -> Option<Bytes> {
        self.metadata.get(name).cloned()
    }

    /// Every metadata file, in the order in which a mirror writes them.
    pub fn metadata_files(&self) -> &[tuf::MetadataFile] {
        self.trusted.metadata()
    }

    /// The file that holds a target, by its path below `targets/`, hash included.
    pub fn target(&self, consistent_path: &str) -> Option<&Path> {
        self.targets.get(consistent_path).map(PathBuf::as_path)
    }

    /// The file that holds a release, or an installer.
    pub fn package(&self, entry: &Entry) -> Option<&Path> {
        self.target(&consistent_target_path(&entry.target, &entry.sha256))
    }
}

/// The mirror.
#[derive(Debug)]
pub struct Mirror {
    source: Source,
    verified: Repository,
    served: Repository,
    targets: PathBuf,
    current: RwLock<Option<Arc<Served>>>,
    problem: RwLock<Option<String>>,
    changed_here: RwLock<Vec<String>>,
    busy: tokio::sync::Mutex<()>,
}

impl Mirror {
    /// Opens the mirror in a directory, with what was served last.
    ///
    /// # Errors
    /// [`MirrorError::Metadata`] when the pinned root is not usable; [`MirrorError::Directory`].
    pub fn open(directory: &Path, source: Source, pinned_root: &[u8]) -> Result<Self, MirrorError> {
        let targets = directory.join("targets");
        std::fs::create_dir_all(&targets).map_err(|source| MirrorError::Directory { path: targets.clone(), source })?;
        let verified = Repository::open(&directory.join("verified"), pinned_root)?;
        let served = Repository::open(&directory.join("served"), pinned_root)?;
        let last = served.known()?;
        let mirror = Self {
            source,
            verified,
            served,
            targets,
            current: RwLock::default(),
            problem: RwLock::default(),
            changed_here: RwLock::default(),
            busy: tokio::sync::Mutex::default(),
        };
        if let Some(last) = last.filter(|last| mirror.is_whole(last)) {
            mirror.show(last);
        }
        Ok(mirror)
    }

    /// What is served. `None`: nothing was ever mirrored.
    pub fn current(&self) -> Option<Arc<Served>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What went wrong last, in words; nothing if the last refresh went through.
    pub fn problem(&self) -> Option<String> {
        self.problem.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Brings the mirror up to date, and says whether anything has changed. Blocks on the disk: call it on a thread
    /// of its own, as [`Mirror::refresh_on_its_own_thread`] does.
    async fn refresh(&self, now: Timestamp) -> Result<bool, MirrorError> {
        let _one_at_a_time = self.busy.lock().await;
        self.drop_changed();
        let trusted = self.verified.refresh(&self.source, now).await?;
        let before = self.current();
        if before.as_ref().is_some_and(|b| b.trusted.metadata() == trusted.metadata()) && self.is_whole(&trusted) {
            return Ok(false);
        }
        for (target, info) in trusted.targets() {
            let file = self.targets.join(&info.sha256);
            if download::is_there(&file, info.length) {
                continue;
            }
            tracing::info!(target, bytes = info.length, "mirroring");
            download::fetch(&self.source, target, info, &file)
                .await
                .map_err(|source| MirrorError::Target { target: target.clone(), source })?;
        }
        let complete = self.served.refresh(&FromMemory(&trusted), now).await?;
        self.show(complete);
        self.drop_unused(before.as_deref());
        Ok(true)
    }

    /// Brings the mirror up to date on a thread that may block, and says whether anything has changed.
    ///
    /// # Errors
    /// [`MirrorError`]; it is also remembered for [`Mirror::problem`].
    pub async fn refresh_on_its_own_thread(self: &Arc<Self>, now: Timestamp) -> Result<bool, MirrorError> {
        let mirror = self.clone();
        let runtime = tokio::runtime::Handle::current();
        let outcome = tokio::task::spawn_blocking(move || runtime.block_on(mirror.refresh(now))).await;
        let outcome = outcome.unwrap_or_else(|stopped| {
            Err(MirrorError::Directory { path: self.targets.clone(), source: io::Error::other(stopped) })
        });
        let problem = outcome.as_ref().err().map(|e| crate::failure::chain(e));
        *self.problem.write().unwrap_or_else(PoisonError::into_inner) = problem;
        outcome
    }

    /// Targets that the last refresh found to have been changed on this machine's disk.
    pub fn changed_here(&self) -> Vec<String> {
        self.changed_here.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes files that are no longer what was signed: nothing is better than something else.
    fn drop_changed(&self) {
        let mut changed = Vec::new();
        for (target, info) in self.current().iter().flat_map(|served| served.trusted.targets()) {
            let file = self.targets.join(&info.sha256);
            if !file.exists() || download::is_unchanged(&file, info).unwrap_or(false) {
                continue;
            }
            tracing::error!(target, file = %file.display(), "a file of the mirror is not what the vendor signed any more");
            if let Err(error) = std::fs::remove_file(&file) {
                tracing::error!(file = %file.display(), %error, "it cannot be removed");
            }
            changed.push(target.clone());
        }
        *self.changed_here.write().unwrap_or_else(PoisonError::into_inner) = changed;
    }

    fn is_whole(&self, trusted: &Trusted) -> bool {
        trusted.targets().values().all(|info| download::is_there(&self.targets.join(&info.sha256), info.length))
    }

    fn show(&self, trusted: Trusted) {
        let metadata = trusted.metadata().iter().map(|f| (f.name.clone(), Bytes::from(f.bytes.clone()))).collect();
        let targets = trusted
            .targets()
            .iter()
            .map(|(path, info)| (consistent_target_path(path, &info.sha256), self.targets.join(&info.sha256)))
            .collect();
        let served = Arc::new(Served { trusted, metadata, targets });
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(served);
    }

    /// Removes files that neither the present nor the previous state names; a PC may be in the middle of fetching one of those.
    fn drop_unused(&self, before: Option<&Served>) {
        let now = self.current();
        let states = [now.as_deref(), before];
        let used: Vec<&Path> = states.iter().flatten().flat_map(|s| s.targets.values().map(PathBuf::as_path)).collect();
        let Ok(entries) = std::fs::read_dir(&self.targets) else { return };
        for path in entries.flatten().map(|e| e.path()) {
            if !used.contains(&path.as_path())
                && let Err(error) = std::fs::remove_file(&path)
            {
                tracing::warn!(path = %path.display(), %error, "an old file of the mirror stays");
            }
        }
    }
}

/// A state that is complete in memory, as a repository to read from.
struct FromMemory<'a>(&'a Trusted);

impl Fetch for FromMemory<'_> {
    type Error = Infallible;

    fn fetch(&self, path: &str, _: u64) -> impl Future<Output = Result<Option<Vec<u8>>, Infallible>> + Send {
        let found = self.0.metadata().iter().find(|f| path.strip_prefix("metadata/") == Some(&f.name));
        std::future::ready(Ok(found.map(|f| f.bytes.clone())))
    }
}
