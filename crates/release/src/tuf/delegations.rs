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

/// The role that speaks for a path, and what it says: pre-order, depth first, terminating delegations end the search
/// (TUF specification, section 5.6.7).
pub(super) fn resolve<'a>(set: &'a TrustedMetadataSet, path: &str) -> Result<Option<Said<'a>>, Error> {
    let hash = hex::encode(Sha256::digest(path));
    let mut to_visit = vec!["targets"];
    let mut visited = BTreeSet::new();
    while let Some(role) = to_visit.pop() {
        let Some(targets) = set.targets_role(role) else { continue };
        if !visited.insert(role) {
            continue;
        }
        if let Some(file) = targets.target(path) {
            return Ok(Some(Said { file, delegated: role != "targets" }));
        }
        let mut children = Vec::new();
        for child in delegated(Some(targets)) {
            if matches(child, path, &hash)? && !is_top_level(&child.name) {
                children.push(child.name.as_str());
                if child.terminating {
                    to_visit.clear();
                    break;
                }
            }
        }
        to_visit.extend(children.into_iter().rev());
    }
    Ok(None)
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

/// A role's name as a file name: everything but unreserved characters percent-encoded (RFC 3986, section 2.3), as
/// python-tuf does.
pub(super) fn encode_role(role: &str) -> String {
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
