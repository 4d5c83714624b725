//! One verified state of a repository.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use protocol::catalog::{Catalog, Entry, Release};
use serde::Deserialize;
use sigstore_tuf::{TargetFile, TrustedMetadataSet};

use super::{
    Error,
    delegations::{paths, resolve, roles},
};
use crate::safe_path;

/// The member of a target's `custom` that makes it a release: a package that updaters install.
pub const RELEASE: &str = "lockstep";

/// The member of a target's `custom` that makes it an installer, such as an MSI: a file that brings that release to a computer by
/// the system's own means. People get it from a site's integration page; no updater ever takes one for a package.
pub const INSTALLER: &str = "lockstep-installer";

/// What the vendor signed about a target's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetInfo {
    /// Bytes.
    pub length: u64,
    /// Lower-case hexadecimal, 64 characters.
    pub sha256: String,
    /// The target's `custom` member, `Null` when it has none.
    pub custom: serde_json::Value,
}

/// A metadata file under the name that it is published with, byte for byte as it was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataFile {
    /// Below `metadata/`, such as `3.snapshot.json`.
    pub name: String,
    /// As fetched.
    pub bytes: Vec<u8>,
}

/// A signed target that cannot be used, which is no fault of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The target path. Signed, but not safe as a file name or on a terminal: escape it.
    pub target: String,
    /// Why.
    pub why: String,
}

/// One verified state of a repository, whole.
#[derive(Debug, Clone)]
pub struct Trusted {
    catalog: Catalog,
    installers: Vec<Entry>,
    targets: BTreeMap<String, TargetInfo>,
    skipped: Vec<Skipped>,
    metadata: Vec<MetadataFile>,
    expires: Timestamp,
    version: u64,
}

impl Trusted {
    pub(super) fn read(set: &TrustedMetadataSet, metadata: Vec<MetadataFile>) -> Result<Self, Error> {
        let mut state = Self {
            catalog: Catalog::default(),
            installers: Vec::new(),
            targets: BTreeMap::new(),
            skipped: Vec::new(),
            metadata,
            expires: earliest_expiry(set),
            version: set.timestamp().map_or(0, |t| t.version),
        };
        let mut releases = BTreeSet::new();
        for path in paths(set) {
            // A role may name paths that it was not given; then nobody speaks for them.
            let Some(said) = resolve(set, path)? else { continue };
            let info = match usable(path, said.file) {
                Ok(info) => info,
                Err(why) => {
                    state.skip(path, why);
                    continue;
                }
            };
            let kinds = [RELEASE, INSTALLER].map(|kind| (kind, info.custom.get(kind)));
            if let Some((kind, Some(member))) = kinds.into_iter().find(|(_, member)| member.is_some()) {
                match Release::deserialize(member) {
                    Err(error) => state.skip(path, format!("its release facts cannot be read: {error}")),
                    Ok(release) if !said.may_be(path, &release) => {
                        state.skip(path, "whoever signed it was not given this product and channel".into());
                    }
                    Ok(release) if !releases.insert((kind, identity(&release))) => {
                        state.skip(path, "another target is the same release".into());
                    }
                    Ok(release) => {
                        let (target, sha256) = (path.to_owned(), info.sha256.clone());
                        let entry = Entry { target, length: info.length, sha256, release };
                        let entries = if kind == RELEASE { &mut state.catalog.entries } else { &mut state.installers };
                        entries.push(entry);
                    }
                }
            }
            state.targets.insert(path.to_owned(), info);
        }
        Ok(state)
    }

    fn skip(&mut self, target: &str, why: String) {
        tracing::warn!(?target, why, "a signed target is skipped");
        self.skipped.push(Skipped { target: target.to_owned(), why });
    }

    /// Every release: each target whose `custom.lockstep` is a [`Release`], sorted by target path.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Every installer ([`INSTALLER`]), and which release it brings, sorted by target path.
    pub fn installers(&self) -> &[Entry] {
        &self.installers
    }

    /// What was signed about one target.
    pub fn target(&self, path: &str) -> Option<&TargetInfo> {
        self.targets.get(path)
    }

    /// All usable targets, releases or not, by path. Each path is safe as a relative file name ([`safe_path::check`]).
    pub fn targets(&self) -> &BTreeMap<String, TargetInfo> {
        &self.targets
    }

    /// Signed targets that cannot be used: an unsafe path, no SHA-256, release facts that this program cannot
    /// read, or that a delegated role has no right to (the last two are still among [`Trusted::targets`]).
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// The earliest expiry of any role.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Whether any role has expired: then nothing new may be fetched or staged on its word.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires < now
    }

    /// The timestamp's version: it grows with every state that the vendor publishes.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Every metadata file of this state, for a mirror to serve: all roots from the pinned one on, delegated
    /// roles, `N.snapshot.json`, `N.targets.json`, and `timestamp.json` last. Where a mirror writes files, it writes them in this order.
    pub fn metadata(&self) -> &[MetadataFile] {
        &self.metadata
    }
}

fn identity(r: &Release) -> String {
    format!("{} {} {} {}", r.product, r.version, r.platform, r.channel)
}

fn usable(path: &str, file: &TargetFile) -> Result<TargetInfo, String> {
    safe_path::check(path).map_err(|e| e.to_string())?;
    let sha256 = file.hashes.get("sha256").ok_or("it is signed without a SHA-256")?;
    if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err("its SHA-256 is not 64 lower-case hexadecimal digits".into());
    }
    let custom = file.custom.clone().unwrap_or_default();
    Ok(TargetInfo { length: file.length, sha256: sha256.clone(), custom })
}

fn earliest_expiry(set: &TrustedMetadataSet) -> Timestamp {
    let mut expiries = vec![set.root().expires];
    expiries.extend(set.timestamp().map(|t| t.expires));
    expiries.extend(set.snapshot().map(|s| s.expires));
    expiries.extend(roles(set).values().map(|targets| targets.expires));
    expiries.into_iter().min().unwrap_or(Timestamp::MIN)
}
