//! A repository of which no more is read than a look-up needs.
//!
//! The updater wants the whole catalog, so [`super::Repository`] loads every delegated role. Whoever wants one target by
//! its name loads only the roles that the search for it passes. Both are the same walk over the same verification; only the
//! names of the kept files differ, and the order in which delegated roles come.

use std::path::Path;

use jiff::Timestamp;
use sigstore_tuf::TargetFile;

use super::{
    Error, Fetch, Limits, Repository,
    delegations::{Search, Step},
    pinned,
    refresh::Walk,
    store::{Layout, PLAIN_ROOT, Store},
};

/// A repository as one directory knows it, with one file a role: `root.json`, `timestamp.json`, and so on.
///
/// The directory belongs to one reader; nobody else may be able to write there.
#[derive(Debug, Clone)]
pub struct OnDemand {
    repo: Repository,
}

impl OnDemand {
    /// Begins with a root that is trusted because of where it came from. Nothing is fetched.
    ///
    /// # Errors
    /// [`Error::PinnedRoot`] when it is not a root signed by its own keys; [`Error::Store`].
    pub fn init(directory: &Path, root: &[u8]) -> Result<Self, Error> {
        pinned(root)?;
        Store::open(directory, Layout::Plain)?.write(PLAIN_ROOT, root)?;
        Self::open(directory)
    }

    /// Goes on with what a directory holds, with the default [`Limits`].
    ///
    /// # Errors
    /// [`Error::Missing`] when it was never begun; [`Error::PinnedRoot`]; [`Error::Store`].
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let (store, limits) = (Store::open(directory, Layout::Plain)?, Limits::default());
        let root = store.read(PLAIN_ROOT, limits.root)?.ok_or_else(|| Error::Missing { name: PLAIN_ROOT.into() })?;
        pinned(&root)?;
        Ok(Self { repo: Repository { store, pinned_root: root, limits } })
    }

    /// Brings the top-level roles up to date. What was verified is kept, also when a later step fails.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn refresh<'a, F: Fetch>(&'a self, fetch: &'a F, now: Timestamp) -> Result<Lookup<'a, F>, Error> {
        let walk = Walk::top_level(&self.repo, fetch, now).await?;
        walk.complete()?;
        Ok(Lookup { walk, fetch, now, limit: self.repo.limits.delegations })
    }
}

/// An up-to-date repository that can be asked for targets.
#[derive(Debug)]
pub struct Lookup<'a, F> {
    walk: Walk<'a>,
    fetch: &'a F,
    now: Timestamp,
    limit: usize,
}

impl<F: Fetch> Lookup<'_, F> {
    /// What the role that speaks for a target says about it; `None` when nobody does.
    ///
    /// # Errors
    /// When a role that the search passes cannot be had or verified: then nobody may speak in its stead.
    pub async fn target(&mut self, path: &str) -> Result<Option<TargetFile>, Error> {
        let mut search = Search::new(path);
        loop {
            let edge = match search.step(&self.walk.set)? {
                Step::Found(said) => return Ok(Some(said.file.clone())),
                Step::Nobody => return Ok(None),
                Step::Load(edge) => edge,
            };
            // The top-level targets role is not a delegation.
            if search.visited() > self.limit.saturating_add(1) {
                return Err(Error::TooMany { what: "delegations", limit: self.limit as u64 });
            }
            if edge.role != "targets" {
                self.walk.role(self.fetch, &edge, self.now).await?;
            }
        }
    }

    /// Whether a target's file carries its hash in its name (TUF specification, section 5.7.3).
    pub fn consistent_snapshot(&self) -> bool {
        self.walk.set.root().consistent_snapshot
    }
}
