//! A repository in memory, signed with keys made from names, and a client of it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::Mutex,
    task::{Context, Poll, Waker},
};

use ed25519_dalek::{Signer, SigningKey};
use protocol::Timestamp;
use release::tuf::{Error, Fetch, Limits, Repository, Trusted};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sigstore_tuf::canonical_json::to_canonical_bytes;

pub const FAR: &str = "2099-01-01T00:00:00Z";
pub const NOW: &str = "2026-05-04T11:00:00Z";

pub fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// The files that a repository serves, by path.
#[derive(Debug, Default)]
pub struct Files {
    pub files: BTreeMap<String, Vec<u8>>,
    /// What was asked for.
    pub asked: Mutex<Vec<(String, u64)>>,
}

impl Fetch for Files {
    type Error = Infallible;

    async fn fetch(&self, path: &str, max_length: u64) -> Result<Option<Vec<u8>>, Infallible> {
        self.asked.lock().unwrap().push((path.to_owned(), max_length));
        Ok(self.files.get(path).cloned())
    }
}

impl Files {
    pub fn put(&mut self, name: &str, bytes: Vec<u8>) {
        self.files.insert(format!("metadata/{name}"), bytes);
    }

    pub fn put_role(&mut self, signed: &Value, keys: &[&str]) {
        let version = &signed["version"];
        let name = match signed["_type"].as_str().unwrap() {
            "timestamp" => "timestamp.json".to_owned(),
            role => format!("{version}.{role}.json"),
        };
        self.put(&name, sign(signed, keys));
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().drain(..).map(|(path, _)| path).collect()
    }
}

fn key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&Sha256::digest(name).into())
}

pub fn public(name: &str) -> Value {
    let public = hex::encode(key(name).verifying_key().as_bytes());
    json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": public } })
}

/// Signs a role with keys, whose ids are their names.
pub fn sign(signed: &Value, keys: &[&str]) -> Vec<u8> {
    let canonical = to_canonical_bytes(signed).unwrap();
    let signatures: Vec<_> = keys
        .iter()
        .map(|name| json!({ "keyid": name, "sig": hex::encode(key(name).sign(&canonical).to_bytes()) }))
        .collect();
    serde_json::to_vec(&json!({ "signed": signed, "signatures": signatures })).unwrap()
}

/// The versions and keys of a whole state.
#[derive(Debug, Clone)]
pub struct State {
    pub root: u64,
    pub timestamp: u64,
    pub snapshot: u64,
    pub targets: u64,
    /// The key of each of the four roles.
    pub keys: [&'static str; 4],
    pub releases: Value,
    pub delegations: Option<Value>,
    /// Delegated roles: name, `targets`, key.
    pub delegated: Vec<(&'static str, Value, &'static str)>,
    /// Versions of delegated roles, where they are not those of the targets.
    pub versions: BTreeMap<&'static str, u64>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            root: 1,
            timestamp: 1,
            snapshot: 1,
            targets: 1,
            keys: ["root", "timestamp", "snapshot", "targets"],
            releases: json!({ "connector/c-7.2.0.lpk": target("7.2.0") }),
            delegations: None,
            delegated: Vec::new(),
            versions: BTreeMap::new(),
        }
    }
}

/// A target with a release.
pub fn target(version: &str) -> Value {
    json!({
        "length": 5, "hashes": { "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" },
        "custom": { "lockstep": {
            "product": "connector", "version": version, "channel": "stable", "os": "linux", "arch": "x86_64", "server": "*"
        } }
    })
}

fn pin(version: u64, bytes: &[u8]) -> Value {
    json!({ "version": version, "length": bytes.len(), "hashes": { "sha256": hex::encode(Sha256::digest(bytes)) } })
}

impl State {
    pub fn root_signed(&self) -> Value {
        let roles = ["root", "timestamp", "snapshot", "targets"];
        let keys: BTreeMap<_, _> = self.keys.iter().map(|k| (*k, public(k))).collect();
        let roles: BTreeMap<_, _> =
            roles.iter().zip(self.keys).map(|(role, k)| (*role, json!({ "keyids": [k], "threshold": 1 }))).collect();
        json!({ "_type": "root", "spec_version": "1.0.31", "version": self.root, "expires": FAR,
                "consistent_snapshot": true, "keys": keys, "roles": roles })
    }

