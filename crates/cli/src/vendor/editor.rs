//! The signing editor. What is not signed cannot be written: only [`SignedRepository`] has files.
//!
//! ```text
//! Edit ──sign_offline──► TargetsSigned ──sign_online──► SignedRepository ──► files, in the order to write them
//!   └────keep_offline───────┘  (renews the timestamp, with the online keys alone)
//! ```
//!
//! Metadata is written from values in canonical JSON, so what is signed is byte for byte what is on disk
//! (TUF specification 1.0.31, section 4).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail, ensure};
use protocol::{Timestamp, catalog::Release};
use release::tuf::{MetadataFile, Trusted};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use sigstore_tuf::canonical_json::to_canonical_bytes;

use super::{
    key_ring::{Draft, ROLES},
    keys::{PublicKey, SecretKey},
};

/// The version of the TUF specification that the metadata follows.
const SPEC_VERSION: &str = "1.0.31";

/// When each role's new metadata expires.
#[derive(Debug, Clone, Copy)]
pub struct Expiry {
    pub root: Timestamp,
    pub targets: Timestamp,
    pub snapshot: Timestamp,
    pub timestamp: Timestamp,
}

/// Makes the first root from the draft and signs it. Sites pin it, so it is made once.
pub fn first_root(draft: &Draft, keys: &[SecretKey], expires: Timestamp) -> anyhow::Result<Vec<u8>> {
    let mut all = Map::new();
    let mut roles = Map::new();
    for role in ROLES {
        let public = draft.keys(role)?;
        let threshold = if role == "root" { draft.root_threshold } else { 1 };
        roles.insert(role.into(), json!({ "keyids": ids(&public), "threshold": threshold }));
        all.extend(public.iter().map(|key| (key.id(), key.to_json())));
    }
    let root = json!({
        "_type": "root", "spec_version": SPEC_VERSION, "version": 1, "expires": time(expires),
        "consistent_snapshot": true, "keys": all, "roles": roles,
    });
    let file = sign(&root, "root", &root, keys)?;
    Ok(file.bytes)
}

/// A repository that is being changed.
#[derive(Debug)]
pub struct Edit {
    /// The root that clients have, its `signed` part.
    root: Value,
    /// The next root, when it changes.
    next_root: Option<Value>,
    /// The targets' `signed` part, of the version that clients have.
    targets: Value,
    /// The targets file that clients have. `None` before the first publication.
    published_targets: Option<MetadataFile>,
    snapshot_version: u64,
    timestamp_version: u64,
}

impl Edit {
    /// A repository without any release, whose first root is signed already.
    pub fn first(root: &[u8]) -> anyhow::Result<Self> {
        let targets = json!({ "_type": "targets", "spec_version": SPEC_VERSION, "version": 0, "targets": {} });
        Ok(Self {
            root: signed_part(root)?,
            next_root: None,
            targets,
            published_targets: None,
            snapshot_version: 0,
            timestamp_version: 0,
        })
    }

    /// The repository as it is published now, verified.
    pub fn of(published: &Trusted) -> anyhow::Result<Self> {
        let find = |suffix: &str| {
            let file = published.metadata().iter().rev().find(|f| f.name.ends_with(suffix));
            file.with_context(|| format!("the repository has no {suffix}"))
        };
        let targets = find(".targets.json")?;
        Ok(Self {
            root: signed_part(&find(".root.json")?.bytes)?,
            next_root: None,
            targets: signed_part(&targets.bytes)?,
            published_targets: Some(targets.clone()),
            snapshot_version: version(&signed_part(&find(".snapshot.json")?.bytes)?)?,
            timestamp_version: version(&signed_part(&find("timestamp.json")?.bytes)?)?,
        })
    }

    /// Adds a release, or replaces what is said about one.
    pub fn put_release(&mut self, target: &str, length: u64, sha256: &str, release: &Release) -> anyhow::Result<()> {
        let file = json!({ "length": length, "hashes": { "sha256": sha256 }, "custom": { "lockstep": release } });
        let targets = self.targets.get_mut("targets").and_then(Value::as_object_mut);
        targets.context("the targets metadata lists no targets")?.insert(target.to_owned(), file);
        Ok(())
    }

