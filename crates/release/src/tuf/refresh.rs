//! The client workflow, TUF specification 1.0.31 section 5. Numbers in comments are its sections.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use jiff::Timestamp;
use sigstore_tuf::{Error as TufError, Key, Metadata, Root, Targets, TrustedMetadataSet};

use super::{
    Error, Fetch, MetadataFile, Repository, Trusted,
    delegations::{Edge, Pending, encode_role},
    pinned,
    store::{TIMESTAMP, root_name, versioned_name},
};

/// Nothing has expired yet: for metadata that only sets a floor, or that is read as what was known once.
const IGNORE_EXPIRY: Timestamp = Timestamp::MIN;

/// Delegated roles that are fetched at the same time.
const AT_ONCE: usize = 8;

pub(super) async fn refresh<F: Fetch>(repo: &Repository, fetch: &F, now: Timestamp) -> Result<Trusted, Error> {
    let mut walk = Walk::top_level(repo, fetch, now).await?;
    let mut pending = Pending::below_targets(&walk.set, repo.limits.delegations)?;
    loop {
        let edges = pending.next(AT_ONCE);
        if edges.is_empty() {
            return walk.finish();
        }
        walk.delegated(fetch, &edges, now).await?; // 5.6.7.1
        for edge in edges {
            pending.loaded(&walk.set, &edge.role)?;
        }
    }
}

pub(super) fn known(repo: &Repository) -> Result<Option<Trusted>, Error> {
    let mut walk = Walk::start(repo)?;
    if !walk.stored_timestamp(repo.store.complete_name())? {
        return Ok(None);
    }
    for edge in [Edge::top("snapshot"), Edge::top("targets")] {
        if !walk.stored_role(&edge, IGNORE_EXPIRY)? {
            return Ok(None);
        }
    }
    let mut pending = Pending::below_targets(&walk.set, repo.limits.delegations)?;
    while let Some(edge) = pending.next(1).pop() {
        if !walk.stored_role(&edge, IGNORE_EXPIRY)? {
            return Ok(None);
        }
        pending.loaded(&walk.set, &edge.role)?;
    }
    walk.trusted().map(Some)
}

/// One pass through the workflow.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    repo: &'a Repository,
    pub set: TrustedMetadataSet,
    roots: Vec<MetadataFile>,
    timestamp: Vec<u8>,
    /// The other roles' bytes, by role name.
    roles: BTreeMap<String, Vec<u8>>,
}

impl<'a> Walk<'a> {
    /// All but the delegated roles (5.2 to 5.6).
    pub async fn top_level<F: Fetch>(repo: &'a Repository, fetch: &F, now: Timestamp) -> Result<Self, Error> {
        let mut walk = Self::start(repo)?;
        walk.newer_roots(fetch).await?;
        walk.set.check_root_expired(now).map_err(|e| Error::rejected("root.json", e))?; // 5.3.10
        walk.raise_floors()?;
        walk.newer_timestamp(fetch, now).await?;
        walk.role(fetch, &Edge::top("snapshot"), now).await?; // 5.5
        walk.role(fetch, &Edge::top("targets"), now).await?; // 5.6
        Ok(walk)
    }

    /// From the pinned root through those that were verified before (5.2).
    fn start(repo: &'a Repository) -> Result<Self, Error> {
        let set = pinned(&repo.pinned_root)?;
        let first = MetadataFile { name: root_name(set.root().version), bytes: repo.pinned_root.clone() };
        let mut walk = Self { repo, set, roots: vec![first], timestamp: Vec::new(), roles: BTreeMap::new() };
        while let Some(version) = walk.next_root() {
            let Some(bytes) = repo.store.read_root(version, repo.limits.root)? else { break };
            let name = root_name(version);
            if let Err(error) = walk.accept_root(&name, &bytes) {
                ignored(&name, &error);
                break;
            }
        }
        Ok(walk)
    }

    fn next_root(&self) -> Option<u64> {
        self.set.root().version.checked_add(1)
    }

