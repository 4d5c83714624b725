//! The signing editor. What is not signed cannot be written: only [`SignedRepository`] has files.
//!
//! ```text
//! Edit ──prepare──► Ceremony ──(signatures, here and there)──finish──► OfflineSigned ──sign_online──► SignedRepository
//!   └────────────────────────────keep_offline─────────────────────────────┘  (renews the timestamp, with the online keys alone)
//! ```
//!
//! Metadata is written from values in canonical JSON, so what is signed is byte for byte what is on disk
//! (TUF specification 1.0.31, section 4).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use protocol::{Timestamp, catalog::Entry};
use release::tuf::MetadataFile;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    authority::{authorities, delegation_of},
    ceremony::Ceremony,
    delegations,
    envelope::{Envelope, version},
    expiry::{Expiry, Periods},
    key_ring::{Draft, ROLES},
    keys::PublicKey,
    staging::kind_of,
    state::State,
};

/// The version of the TUF specification that the metadata follows.
pub const SPEC_VERSION: &str = "1.0.31";

/// A root that expires within so many days is renewed by the next publication.
const RENEW_ROOT_DAYS: i64 = 120;

/// A repository that is being changed.
#[derive(Debug)]
pub struct Edit {
    /// As clients have it.
    base: State,
    /// The next root's `signed` part.
    pub(super) root: Value,
    /// The next top-level targets' `signed` part.
    pub(super) targets: Value,
    /// Delegated roles' next `signed` parts.
    pub(super) delegated: BTreeMap<String, Value>,
    /// Roles that are signed anew although nothing changed.
    pub(super) renewed: BTreeSet<String>,
}

/// The first root's `signed` part, from all public keys.
pub fn first_root(draft: &Draft) -> anyhow::Result<Value> {
    let mut all = Map::new();
    let mut roles = Map::new();
    for role in ROLES {
        let public = draft.keys(role)?;
        let threshold = if role == "root" { draft.root_threshold } else { 1 };
        let ids: Vec<_> = public.iter().map(PublicKey::id).collect();
        roles.insert(role.into(), json!({ "keyids": ids, "threshold": threshold }));
        all.extend(public.iter().map(|key| (key.id(), key.to_json())));
    }
    Ok(json!({
        "_type": "root", "spec_version": SPEC_VERSION, "version": 0, "expires": "1970-01-01T00:00:00Z",
        "consistent_snapshot": true, "keys": all, "roles": roles,
    }))
}

impl Edit {
    /// A repository without a root: the first one is to be signed.
    pub fn first(draft: &Draft) -> anyhow::Result<Self> {
        Ok(Self::with_root(State::default(), first_root(draft)?))
    }

    /// The repository as it is published now.
    pub fn of(base: State) -> anyhow::Result<Self> {
        let root = base.root.as_ref().context("the repository has no root")?.signed.clone();
        Ok(Self::with_root(base, root))
    }

    fn with_root(base: State, root: Value) -> Self {
        let empty = || json!({ "_type": "targets", "spec_version": SPEC_VERSION, "version": 0, "targets": {} });
        let targets = base.targets.as_ref().map_or_else(empty, |file| file.signed.clone());
        let delegated = base.delegated.iter().map(|(role, file)| (role.clone(), file.signed.clone())).collect();
        Self { base, root, targets, delegated, renewed: BTreeSet::new() }
    }

    /// Adds a release, or replaces what is said about one.
    pub fn put_release(&mut self, entry: &Entry) -> anyhow::Result<()> {
        let file = json!({ "length": entry.length, "hashes": { "sha256": entry.sha256 },
                           "custom": { kind_of(&entry.target): entry.release } });
        for role in self.delegated.values_mut().chain([&mut self.targets]) {
            targets_of(role)?.remove(&entry.target);
        }
        targets_of(&mut self.targets)?.insert(entry.target.clone(), file);
        Ok(())
    }

    /// Signs the top-level targets anew, whatever changed.
    pub fn renew(&mut self, role: &str) {
        self.renewed.insert(role.to_owned());
    }

    /// When the root that clients have expires.
    fn root_expires_before(&self, at: Timestamp) -> anyhow::Result<bool> {
        let Some(root) = &self.base.root else { return Ok(false) };
        Ok(expires(&root.signed)? < at)
    }

    /// Everything that has to be signed offline: what changed, what its keys no longer vouch for, what soon expires.
    pub fn prepare(mut self, periods: &Periods, now: Timestamp) -> anyhow::Result<Ceremony> {
        delegations::settle(&mut self)?;
        let mut envelopes = Vec::new();
        let first = self.base.root.is_none();
        let changed = first || self.base.root.as_ref().is_some_and(|root| differs(&root.signed, &self.root));
        let renew_within = RENEW_ROOT_DAYS.min(periods.days("root") / 3);
        let expiring = self.root_expires_before(periods.days_from(now, renew_within)?)?;
        if changed || expiring || self.renewed.contains("root") {
            envelopes.push(next("root", &self.root, version(&self.root)?, periods, now)?);
        }
        let root_authority = |role: &str| authorities(&self.root, role, "root");
        let authority = root_authority("targets")?;
        let force = self.renewed.contains("targets");
        if stale("targets", self.base.targets.as_ref(), &self.targets, &authority, periods, now)? || force {
            envelopes.push(next("targets", &self.targets, version(&self.targets)?, periods, now)?);
        }
        for (role, signed) in &self.delegated {
            let delegation = delegation_of(&self.targets, role);
            let authority = delegation.with_context(|| format!("nobody delegates to {role}"))?;
            let published = self.base.delegated.get(role);
            if stale(role, published, signed, &authority, periods, now)? || self.renewed.contains(role) {
                // A role that was once removed goes on where it was.
                let pinned = self.base.pinned_version(role).unwrap_or_default();
                envelopes.push(next(role, signed, version(signed)?.max(pinned), periods, now)?);
            }
        }
        Ok(Ceremony { base: self.base, envelopes })
    }

