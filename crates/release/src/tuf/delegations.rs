//! Delegated targets roles: which to load, which of them speaks for a path, and about what.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::catalog::Release;
use sha2::{Digest, Sha256};
use sigstore_tuf::{DelegatedRole, TargetFile, Targets, TrustedMetadataSet};

use super::Error;

/// A role, and who hands it its authority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub role: String,
    pub delegator: String,
}

impl Edge {
    pub fn top(role: &str) -> Self {
        Self { role: role.into(), delegator: "root".into() }
    }
}

/// Walks all delegations, breadth first, so that the catalog is whole.
///
/// A role that cannot be verified fails the refresh: leaving it out would let a mirror hide releases.
#[derive(Debug)]
pub(super) struct Pending {
    seen: BTreeSet<Edge>,
    waiting: VecDeque<Edge>,
    limit: usize,
}

impl Pending {
    /// Starts below the top-level targets, which must be loaded. At most `limit` delegations are followed.
    pub fn below_targets(set: &TrustedMetadataSet, limit: usize) -> Result<Self, Error> {
        let mut pending = Self { seen: BTreeSet::new(), waiting: VecDeque::new(), limit };
        pending.loaded(set, "targets")?;
        Ok(pending)
    }

    /// The next delegations whose roles have to be loaded, or checked against another delegator; nothing at the end.
    pub fn next(&mut self, at_most: usize) -> Vec<Edge> {
        self.waiting.drain(..at_most.min(self.waiting.len())).collect()
    }

    /// A role is loaded now: what it delegates to comes later. Roles that the snapshot does not pin are not part of the
    /// repository (yet).
    pub fn loaded(&mut self, set: &TrustedMetadataSet, delegator: &str) -> Result<(), Error> {
        for role in delegated(set.targets_role(delegator)) {
            let pinned = set.snapshot().is_some_and(|s| s.meta.contains_key(&format!("{}.json", role.name)));
            let edge = Edge { role: role.name.clone(), delegator: delegator.to_owned() };
            if !pinned || is_top_level(&role.name) || self.seen.contains(&edge) {
                continue;
            }
            if self.seen.len() >= self.limit {
                return Err(Error::TooMany { what: "delegations", limit: self.limit as u64 });
            }
            self.seen.insert(edge.clone());
            self.waiting.push_back(edge);
        }
        Ok(())
    }
}

/// What is said about a path, and by whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub file: &'a TargetFile,
    /// Not by the holder of the targets key, but by somebody who was given some paths.
    pub delegated: bool,
}

impl Said<'_> {
    /// Whether whoever speaks for the path may say this about it. A delegation is for paths; a path begins with the
    /// product, and one of three parts has the channel in the middle. So the key of one product, or of one channel, is good for
    /// nothing else, whatever it signs.
    pub fn may_be(&self, path: &str, release: &Release) -> bool {
        if !self.delegated {
            return true;
        }
        let mut parts = path.split('/');
        let product = parts.next() == Some(release.product.as_str());
        match (parts.next(), parts.next(), parts.next()) {
            (Some(_), None, None) => product,
            (Some(channel), Some(_), None) => product && channel == release.channel,
            _ => false,
        }
    }
}

/// What [`Search`] needs next, or what it found.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// This role's metadata, verified; then ask again. Where it is not to be had, ask again without it, or give up.
    Load(Edge),
    /// The role that speaks for the path says this.
    Found(Said<'a>),
    /// No role speaks for the path.
    Nobody,
}

/// The search for the role that speaks for a path: pre-order, depth first, terminating delegations end it (TUF specification,
/// section 5.6.7). It does no I/O: it says which role to load, so that whoever needs one target loads no more than that takes.
#[derive(Debug)]
pub(super) struct Search<'p> {
    path: &'p str,
    hash: String,
    to_visit: Vec<Edge>,
    visited: BTreeSet<String>,
    /// The role that was asked for last.
    at: Option<String>,
}