    /// 5.3: one root after the other, each signed by its predecessor's keys and its own.
    async fn newer_roots<F: Fetch>(&mut self, fetch: &F) -> Result<(), Error> {
        let limits = &self.repo.limits;
        for _ in 0..=limits.root_rotations {
            let Some(version) = self.next_root() else { return Ok(()) };
            let name = root_name(version);
            let Some(bytes) = get(fetch, &name, limits.root).await? else { return Ok(()) };
            let before = floor_keys(self.set.root());
            self.accept_root(&name, &bytes).map_err(|e| Error::rejected(&name, e))?;
            if before != floor_keys(self.set.root()) {
                // 5.3.11: recover from versions that a thief of the old keys raised to the sky. Before the root is
                // written: after a power cut in between, it is fetched again and this is done again.
                self.repo.store.drop_floors()?;
            }
            self.repo.store.write_root(version, &bytes)?; // 5.3.8
        }
        Err(Error::TooMany { what: "new roots", limit: limits.root_rotations })
    }

    fn accept_root(&mut self, name: &str, bytes: &[u8]) -> Result<(), TufError> {
        check_distinct_keys(Metadata::<Root>::from_slice(bytes)?.signed())?;
        self.set.update_root(bytes)?;
        self.roots.push(MetadataFile { name: name.to_owned(), bytes: bytes.to_vec() });
        Ok(())
    }

    /// Makes what was verified before the floor: the last complete state, and above it what a refresh that broke
    /// off had already verified.
    fn raise_floors(&mut self) -> Result<(), Error> {
        for timestamp in [self.repo.store.complete_name(), TIMESTAMP] {
            if self.stored_timestamp(timestamp)? {
                self.stored_role(&Edge::top("snapshot"), IGNORE_EXPIRY)?;
            }
        }
        Ok(())
    }