    /// Leaves all that offline keys sign as it is published.
    pub fn keep_offline(self) -> anyhow::Result<OfflineSigned> {
        ensure!(self.base.targets.is_some(), "nothing has been published yet");
        Ceremony { base: self.base, envelopes: Vec::new() }.finish()
    }
}

/// Whether a role has to be signed: it is new, it changed, too few of its keys have signed it, or two thirds of its time are over.
fn stale(
    role: &str,
    published: Option<&Envelope>,
    next: &Value,
    authority: &super::envelope::Authority,
    periods: &Periods,
    now: Timestamp,
) -> anyhow::Result<bool> {
    let Some(published) = published else { return Ok(true) };
    let soon = periods.days_from(now, periods.days(role) / 3)?;
    Ok(differs(&published.signed, next) || !published.is_signed_for(authority)? || expires(&published.signed)? < soon)
}

fn next(role: &str, signed: &Value, version: u64, periods: &Periods, now: Timestamp) -> anyhow::Result<Envelope> {
    let mut signed = signed.clone();
    signed["version"] = (version + 1).into();
    signed["spec_version"] = SPEC_VERSION.into();
    signed["expires"] = time(periods.from(role, now)?);
    Ok(Envelope::new(role, signed))
}

/// Whether more than version and expiry differ.
fn differs(old: &Value, new: &Value) -> bool {
    let content = |signed: &Value| {
        let mut signed = signed.clone();
        for member in ["version", "expires", "spec_version"] {
            signed[member] = Value::Null;
        }
        signed
    };
    content(old) != content(new)
}

/// The offline keys have signed; nothing can be written yet.
#[derive(Debug)]
pub struct OfflineSigned {
    /// What clients will have, but for the snapshot and the timestamp.
    pub(super) state: State,
    /// What is new in it.
    pub(super) new: Vec<MetadataFile>,
}

impl OfflineSigned {
    /// The root that is in force for the online keys.
    pub fn root(&self) -> anyhow::Result<&Value> {
        Ok(&self.state.root.as_ref().context("the repository has no root")?.signed)
    }

    /// Which of the waiting releases it holds.
    pub fn holds(&self, entry: &Entry) -> bool {
        let roles = self.state.delegated.values().chain(&self.state.targets);
        let mut files = roles.filter_map(|role| role.signed.get("targets")?.get(&entry.target));
        let said = serde_json::to_value(&entry.release).ok();
        files.any(|file| {
            file.pointer("/hashes/sha256").and_then(Value::as_str) == Some(&entry.sha256)
                && file.get("custom").and_then(|custom| custom.get(kind_of(&entry.target))) == said.as_ref()
        })
    }

    /// Signs what ties the state together, with as many online keys as `sign` finds necessary.
    pub fn sign_online(
        self,
        expiry: &Expiry,
        sign: &mut dyn FnMut(&mut Envelope, &super::envelope::Authority) -> anyhow::Result<()>,
    ) -> anyhow::Result<SignedRepository> {
        let root = self.root()?.clone();
        // Roles that are no longer delegated stay pinned: a snapshot that forgets one is refused (section 5.5.5).
        let mut meta = self.state.meta.clone();
        for (role, file) in self.state.delegated.iter().chain(self.state.targets.iter().map(|t| (&t.role, t))) {
            meta.insert(format!("{role}.json"), pin(&file.file()?, file.version()?));
        }
        let snapshot = json!({
            "_type": "snapshot", "spec_version": SPEC_VERSION, "version": self.state.snapshot_version + 1,
            "expires": time(expiry.snapshot), "meta": meta,
        });
        let mut snapshot = Envelope::new("snapshot", snapshot);
        sign(&mut snapshot, &authorities(&root, "snapshot", "root")?)?;
        let timestamp = json!({
            "_type": "timestamp", "spec_version": SPEC_VERSION, "version": self.state.timestamp_version + 1,
            "expires": time(expiry.timestamp), "meta": { "snapshot.json": pin(&snapshot.file()?, snapshot.version()?) },
        });
        let mut timestamp = Envelope::new("timestamp", timestamp);
        sign(&mut timestamp, &authorities(&root, "timestamp", "root")?)?;
        let (roots, others): (Vec<_>, Vec<_>) = self.new.into_iter().partition(|f| f.name.ends_with(".root.json"));
        let files = others.into_iter().chain([snapshot.file()?]).chain(roots).chain([timestamp.file()?]).collect();
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

/// The `targets` member of a targets role.
pub fn targets_of(signed: &mut Value) -> anyhow::Result<&mut Map<String, Value>> {
    signed.get_mut("targets").and_then(Value::as_object_mut).context("targets metadata lists no targets")
}

/// When a role's metadata expires.
pub fn expires(signed: &Value) -> anyhow::Result<Timestamp> {
    let text = signed.get("expires").and_then(Value::as_str).context("metadata has no expiry")?;
    Ok(text.parse()?)
}

/// How one metadata file names another (section 4.4).
fn pin(file: &MetadataFile, version: u64) -> Value {
    let sha256 = hex::encode(Sha256::digest(&file.bytes));
    json!({ "version": version, "length": file.bytes.len(), "hashes": { "sha256": sha256 } })
}

/// To the second, as section 4.2.1 wants it.
fn time(at: Timestamp) -> Value {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}
