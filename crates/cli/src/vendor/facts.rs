//! What a verified repository says of its roles: keys, thresholds, expiry, who speaks for what.

use std::collections::BTreeMap;

use anyhow::Context;
use protocol::Timestamp;
use release::tuf::Trusted;
use serde::Serialize;
use serde_json::Value;

use super::{
    authority::{authorities, delegated_roles, delegation_of, name},
    editor::expires,
    envelope::{Authority, Envelope},
    key_ring::ROLES,
};

/// One role.
#[derive(Debug, Clone, Serialize)]
pub struct RoleFacts {
    pub role: String,
    pub version: u64,
    pub expires: Timestamp,
    pub threshold: usize,
    /// Ids.
    pub keys: Vec<String>,
    /// Ids of those that have signed this version.
    pub signed_by: Vec<String>,
    /// For a delegated role: which paths it speaks for, or the beginnings of their hashes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Value>,
    /// Targets that it lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<usize>,
}

/// All roles: the four, then those that the targets delegate to.
pub fn roles(state: &Trusted) -> anyhow::Result<Vec<RoleFacts>> {
    // Several roots are among the files; the last one is in force.
    let mut files = BTreeMap::new();
    for file in state.metadata() {
        let stem = file.name.strip_suffix(".json").unwrap_or(&file.name);
        let role = stem.split_once('.').map_or(stem, |(_, role)| role);
        let envelope = Envelope::parse(role, &file.bytes)?;
        let version = envelope.version()?;
        if files.get(role).is_none_or(|(known, _)| *known < version) {
            files.insert(role.to_owned(), (version, envelope));
        }
    }
    let file = |role: &str| files.get(role).map(|(_, e)| e).with_context(|| format!("the repository has no {role}"));
    let root = &file("root")?.signed;
    let mut all = Vec::new();
    for role in ROLES {
        all.push(facts(file(role)?, &authorities(root, role, "root")?, None)?);
    }
    let targets = &file("targets")?.signed;
    for entry in delegated_roles(targets) {
        let Some(role) = name(entry) else { continue };
        let (Ok(envelope), Some(authority)) = (file(role), delegation_of(targets, role)) else { continue };
        let paths = entry.get("paths").or_else(|| entry.get("path_hash_prefixes"));
        all.push(facts(envelope, &authority, paths.cloned())?);
    }
    Ok(all)
}

fn facts(envelope: &Envelope, authority: &Authority, paths: Option<Value>) -> anyhow::Result<RoleFacts> {
    Ok(RoleFacts {
        role: envelope.role.clone(),
        version: envelope.version()?,
        expires: expires(&envelope.signed)?,
        threshold: authority.threshold,
        keys: authority.ids().map(str::to_owned).collect(),
        signed_by: envelope.signers(authority)?.into_iter().collect(),
        paths,
        targets: envelope.signed.get("targets").and_then(Value::as_object).map(serde_json::Map::len),
    })
}