impl<'p> Search<'p> {
    pub fn new(path: &'p str) -> Self {
        let (to_visit, hash) = (vec![Edge::top("targets")], hex::encode(Sha256::digest(path)));
        Self { path, hash, to_visit, visited: BTreeSet::new(), at: None }
    }

    /// How many roles it has been through.
    pub fn visited(&self) -> usize {
        self.visited.len()
    }

    pub fn step<'a>(&mut self, set: &'a TrustedMetadataSet) -> Result<Step<'a>, Error> {
        if let Some(visiting) = self.at.take()
            && let Some(targets) = set.targets_role(&visiting)
        {
            if let Some(file) = targets.target(self.path) {
                return Ok(Step::Found(Said { file, delegated: visiting != "targets" }));
            }
            let mut children = Vec::new();
            for child in delegated(Some(targets)) {
                if matches(child, self.path, &self.hash)? && !is_top_level(&child.name) {
                    children.push(Edge { role: child.name.clone(), delegator: visiting.clone() });
                    if child.terminating {
                        self.to_visit.clear();
                        break;
                    }
                }
            }
            self.to_visit.extend(children.into_iter().rev());
        }
        while let Some(edge) = self.to_visit.pop() {
            if self.visited.insert(edge.role.clone()) {
                self.at = Some(edge.role.clone());
                return Ok(Step::Load(edge));
            }
        }
        Ok(Step::Nobody)
    }
}

/// The search over roles that are loaded already.
pub(super) fn resolve<'a>(set: &'a TrustedMetadataSet, path: &str) -> Result<Option<Said<'a>>, Error> {
    let mut search = Search::new(path);
    loop {
        match search.step(set)? {
            Step::Load(_) => {}
            Step::Found(said) => return Ok(Some(said)),
            Step::Nobody => return Ok(None),
        }
    }
}

/// Whether a delegation covers a path, whose SHA-256 is known already: there may be hundreds of bins.
fn matches(role: &DelegatedRole, path: &str, hash: &str) -> Result<bool, Error> {
    match &role.path_hash_prefixes {
        Some(prefixes) => Ok(prefixes.iter().any(|prefix| hash.starts_with(prefix.as_str()))),
        None => role.matches_path(path).map_err(|e| Error::rejected(&role.name, e)),
    }
}

fn delegated(targets: Option<&Targets>) -> &[DelegatedRole] {
    targets.and_then(|t| t.delegations.as_ref()).map(|d| d.roles.as_slice()).unwrap_or_default()
}

/// Every loaded role, the top-level one first.
pub(super) fn roles(set: &TrustedMetadataSet) -> BTreeMap<&str, &Targets> {
    let mut found = BTreeMap::new();
    let mut waiting = vec!["targets"];
    while let Some(name) = waiting.pop() {
        if let Some(targets) = set.targets_role(name)
            && found.insert(name, targets).is_none()
        {
            waiting.extend(delegated(Some(targets)).iter().map(|role| role.name.as_str()));
        }
    }
    found
}

/// Every path that any loaded role names.
pub(super) fn paths(set: &TrustedMetadataSet) -> BTreeSet<&str> {
    roles(set).values().flat_map(|targets| targets.targets.keys().map(String::as_str)).collect()
}

/// They share file names with the repository's own roles, so nobody may delegate to them.
fn is_top_level(role: &str) -> bool {
    matches!(role, "root" | "timestamp" | "snapshot" | "targets")
}

/// A role's or target's name as a file name: everything but unreserved characters percent-encoded (RFC 3986, section 2.3),
/// as python-tuf does.
pub fn encode_role(role: &str) -> String {
    let mut encoded = String::with_capacity(role.len());
    for byte in role.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_name_never_leaves_the_directory() {
        assert_eq!(encode_role("../a b"), "..%2Fa%20b");
        assert_eq!(encode_role("bin-0f_1.x~"), "bin-0f_1.x~");
    }
}
