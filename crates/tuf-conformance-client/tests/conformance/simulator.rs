//! A repository that a test changes and publishes, role by role, and that notes what it is asked for.

use std::{collections::BTreeMap, rc::Rc};

use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

use crate::signer::Signer;

/// After every test.
pub const SAFE: &str = "2099-01-01T00:00:00Z";
pub const TOP: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

/// What a repository has published, as the server hands it out.
#[derive(Debug, Default)]
pub struct Published {
    /// Each role's versions, from 1 on.
    pub metadata: BTreeMap<String, Vec<Vec<u8>>>,
    /// Each target's bytes and the hashes that its file's name may begin with.
    pub artifacts: BTreeMap<String, (Vec<u8>, Vec<String>)>,
    pub consistent: bool,
    /// Which roles were asked for; without a version, the newest.
    pub asked: Vec<(String, Option<u64>)>,
    pub asked_artifacts: Vec<(String, Option<String>)>,
}

impl Published {
    /// `path` as it stands in the URL.
    pub fn fetch(&mut self, path: &str) -> Option<Vec<u8>> {
        if let Some(file) = path.strip_prefix("metadata/").and_then(|p| p.strip_suffix(".json")) {
            let (version, role) = match file.split_once('.') {
                Some((version, role)) if role == "root" || (self.consistent && file != "timestamp") => {
                    (Some(version.parse().ok()?), role)
                }
                _ => (None, file),
            };
            self.asked.push((role.to_owned(), version));
            let versions = self.metadata.get(&decode(role))?;
            return match version {
                Some(version) => versions.get(usize::try_from(version.checked_sub(1)?).ok()?).cloned(),
                None => versions.last().cloned(),
            };
        }
        let path = path.strip_prefix("targets/")?;
        let (dir, file) = path.rsplit_once('/').map_or(("", path), |(dir, file)| (dir, file));
        let (hash, file) = match file.split_once('.') {
            Some((hash, file)) if self.consistent => (Some(hash.to_owned()), file),
            _ => (None, file),
        };
        let name = if dir.is_empty() { file.to_owned() } else { format!("{dir}/{file}") };
        self.asked_artifacts.push((name.clone(), hash.clone()));
        let (bytes, hashes) = self.artifacts.get(&name)?;
        hash.is_none_or(|hash| hashes.contains(&hash)).then(|| bytes.clone())
    }
}

/// The vendor's side.
#[derive(Debug)]
pub struct Repo {
    /// What each role will say when it is published next.
    pub roles: BTreeMap<String, Value>,
    /// Whose keys sign a role.
    pub signers: BTreeMap<String, Vec<Rc<Signer>>>,
    /// Whether snapshot and timestamp pin lengths and hashes.
    pub pin_hashes: bool,
    pub published: crate::server::Shared,
}

impl Repo {
    pub fn new(published: crate::server::Shared) -> Self {
        let role = |kind: &str| json!({ "_type": kind, "spec_version": "1.0.31", "version": 1, "expires": SAFE });
        let mut roles = BTreeMap::new();
        let mut root = role("root");
        root["consistent_snapshot"] = true.into();
        root["keys"] = json!({});
        root["roles"] = TOP.iter().map(|r| ((*r).to_owned(), json!({ "keyids": [], "threshold": 1 }))).collect();
        roles.insert("root".to_owned(), root);
        let mut targets = role("targets");
        targets["targets"] = json!({});
        roles.insert("targets".to_owned(), targets);
        for kind in ["snapshot", "timestamp"] {
            let mut signed = role(kind);
            signed["meta"] = json!({});
            roles.insert(kind.to_owned(), signed);
        }
        let mut repo = Self { roles, signers: BTreeMap::new(), pin_hashes: false, published };
        repo.published.lock().unwrap().consistent = true;
        for role in TOP {
            repo.add_key(role, Rc::new(Signer::new()));
        }
        repo.publish(&["targets", "snapshot", "timestamp", "root"]);
        repo
    }

    pub fn role(&mut self, role: &str) -> &mut Value {
        self.roles.get_mut(role).unwrap()
    }

    pub fn root(&mut self) -> &mut Value {
        self.role("root")
    }

    pub fn version(&self, role: &str) -> u64 {
        self.roles[role]["version"].as_u64().unwrap()
    }

    /// Signs roles in this order and publishes them; all but the first time, as a version higher.
    pub fn publish(&mut self, roles: &[&str]) {
        for role in roles {
            let again = self.published.lock().unwrap().metadata.contains_key(*role);
            if again {
                let version = self.version(role) + 1;
                self.role(role)["version"] = version.into();
            }
            let signed = &self.roles[*role];
            let signatures: Vec<Value> = self.signers[*role].iter().map(|s| s.sign(signed)).collect();
            let bytes = serde_json::to_vec_pretty(&json!({ "signatures": signatures, "signed": signed })).unwrap();
            let mut pin = json!({ "version": signed["version"] });
            if self.pin_hashes {
                pin["length"] = bytes.len().into();
                pin["hashes"] = json!({ "sha256": hex::encode(Sha256::digest(&bytes)) });
            }
            self.published.lock().unwrap().metadata.entry((*role).to_owned()).or_default().push(bytes);
            match *role {
                "root" | "timestamp" => {}
                "snapshot" => self.role("timestamp")["meta"]["snapshot.json"] = pin,
                targets => self.role("snapshot")["meta"][format!("{targets}.json")] = pin,
            }
        }
    }