    /// Puts a new root into force, with the same keys and a new expiry.
    pub fn renew_root(&mut self) -> anyhow::Result<()> {
        self.next_root()?;
        Ok(())
    }

    /// Replaces one key of a role, named by its id, by another. The next root says so.
    pub fn replace_key(&mut self, role: &str, old: &str, new: &PublicKey) -> anyhow::Result<()> {
        let root = self.next_root()?;
        let ids = root.pointer_mut(&format!("/roles/{role}/keyids")).and_then(Value::as_array_mut);
        let slot = ids.into_iter().flatten().find(|id| id.as_str() == Some(old));
        *slot.with_context(|| format!("{old} is not a {role} key of this repository"))? = new.id().into();
        let used: Vec<String> = ROLES.iter().flat_map(|role| key_ids(root, role)).collect();
        let keys = root.get_mut("keys").and_then(Value::as_object_mut).context("the root names no keys")?;
        keys.insert(new.id(), new.to_json());
        keys.retain(|id, _| used.contains(id));
        Ok(())
    }

    /// The ids of a role's keys in force.
    pub fn ids(&self, role: &str) -> Vec<String> {
        key_ids(&self.root, role)
    }

    /// Whether a key, by its id, is in force for a role.
    pub fn has_key(&self, role: &str, id: &str) -> bool {
        key_ids(&self.root, role).iter().any(|known| known == id)
    }

    /// When the root that clients have expires.
    pub fn root_expires(&self) -> anyhow::Result<Timestamp> {
        let text = self.root.get("expires").and_then(Value::as_str).context("the root has no expiry")?;
        Ok(text.parse()?)
    }

    /// How many keys must sign the root that is in force.
    pub fn root_threshold(&self) -> usize {
        threshold(&self.root, "root")
    }

    /// Whether [`Edit::sign_offline`] needs root keys.
    pub fn changes_root(&self) -> bool {
        self.next_root.is_some()
    }

    /// Signs what only the offline keys can sign: the next root, when there is one, and the targets.
    pub fn sign_offline(self, roots: &[SecretKey], key: &SecretKey, expiry: &Expiry) -> anyhow::Result<TargetsSigned> {
        let mut new_root = None;
        let mut root = self.root;
        if let Some(mut next) = self.next_root {
            next["expires"] = time(expiry.root);
            // By the old root's keys and by its own (section 5.3.4).
            let file = sign(&next, "root", &root, roots)?;
            check_threshold(&next, "root", roots)?;
            new_root = Some(file);
            root = next;
        }
        let mut targets = self.targets;
        targets["version"] = (version(&targets)? + 1).into();
        targets["spec_version"] = SPEC_VERSION.into();
        targets["expires"] = time(expiry.targets);
        let targets = sign(&targets, "targets", &root, std::slice::from_ref(key))?;
        Ok(TargetsSigned {
            root,
            new_root,
            targets,
            snapshot_version: self.snapshot_version,
            timestamp_version: self.timestamp_version,
        })
    }

    /// Leaves the root and the targets as they are published.
    pub fn keep_offline(self) -> anyhow::Result<TargetsSigned> {
        let targets = self.published_targets.context("nothing has been published yet")?;
        Ok(TargetsSigned {
            root: self.root,
            new_root: None,
            targets,
            snapshot_version: self.snapshot_version,
            timestamp_version: self.timestamp_version,
        })
    }

    fn next_root(&mut self) -> anyhow::Result<&mut Value> {
        if self.next_root.is_none() {
            let mut next = self.root.clone();
            next["version"] = (version(&next)? + 1).into();
            next["spec_version"] = SPEC_VERSION.into();
            self.next_root = Some(next);
        }
        self.next_root.as_mut().context("there is no next root")
    }
}

/// The offline keys have signed; nothing can be written yet.
#[derive(Debug)]
pub struct TargetsSigned {
    root: Value,
    new_root: Option<MetadataFile>,
    targets: MetadataFile,
    snapshot_version: u64,
    timestamp_version: u64,
}

