//! A published state: the newest version of every role, as it was signed.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context;
use release::tuf::{MetadataFile, Trusted};
use serde_json::{Map, Value};

use super::{
    authority::{delegated_roles, name},
    envelope::{Envelope, version},
};

/// What clients have. Empty before the first publication.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub root: Option<Envelope>,
    pub targets: Option<Envelope>,
    /// The roles that the targets delegate to, and that are published.
    pub delegated: BTreeMap<String, Envelope>,
    /// What the snapshot pins, also of roles that are delegated no more.
    pub meta: Map<String, Value>,
    pub snapshot_version: u64,
    pub timestamp_version: u64,
}

impl State {
    /// Only the first root, signed but not published.
    pub fn of_root(bytes: &[u8]) -> anyhow::Result<Self> {
        Ok(Self { root: Some(Envelope::parse("root", bytes)?), ..Self::default() })
    }

    /// What was verified.
    pub fn verified(published: &Trusted) -> anyhow::Result<Self> {
        Self::read(&|name: &str| Ok(published.metadata().iter().find(|f| f.name == name).map(|f| f.bytes.clone())), {
            let roots = published.metadata().iter().filter_map(|f| f.name.strip_suffix(".root.json")?.parse().ok());
            roots.max().context("the repository has no root")?
        })
    }

    /// What lies in a repository's directory, unverified: for a hint before anything is signed. `None`: nothing is published.
    pub fn unverified(repo: &Path) -> anyhow::Result<Option<Self>> {
        let metadata = repo.join("metadata");
        if !metadata.join("timestamp.json").exists() {
            return Ok(None);
        }
        let names = fs::read_dir(&metadata).with_context(|| format!("cannot read {}", metadata.display()))?;
        let names = names.filter_map(|f| f.ok()?.file_name().into_string().ok());
        let newest = names.filter_map(|name| name.strip_suffix(".root.json")?.parse().ok()).max();
        let read = |name: &str| {
            let path = metadata.join(name);
            match fs::read(&path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
            }
        };
        Self::read(&read, newest.context("the repository has no root")?).map(Some)
    }

    fn read(file: &dyn Fn(&str) -> anyhow::Result<Option<Vec<u8>>>, root: u64) -> anyhow::Result<Self> {
        let required = |role: &str, file_name: &str| {
            let bytes = file(file_name)?.with_context(|| format!("the repository has no {file_name}"))?;
            Envelope::parse(role, &bytes).with_context(|| format!("cannot use {file_name}"))
        };
        let pinned = |meta: &Map<String, Value>, role: &str| -> Option<u64> {
            meta.get(&format!("{role}.json"))?.get("version")?.as_u64()
        };
        let timestamp = required("timestamp", "timestamp.json")?;
        let snapshot_version = timestamp.signed.pointer("/meta/snapshot.json/version").and_then(Value::as_u64);
        let snapshot_version = snapshot_version.context("the timestamp names no snapshot")?;
        let snapshot = required("snapshot", &format!("{snapshot_version}.snapshot.json"))?;
        let meta = snapshot.signed.get("meta").and_then(Value::as_object).cloned().unwrap_or_default();
        let targets = pinned(&meta, "targets").context("the snapshot names no targets")?;
        let targets = required("targets", &format!("{targets}.targets.json"))?;
        let mut delegated = BTreeMap::new();
        for role in delegated_roles(&targets.signed).filter_map(name) {
            if let Some(version) = pinned(&meta, role) {
                delegated.insert(role.to_owned(), required(role, &format!("{version}.{role}.json"))?);
            }
        }
        Ok(Self {
            root: Some(required("root", &format!("{root}.root.json"))?),
            targets: Some(targets),
            delegated,
            meta,
            snapshot_version,
            timestamp_version: version(&timestamp.signed)?,
        })
    }

    /// The version of a role that the snapshot pins.
    pub fn pinned_version(&self, role: &str) -> Option<u64> {
        self.meta.get(&format!("{role}.json"))?.get("version")?.as_u64()
    }

    /// The roles that offline keys sign.
    pub fn offline(&self) -> impl Iterator<Item = &Envelope> {
        self.root.iter().chain(&self.targets).chain(self.delegated.values())
    }

    /// Their files.
    pub fn offline_files(&self) -> anyhow::Result<Vec<MetadataFile>> {
        self.offline().map(Envelope::file).collect()
    }

    /// Every target, with what is said about it.
    pub fn targets(&self) -> impl Iterator<Item = (&String, &Value)> {
        let roles = self.targets.iter().chain(self.delegated.values());
        roles.filter_map(|role| role.signed.get("targets")?.as_object()).flatten()
    }
}