    /// Whether the file was there and verified. The same one again counts.
    fn stored_timestamp(&mut self, name: &str) -> Result<bool, Error> {
        let Some(bytes) = self.repo.store.read(name, self.repo.limits.timestamp)? else { return Ok(false) };
        match self.set.update_timestamp(&bytes, IGNORE_EXPIRY) {
            Ok(()) => self.timestamp = bytes,
            Err(TufError::EqualVersion { .. }) => {}
            Err(error) => {
                ignored(name, &error);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// 5.4
    async fn newer_timestamp<F: Fetch>(&mut self, fetch: &F, now: Timestamp) -> Result<(), Error> {
        let bytes = required(fetch, "timestamp.json", self.repo.limits.timestamp).await?;
        match self.set.update_timestamp(&bytes, now) {
            Ok(()) => {
                self.repo.store.write(TIMESTAMP, &bytes)?; // 5.4.5
                self.timestamp = bytes;
            }
            Err(TufError::EqualVersion { .. }) => {} // 5.4.3.1: keep the one we have
            Err(error) => return Err(Error::rejected("timestamp.json", error)),
        }
        // The one we have may have expired since it was verified.
        self.set.check_timestamp_expired(now).map_err(|e| Error::rejected("timestamp.json", e))
    }

    /// One of the roles that another one pins: from the disk when that is the pinned one, else from the repository.
    pub async fn role<F: Fetch>(&mut self, fetch: &F, edge: &Edge, now: Timestamp) -> Result<(), Error> {
        if self.stored_role(edge, now)? {
            return Ok(());
        }
        let (name, pin) = self.published(edge)?;
        let bytes = required(fetch, &name, pin.limit).await?;
        self.take(edge, &name, bytes, now)
    }

    /// Some delegated roles: of hundreds of bins, those that have changed are fetched, several at a time.
    async fn delegated<F: Fetch>(&mut self, fetch: &F, edges: &[Edge], now: Timestamp) -> Result<(), Error> {
        let mut wanted = Vec::new();
        for edge in edges {
            if !self.stored_role(edge, now)? {
                let (name, pin) = self.published(edge)?;
                wanted.push((edge, name, pin.limit));
            }
        }
        let fetched = wanted.iter().map(|(_, name, limit)| required(fetch, name, *limit));
        let fetched = join_all(fetched).await;
        for ((edge, name, _), bytes) in wanted.into_iter().zip(fetched) {
            self.take(edge, &name, bytes?, now)?;
        }
        Ok(())
    }

    /// Verifies what was fetched, and keeps it.
    fn take(&mut self, edge: &Edge, name: &str, bytes: Vec<u8>, now: Timestamp) -> Result<(), Error> {
        let others = self.roles.iter().filter(|(role, _)| **role != edge.role).map(|(_, bytes)| bytes.len() as u64);
        if others.sum::<u64>().saturating_add(bytes.len() as u64) > self.repo.limits.all {
            return Err(Error::TooLong { name: "the repository's metadata".into(), limit: self.repo.limits.all });
        }
        self.accept(edge, bytes, now).map_err(|e| Error::rejected(name, e))?;
        let pin = self.pin(&edge.role)?;
        let kept = self.roles.get(&edge.role).map(Vec::as_slice).unwrap_or_default();
        self.repo.store.write(&self.repo.store.role_name(&edge.role, pin.version), kept)
    }

    /// The pinned version of a role, under the name that it is published with.
    fn published(&self, edge: &Edge) -> Result<(String, Pin), Error> {
        let pin = self.pin(&edge.role)?;
        let name = if self.set.root().consistent_snapshot {
            versioned_name(&edge.role, pin.version)
        } else {
            format!("{}.json", encode_role(&edge.role))
        };
        Ok((name, pin))
    }

    /// Whether the pinned version of a role is on disk and verifies.
    fn stored_role(&mut self, edge: &Edge, now: Timestamp) -> Result<bool, Error> {
        if self.set.targets_role(&edge.role).is_some() && edge.role != "targets" {
            // A delegated role that is reached a second time, by another delegation with other keys.
            return Ok(self.set.verify_delegated_targets(&edge.role, &edge.delegator, now).is_ok());
        }
        // A pin that cannot be followed is no reason to stop here: it is one when the role is fetched, and a newer
        // timestamp may be on its way.
        let Ok(pin) = self.pin(&edge.role) else { return Ok(false) };
        let name = self.repo.store.role_name(&edge.role, pin.version);
        let Some(bytes) = self.repo.store.read(&name, pin.limit)? else { return Ok(false) };
        match self.accept(edge, bytes, now) {
            Ok(()) => Ok(true),
            Err(error) => {
                ignored(&name, &error);
                Ok(false)
            }
        }
    }

    fn accept(&mut self, edge: &Edge, bytes: Vec<u8>, now: Timestamp) -> Result<(), TufError> {
        match edge.role.as_str() {
            "snapshot" => self.set.update_snapshot(&bytes, now)?,
            "targets" => {
                check_distinct_delegation_keys(&bytes)?;
                self.set.update_targets(&bytes, now).map(drop)?;
            }
            role => {
                check_distinct_delegation_keys(&bytes)?;
                self.set.update_delegated_targets(&bytes, role, &edge.delegator, now).map(drop)?;
            }
        }
        self.roles.insert(edge.role.clone(), bytes);
        Ok(())
    }

    /// Which version of a role is wanted, and how long it may be.
    fn pin(&self, role: &str) -> Result<Pin, Error> {
        let (meta, cap) = if role == "snapshot" {
            (self.set.timestamp().and_then(|t| t.snapshot_meta()), self.repo.limits.snapshot)
        } else {
            (self.set.snapshot().and_then(|s| s.meta.get(&format!("{role}.json"))), self.repo.limits.targets)
        };
        let name = || format!("{role}.json");
        let meta = meta.ok_or_else(|| Error::Missing { name: name() })?;
        let length = meta.length.unwrap_or(cap);
        if length > cap {
            return Err(Error::TooLong { name: name(), limit: cap });
        }
        Ok(Pin { version: meta.version, limit: length })
    }

    /// The refresh went through: from now on this is what is known.
    fn finish(self) -> Result<Trusted, Error> {
        let trusted = self.trusted()?;
        let store = &self.repo.store;
        let mut names = BTreeSet::new();
        for role in self.roles.keys() {
            names.insert(store.role_name(role, self.pin(role)?.version));
        }
        self.complete()?;
        store.keep_only(&names)?;
        Ok(trusted)
    }

    /// Notes what the next refresh may not fall behind.
    pub fn complete(&self) -> Result<(), Error> {
        self.repo.store.write_complete(&self.timestamp, self.repo.limits.timestamp)
    }

    fn trusted(&self) -> Result<Trusted, Error> {
        let consistent = self.set.root().consistent_snapshot;
        let mut files = self.roots.clone();
        for (role, bytes) in &self.roles {
            let encoded = encode_role(role);
            let name =
                if consistent { versioned_name(role, self.pin(role)?.version) } else { format!("{encoded}.json") };
            files.push(MetadataFile { name, bytes: bytes.clone() });
        }
        files.push(MetadataFile { name: "timestamp.json".into(), bytes: self.timestamp.clone() });
        Trusted::read(&self.set, files)
    }
}

struct Pin {
    version: u64,
    limit: u64,
}

fn ignored(name: &str, error: &TufError) {
    tracing::warn!(name, %error, "stored metadata does not verify and counts as absent");
}

async fn get<F: Fetch>(fetch: &F, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    let name = format!("metadata/{name}");
    match fetch.fetch(&name, limit).await {
        Err(source) => Err(Error::Fetch { name, source: source.into() }),
        Ok(Some(bytes)) if bytes.len() as u64 > limit => Err(Error::TooLong { name, limit }),
        Ok(found) => Ok(found),
    }
}

async fn required<F: Fetch>(fetch: &F, name: &str, limit: u64) -> Result<Vec<u8>, Error> {
    get(fetch, name, limit).await?.ok_or_else(|| Error::Missing { name: format!("metadata/{name}") })
}

/// The keys whose replacement drops the floors.
fn floor_keys(root: &Root) -> Vec<BTreeMap<String, Option<Key>>> {
    ["timestamp", "snapshot"]
        .iter()
        .map(|role| {
            let ids = root.role(role).map(|r| r.keyids.as_slice()).unwrap_or_default();
            ids.iter().map(|id| (id.clone(), root.keys.get(id).cloned())).collect()
        })
        .collect()
}

/// A threshold counts keys, so one key under two names would count twice.
pub(super) fn check_distinct_keys(root: &Root) -> Result<(), TufError> {
    root.roles.iter().try_for_each(|(role, keys)| distinct(role, &keys.keyids, &root.keys))
}

/// The same for the roles that a targets role delegates to.
fn check_distinct_delegation_keys(bytes: &[u8]) -> Result<(), TufError> {
    let targets = Metadata::<Targets>::from_slice(bytes)?;
    let Some(delegations) = &targets.signed().delegations else { return Ok(()) };
    delegations.roles.iter().try_for_each(|role| distinct(&role.name, &role.keyids, &delegations.keys))
}

fn distinct(role: &str, ids: &[String], keys: &BTreeMap<String, Key>) -> Result<(), TufError> {
    let mut seen = BTreeSet::new();
    for id in ids.iter().collect::<BTreeSet<_>>() {
        if let Some(key) = keys.get(id)
            && !seen.insert(same_key(key))
        {
            return Err(TufError::Malformed(format!("role {role} names one key twice")));
        }
    }
    Ok(())
}

/// What two writings of one key have in common: hexadecimal in either case, PEM with any line breaks.
fn same_key(key: &Key) -> String {
    let public = key.keyval.public.trim();
    if public.starts_with("-----BEGIN") {
        public.lines().filter(|l| !l.starts_with("-----")).flat_map(|l| l.split_whitespace()).collect()
    } else {
        public.to_ascii_lowercase()
    }
}