    pub fn publish_all(&mut self) {
        self.publish(&["root", "targets", "snapshot", "timestamp"]);
    }

    /// The newest version of a role, as published.
    pub fn newest(&self, role: &str) -> Vec<u8> {
        self.published.lock().unwrap().metadata[role].last().unwrap().clone()
    }

    pub fn nth(&self, role: &str, version: usize) -> Vec<u8> {
        self.published.lock().unwrap().metadata[role][version - 1].clone()
    }

    /// Forgets all versions of a role; the next one is published with the number that it has.
    pub fn unpublish(&mut self, role: &str) {
        self.published.lock().unwrap().metadata.remove(role);
    }

    /// Replaces the newest version by something else.
    pub fn replace(&mut self, role: &str, change: impl FnOnce(&mut Value)) {
        let mut published = self.published.lock().unwrap();
        let newest = published.metadata.get_mut(role).unwrap().last_mut().unwrap();
        let mut value = serde_json::from_slice(newest).unwrap();
        change(&mut value);
        *newest = serde_json::to_vec(&value).unwrap();
    }

    /// A key that a top-level role may be signed with, and is from now on.
    pub fn add_key(&mut self, role: &str, signer: Rc<Signer>) {
        self.name_key(role, &signer);
        self.add_signer(role, signer);
    }

    pub fn add_signer(&mut self, role: &str, signer: Rc<Signer>) {
        self.signers.entry(role.to_owned()).or_default().push(signer);
    }

    /// A key that a top-level role may be signed with, also when it is there already.
    pub fn name_key(&mut self, role: &str, signer: &Signer) {
        let root = self.root();
        root["keys"][signer.id()] = signer.public.clone();
        root["roles"][role]["keyids"].as_array_mut().unwrap().push(signer.id().into());
    }

    pub fn threshold(&mut self, role: &str, threshold: usize) {
        self.root()["roles"][role]["threshold"] = threshold.into();
    }

    /// No keys and no signers.
    pub fn clear_keys(&mut self, role: &str) {
        self.root()["roles"][role]["keyids"] = json!([]);
        self.signers.insert(role.to_owned(), Vec::new());
    }

    /// Other keys, as many as the role needs.
    pub fn rotate(&mut self, role: &str) {
        self.clear_keys(role);
        let threshold = self.root()["roles"][role]["threshold"].as_u64().unwrap();
        for _ in 0..threshold {
            self.add_key(role, Rc::new(Signer::new()));
        }
    }

    pub fn expires(&mut self, role: &str, days: i64) {
        self.role(role)["expires"] = crate::client::in_days(days).into();
    }

    pub fn add_artifact(&mut self, role: &str, bytes: &[u8], path: &str) {
        self.add_artifact_with(role, bytes, path, &["sha256"]);
    }

    pub fn add_artifact_with(&mut self, role: &str, bytes: &[u8], path: &str, algorithms: &[&str]) {
        let hashes: BTreeMap<&str, String> = algorithms
            .iter()
            .map(|algorithm| match *algorithm {
                "sha256" => ("sha256", hex::encode(Sha256::digest(bytes))),
                other => (other, hex::encode(Sha512::digest(bytes))),
            })
            .collect();
        self.role(role)["targets"][path] = json!({ "length": bytes.len(), "hashes": hashes });
        let names = hashes.into_values().collect();
        self.published.lock().unwrap().artifacts.insert(path.to_owned(), (bytes.to_vec(), names));
    }

    /// Serves other bytes for a target than were signed.
    pub fn substitute(&mut self, path: &str, bytes: &[u8]) {
        self.published.lock().unwrap().artifacts.get_mut(path).unwrap().0 = bytes.to_vec();
    }

    /// A role that `delegator` hands paths to, with a key of its own. `facts` are the delegation's further members.
    pub fn delegate(&mut self, delegator: &str, role: &str, facts: Value) -> Rc<Signer> {
        let signer = Rc::new(Signer::new());
        let delegations = &mut self.role(delegator)["delegations"];
        if delegations.is_null() {
            *delegations = json!({ "keys": {}, "roles": [] });
        }
        delegations["keys"][signer.id()] = signer.public.clone();
        let mut delegation = json!({ "name": role, "keyids": [signer.id()], "threshold": 1, "terminating": false });
        delegation.as_object_mut().unwrap().extend(facts.as_object().unwrap().clone());
        delegations["roles"].as_array_mut().unwrap().push(delegation);
        self.add_signer(role, signer.clone());
        self.roles.entry(role.to_owned()).or_insert_with(
            || json!({ "_type": "targets", "spec_version": "1.0.31", "version": 1, "expires": SAFE, "targets": {} }),
        );
        signer
    }

    pub fn asked(&self) -> Vec<(String, Option<u64>)> {
        self.published.lock().unwrap().asked.clone()
    }

    pub fn last_asked(&self) -> (String, Option<u64>) {
        self.asked().pop().unwrap()
    }
}

fn decode(role: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = role.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| more.get(..2)).flatten().and_then(|two| hex::decode(two).ok());
        match escaped {
            Some(byte) => {
                bytes.extend(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}