    pub fn root_bytes(&self) -> Vec<u8> {
        sign(&self.root_signed(), &[self.keys[0]])
    }

    /// Writes the state into a repository, as a vendor does.
    pub fn publish(&self, files: &mut Files) {
        let [_, timestamp, snapshot, targets] = self.keys;
        files.put_role(&self.root_signed(), &[self.keys[0]]);
        let mut signed = json!({ "_type": "targets", "spec_version": "1.0.31", "version": self.targets, "expires": FAR,
                                 "targets": self.releases });
        if let Some(delegations) = &self.delegations {
            signed["delegations"] = delegations.clone();
        }
        files.put_role(&signed, &[targets]);
        let mut meta = serde_json::Map::new();
        let file = &files.files[&format!("metadata/{}.targets.json", self.targets)];
        meta.insert("targets.json".into(), pin(self.targets, file));
        for (name, targets, key) in &self.delegated {
            let version = self.versions.get(name).copied().unwrap_or(self.targets);
            let signed = json!({ "_type": "targets", "spec_version": "1.0.31", "version": version, "expires": FAR,
                                 "targets": targets });
            let bytes = sign(&signed, &[key]);
            meta.insert(format!("{name}.json"), pin(version, &bytes));
            files.put(&format!("{version}.{}.json", name.replace('/', "%2F")), bytes);
        }
        let signed = json!({ "_type": "snapshot", "spec_version": "1.0.31", "version": self.snapshot, "expires": FAR,
                             "meta": meta });
        files.put_role(&signed, &[snapshot]);
        let file = &files.files[&format!("metadata/{}.snapshot.json", self.snapshot)];
        let signed = json!({ "_type": "timestamp", "spec_version": "1.0.31", "version": self.timestamp, "expires": FAR,
                             "meta": { "snapshot.json": pin(self.snapshot, file) } });
        files.put_role(&signed, &[timestamp]);
    }

    /// Puts other content under a delegated role's name, and has the online keys sign for it.
    pub fn publish_delegated(&self, files: &mut Files, name: &str, signed: &Value, key: &str) {
        let [_, timestamp, snapshot, _] = self.keys;
        let bytes = sign(signed, &[key]);
        let old: Value =
            serde_json::from_slice(&files.files[&format!("metadata/{}.snapshot.json", self.snapshot)]).unwrap();
        let mut state = old["signed"].clone();
        state["meta"][format!("{name}.json")] = pin(self.targets, &bytes);
        files.put(&format!("{}.{name}.json", self.targets), bytes);
        files.put_role(&state, &[snapshot]);
        let file = &files.files[&format!("metadata/{}.snapshot.json", self.snapshot)];
        let signed = json!({ "_type": "timestamp", "spec_version": "1.0.31", "version": self.timestamp, "expires": FAR,
                             "meta": { "snapshot.json": pin(self.snapshot, file) } });
        files.put_role(&signed, &[timestamp]);
    }

    /// The next state, with all versions but the root's one higher.
    pub fn next(&self) -> Self {
        Self { timestamp: self.timestamp + 1, snapshot: self.snapshot + 1, targets: self.targets + 1, ..self.clone() }
    }
}

/// A client with a directory of its own, which forgets everything else between two calls.
pub struct Client {
    pub dir: tempfile::TempDir,
    root: Vec<u8>,
}

impl Client {
    pub fn new(root: Vec<u8>) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), root }
    }

    pub fn refresh(&self, files: &Files) -> Result<Trusted, Error> {
        self.refresh_within(files, Limits::default())
    }

    pub fn refresh_within(&self, files: &Files, limits: Limits) -> Result<Trusted, Error> {
        let repository = Repository::with_limits(self.dir.path(), &self.root, limits)?;
        ready(repository.refresh(files, now()))
    }

    pub fn known(&self) -> Option<Trusted> {
        Repository::open(self.dir.path(), &self.root).unwrap().known().unwrap()
    }
}

/// The result of a future that never waits.
fn ready<T>(future: impl Future<Output = T> + Send) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a repository in memory never waits"),
    }
}

pub fn versions(state: &Trusted) -> Vec<String> {
    state.catalog().entries.iter().map(|e| e.release.version.to_string()).collect()
}