impl TargetsSigned {
    /// Signs what ties the state together.
    pub fn sign_online(
        self,
        snapshot_key: &SecretKey,
        timestamp_key: &SecretKey,
        expiry: &Expiry,
    ) -> anyhow::Result<SignedRepository> {
        let snapshot = json!({
            "_type": "snapshot", "spec_version": SPEC_VERSION, "version": self.snapshot_version + 1,
            "expires": time(expiry.snapshot), "meta": { "targets.json": pin(&self.targets)? },
        });
        let snapshot = sign(&snapshot, "snapshot", &self.root, std::slice::from_ref(snapshot_key))?;
        let timestamp = json!({
            "_type": "timestamp", "spec_version": SPEC_VERSION, "version": self.timestamp_version + 1,
            "expires": time(expiry.timestamp), "meta": { "snapshot.json": pin(&snapshot)? },
        });
        let timestamp = sign(&timestamp, "timestamp", &self.root, std::slice::from_ref(timestamp_key))?;
        let files = [self.targets, snapshot].into_iter().chain(self.new_root).chain([timestamp]).collect();
        Ok(SignedRepository { files })
    }
}

/// A whole, signed state.
#[derive(Debug)]
pub struct SignedRepository {
    files: Vec<MetadataFile>,
}

impl SignedRepository {
    /// The metadata files in the order in which they must be written: whoever reads in between finds the old state
    /// or the new one, since `timestamp.json`, which leads to all others, is last. A new root comes right before it, since its
    /// keys may be other ones than the old timestamp's.
    pub fn files(&self) -> &[MetadataFile] {
        &self.files
    }
}

/// Signs a role's `signed` part with keys that `authority`, a root, names for the role.
fn sign(signed: &Value, role: &str, authority: &Value, keys: &[SecretKey]) -> anyhow::Result<MetadataFile> {
    check_threshold(authority, role, keys)?;
    let canonical = to_canonical_bytes(signed).context("metadata has no canonical form")?;
    let signatures: BTreeMap<String, Value> = keys.iter().map(|k| (k.public().id(), k.sign(&canonical))).collect();
    let signatures: Vec<Value> = signatures.into_values().collect();
    let bytes = to_canonical_bytes(&json!({ "signed": signed, "signatures": signatures }))?;
    let name = match role {
        "timestamp" => "timestamp.json".to_owned(),
        role => format!("{}.{role}.json", version(signed)?),
    };
    Ok(MetadataFile { name, bytes })
}

fn check_threshold(authority: &Value, role: &str, keys: &[SecretKey]) -> anyhow::Result<()> {
    let allowed = key_ids(authority, role);
    let here: BTreeSet<String> = keys.iter().map(|k| k.public().id()).collect();
    let good = here.iter().filter(|id| allowed.contains(id)).count();
    let needed = threshold(authority, role);
    if keys.len() == 1 && good == 0 {
        bail!("the key {} is not a {role} key of this repository", keys[0].public().id());
    }
    ensure!(good >= needed, "{needed} {role} keys of this repository must sign, and only {good} of them are here");
    Ok(())
}

fn key_ids(root: &Value, role: &str) -> Vec<String> {
    let ids = root.pointer(&format!("/roles/{role}/keyids")).and_then(Value::as_array);
    ids.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn threshold(root: &Value, role: &str) -> usize {
    let threshold = root.pointer(&format!("/roles/{role}/threshold")).and_then(Value::as_u64);
    // A root without a threshold cannot be satisfied.
    threshold.and_then(|t| usize::try_from(t).ok()).unwrap_or(usize::MAX)
}

/// How one metadata file names another (section 4.4).
fn pin(file: &MetadataFile) -> anyhow::Result<Value> {
    let version = version(&signed_part(&file.bytes)?)?;
    let sha256 = hex::encode(Sha256::digest(&file.bytes));
    Ok(json!({ "version": version, "length": file.bytes.len(), "hashes": { "sha256": sha256 } }))
}

fn signed_part(bytes: &[u8]) -> anyhow::Result<Value> {
    let mut value: Value = serde_json::from_slice(bytes).context("metadata is not JSON")?;
    value.get_mut("signed").map(Value::take).context("metadata has no signed part")
}

fn version(signed: &Value) -> anyhow::Result<u64> {
    signed.get("version").and_then(Value::as_u64).context("metadata has no version")
}

fn ids(keys: &[PublicKey]) -> Vec<String> {
    keys.iter().map(PublicKey::id).collect()
}

/// To the second, as section 4.2.1 wants it.
fn time(at: Timestamp) -> Value {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}
