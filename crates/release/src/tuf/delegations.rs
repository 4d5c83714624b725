//! Delegated targets roles: which to load, and which of them speaks for a path.

use std::collections::BTreeSet;

use sigstore_tuf::{TargetFile, TrustedMetadataSet};

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

/// Walks all delegations, so that the catalog is whole.
///
/// A role that cannot be verified fails the refresh: leaving it out would let a mirror hide releases.
#[derive(Debug, Default)]
pub(super) struct Pending {
    done: BTreeSet<Edge>,
}

impl Pending {
    /// The next delegation whose role has to be loaded, or checked against another delegator.
    pub fn next(&mut self, set: &TrustedMetadataSet, limit: usize) -> Result<Option<Edge>, Error> {
        let mut delegators = vec!["targets".to_owned()];
        delegators.extend(self.done.iter().map(|e| e.role.clone()));
        for delegator in delegators {
            for role in delegated(set, &delegator) {
                let edge = Edge { role: role.to_owned(), delegator: delegator.clone() };
                if self.done.contains(&edge) {
                    continue;
                }
                if self.done.len() >= limit {
                    return Err(Error::TooMany { what: "delegations", limit: limit as u64 });
                }
                self.done.insert(edge.clone());
                return Ok(Some(edge));
            }
        }
        Ok(None)
    }
}

/// The roles that one delegates to and the snapshot pins; others are not part of the repository (yet).
fn delegated<'a>(set: &'a TrustedMetadataSet, delegator: &str) -> impl Iterator<Item = &'a str> {
    let roles = set.targets_role(delegator).and_then(|t| t.delegations.as_ref()).map(|d| d.roles.as_slice());
    let pinned = |role: &str| set.snapshot().is_some_and(|s| s.meta.contains_key(&format!("{role}.json")));
    roles.unwrap_or_default().iter().map(|r| r.name.as_str()).filter(move |name| !is_top_level(name) && pinned(name))
}

/// What [`Search`] needs next, or what it found.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// This role's metadata, verified; then ask again. Where it is not to be had, ask again without it, or give up.
    Load(Edge),
    /// The role that speaks for the path says this.
    Found(&'a TargetFile),
    /// No role speaks for the path.
    Nobody,
}

/// The search for the role that speaks for a path: pre-order, depth first, terminating delegations end it (TUF specification,
/// section 5.6.7). It does no I/O: it says which role to load, so that whoever needs one target loads no more than that takes.
#[derive(Debug)]
pub(super) struct Search<'p> {
    path: &'p str,
    to_visit: Vec<Edge>,
    visited: BTreeSet<String>,
    /// The role that was asked for last.
    at: Option<String>,
}

impl<'p> Search<'p> {
    pub fn new(path: &'p str) -> Self {
        Self { path, to_visit: vec![Edge::top("targets")], visited: BTreeSet::new(), at: None }
    }

    /// How many roles it has been through.
    pub fn visited(&self) -> usize {
        self.visited.len()
    }

    pub fn step<'a>(&mut self, set: &'a TrustedMetadataSet) -> Result<Step<'a>, Error> {
        if let Some(visiting) = self.at.take()
            && let Some(targets) = set.targets_role(&visiting)
        {
            if let Some(found) = targets.target(self.path) {
                return Ok(Step::Found(found));
            }
            let mut children = Vec::new();
            for child in targets.delegations.iter().flat_map(|d| &d.roles) {
                let matches = child.matches_path(self.path).map_err(|e| Error::rejected(&child.name, e))?;
                if matches && !is_top_level(&child.name) {
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
pub(super) fn resolve<'a>(set: &'a TrustedMetadataSet, path: &str) -> Result<Option<&'a TargetFile>, Error> {
    let mut search = Search::new(path);
    loop {
        match search.step(set)? {
            Step::Load(_) => {}
            Step::Found(file) => return Ok(Some(file)),
            Step::Nobody => return Ok(None),
        }
    }
}

/// Every path that any loaded role names.
pub(super) fn paths(set: &TrustedMetadataSet) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut roles = vec!["targets".to_owned()];
    while let Some(role) = roles.pop() {
        let Some(targets) = set.targets_role(&role) else { continue };
        if seen.insert(role) {
            paths.extend(targets.targets.keys().cloned());
            roles.extend(targets.delegations.iter().flat_map(|d| &d.roles).map(|r| r.name.clone()));
        }
    }
    paths
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
