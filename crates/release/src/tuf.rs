//! What the vendor signed: reading a TUF repository with nothing trusted but the root pinned at installation.
//!
//! The client workflow of the TUF specification 1.0.31, section 5, over `sigstore-tuf`'s verification core, which
//! does no I/O. [`Repository`] walks it, keeps what was verified in a directory, and hands out [`Trusted`]; [`OnDemand`] is the
//! same walk for whoever wants a target and no more of the repository than that takes.
//!
//! | attack | answer |
//! |---|---|
//! | forged metadata, or too few signatures | thresholds from the pinned root on; a key counts once |
//! | an old state served again (rollback) | what was verified before is on disk and is the floor, across restarts |
//! | an old state kept for ever (freeze) | every role's expiry against the `now` that the caller passes in |
//! | metadata of several states mixed | the timestamp pins the snapshot, the snapshot pins the targets |
//! | endless data | [`Limits`] on each file; [`Fetch`] is told the limit, and its answer is measured again |
//! | an endless chain of roots | at most [`Limits::root_rotations`] a refresh |
//! | the directory of trusted metadata altered or cut short | read back only through the same verification |
//! | a stolen online key raised versions to the sky (fast-forward) | a root that replaces the timestamp's or the snapshot's keys drops their floors |
//! | a package with other bytes, or endless ones | [`Verifier`]: length and SHA-256, while it streams |
//! | a delegated role speaks for paths that it was not given | nobody speaks for them |
//! | the key of one product, or of one channel, signs a release of another | skipped: the path says which it may be |
//! | thousands of delegated roles, each of megabytes | [`Limits::delegations`], [`Limits::all`] |
//! | target names that climb out of a mirror's directory | skipped; see [`Trusted::skipped`] |

mod delegations;
mod download;
mod error;
mod fetch;
mod on_demand;
mod refresh;
mod store;
mod trusted;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
pub use sigstore_tuf::TargetFile as SignedTarget;
use sigstore_tuf::TrustedMetadataSet;

/// What verifies signatures here unless the program has installed a provider of its own; for one that wraps it.
pub use crate::crypto::provider as cryptography;
pub use delegations::encode_role as encode_name;
pub use download::{Mismatch, Verifier, VerifyingWriter, consistent_target_path};
pub use error::{Error, Verdict};
pub use fetch::{DirectoryFetch, Fetch};
pub use on_demand::{Lookup, OnDemand};
pub use trusted::{INSTALLER, MetadataFile, RELEASE, Skipped, TargetInfo, Trusted};

/// Upper bounds of what a repository can make us fetch. Bytes, unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one `N.root.json`.
    pub root: u64,
    /// Of `timestamp.json`.
    pub timestamp: u64,
    /// Of `N.snapshot.json`, where the timestamp does not name its length.
    pub snapshot: u64,
    /// Of `N.targets.json` and each delegated role, where the snapshot does not name its length.
    pub targets: u64,
    /// New roots in one refresh.
    pub root_rotations: u64,
    /// Delegated roles in the whole repository: 256 bins, and products besides.
    pub delegations: usize,
    /// Of snapshot, targets and all delegated roles together.
    pub all: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            root: 512 * 1024,
            timestamp: 16 * 1024,
            snapshot: 2 * 1024 * 1024,
            targets: 8 * 1024 * 1024,
            root_rotations: 256,
            delegations: 512,
            all: 48 * 1024 * 1024,
        }
    }
}

/// A vendor's repository as one machine knows it: the pinned root, and a directory with all that was ever verified.
///
/// The directory belongs to this machine's one reader; nobody else may be able to write there. It is the state: a
/// value of this type holds nothing that is lost with it.
#[derive(Debug, Clone)]
pub struct Repository {
    store: store::Store,
    pinned_root: Vec<u8>,
    limits: Limits,
}

impl Repository {
    /// Opens it with the default [`Limits`]. `directory` is made when it does not exist; `pinned_root` is the
    /// `root.json` of the site profile, verbatim.
    ///
    /// # Errors
    /// [`Error::PinnedRoot`] when that root is not a root signed by its own keys; [`Error::Store`].
    pub fn open(directory: &Path, pinned_root: &[u8]) -> Result<Self, Error> {
        Self::with_limits(directory, pinned_root, Limits::default())
    }

    /// As [`Repository::open`], with other limits.
    ///
    /// # Errors
    /// The same.
    pub fn with_limits(directory: &Path, pinned_root: &[u8], limits: Limits) -> Result<Self, Error> {
        pinned(pinned_root)?;
        let store = store::Store::open(directory, store::Layout::History)?;
        Ok(Self { store, pinned_root: pinned_root.to_vec(), limits })
    }

    /// Where the verified metadata is kept.
    pub fn directory(&self) -> PathBuf {
        self.store.directory().to_owned()
    }

    /// Brings the trusted metadata up to date and returns it. `now` is the effective time, which never runs backwards.
    ///
    /// When it fails, whatever was verified on the way is kept as a floor, and [`Repository::known`] still has the last complete state.
    /// It writes a handful of small files and waits for the disk, some milliseconds each.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Expired`] says that nothing new may be installed.
    pub async fn refresh<F: Fetch>(&self, fetch: &F, now: Timestamp) -> Result<Trusted, Error> {
        refresh::refresh(self, fetch, now).await
    }

    /// The last complete state that was verified here, without any network. It may have expired since: ask
    /// [`Trusted::is_expired`] before anything new is fetched or staged on its word.
    ///
    /// `None` when no refresh ever succeeded, or a new root has replaced the keys it was signed with.
    ///
    /// # Errors
    /// [`Error::Store`], when the directory cannot be read. A file there that does not verify is no error: it counts
    /// as absent.
    pub fn known(&self) -> Result<Option<Trusted>, Error> {
        refresh::known(self)
    }
}

/// Whether these bytes can be pinned: a root that is signed by a threshold of its own keys, no key counted twice.
///
/// # Errors
/// [`Error::PinnedRoot`].
pub fn check_root(bytes: &[u8]) -> Result<(), Error> {
    pinned(bytes).map(drop)
}

/// Reads a `root.json` that is trusted because of where it came from.
fn pinned(bytes: &[u8]) -> Result<TrustedMetadataSet, Error> {
    crate::crypto::install();
    let set = TrustedMetadataSet::from_root(bytes).map_err(Error::PinnedRoot)?;
    refresh::check_distinct_keys(set.root()).map_err(Error::PinnedRoot)?;
    Ok(set)
}
