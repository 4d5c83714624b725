//! A vendor: a small signed repository, written by hand as TUF 1.0.31 says, with one key for all roles.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use ed25519_dalek::{Signer, SigningKey};
use protocol::product::Platform;
use release::package::{self, Description};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub struct Vendor {
    dir: PathBuf,
    key: SigningKey,
    installers: Mutex<serde_json::Map<String, Value>>,
}

impl Vendor {
    pub fn new(dir: &Path) -> Self {
        Self::with_key(dir, [7; 32])
    }

    pub fn with_key(dir: &Path, key: [u8; 32]) -> Self {
        fs::create_dir_all(dir.join("repo/metadata")).unwrap();
        Self { dir: dir.to_owned(), key: SigningKey::from_bytes(&key), installers: Mutex::default() }
    }

    pub fn repository(&self) -> PathBuf {
        self.dir.join("repo")
    }

    pub fn root(&self) -> PathBuf {
        self.repository().join("metadata/1.root.json")
    }

    /// Publishes (product, version, server) triples for Linux as the repository's state number `n`.
    pub fn publish(&self, n: u64, releases: &[(&str, &str, &str)]) {
        self.publish_with(n, releases, Value::Null);
    }

    /// As [`Vendor::publish`]; every release withdraws a version.
    pub fn withdraw(&self, n: u64, releases: &[(&str, &str, &str)], version: &str) {
        self.publish_with(n, releases, json!({"withdraws": [version]}));
    }

    /// As [`Vendor::publish`]; every release may replace any newer one.
    pub fn permit_downgrades(&self, n: u64, releases: &[(&str, &str, &str)]) {
        self.publish_with(n, releases, json!({"downgrade_from": "*"}));
    }

    fn publish_with(&self, n: u64, releases: &[(&str, &str, &str)], more: Value) {
        let id = hex::encode(Sha256::digest(self.key.verifying_key().as_bytes()));
        let role = json!({"keyids": [id], "threshold": 1});
        let public = hex::encode(self.key.verifying_key().as_bytes());
        self.write(
            "1.root.json",
            "root",
            1,
            json!({
                "consistent_snapshot": true,
                "keys": {&id: {"keytype": "ed25519", "keyval": {"public": public}, "scheme": "ed25519"}},
                "roles": {"root": role, "snapshot": role, "targets": role, "timestamp": role},
            }),
        );
        let mut targets: serde_json::Map<String, Value> = releases.iter().map(|r| self.release(*r, &more)).collect();
        targets.extend(self.installers.lock().unwrap().clone());
        self.write(&format!("{n}.targets.json"), "targets", n, json!({"targets": targets}));
        self.write(&format!("{n}.snapshot.json"), "snapshot", n, json!({"meta": {"targets.json": {"version": n}}}));
        self.write("timestamp.json", "timestamp", n, json!({"meta": {"snapshot.json": {"version": n}}}));
    }

    /// An installer for Windows that every later publication names, and where it lies.
    pub fn add_installer(&self, (product, version, server): (&str, &str, &str), content: &[u8]) -> PathBuf {
        let sha256 = hex::encode(Sha256::digest(content));
        let name = format!("{product}-{version}-windows-x86_64.msi");
        let dir = self.repository().join("targets").join(product);
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join(format!("{sha256}.{name}"));
        fs::write(&file, content).unwrap();
        let release = json!({
            "arch": "x86_64", "channel": "stable", "os": "windows", "product": product, "server": server, "version": version,
        });
        let target = json!({
            "custom": {"lockstep-installer": release}, "hashes": {"sha256": sha256}, "length": content.len(),
        });
        self.installers.lock().unwrap().insert(format!("{product}/{name}"), target);
        file
    }

    fn release(&self, (product, version, server): (&str, &str, &str), more: &Value) -> (String, Value) {
        let content = self.dir.join(format!("{product}-{version}"));
        fs::create_dir_all(content.join("bin")).unwrap();
        let program = format!("bin/lockstep-{product}");
        fs::write(content.join(&program), format!("#!/bin/sh\necho {product} {version}\n")).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(content.join(&program), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let platform = Platform { os: "linux".into(), arch: "x86_64".into() };
        let description = Description {
            product: product.parse().unwrap(),
            version: version.parse().unwrap(),
            platform,
            program,
            self_check: Vec::new(),
            restart: Default::default(),
            health: Default::default(),
        };
        let mut package = Vec::new();
        package::pack(&content, &description, &mut package, &mut |_| {}).unwrap();
        let sha256 = hex::encode(Sha256::digest(&package));
        let name = format!("{product}-{version}-linux-x86_64.lpk");
        let dir = self.repository().join("targets").join(product);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("{sha256}.{name}")), &package).unwrap();
        let mut release = json!({
            "arch": "x86_64", "channel": "stable", "os": "linux", "product": product, "server": server, "version": version,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            release[name] = value.clone();
        }
        let target = json!({"custom": {"lockstep": release}, "hashes": {"sha256": sha256}, "length": package.len()});
        (format!("{product}/{name}"), target)
    }

    fn write(&self, file: &str, role: &str, version: u64, mut signed: Value) {
        signed["_type"] = role.into();
        signed["expires"] = "2099-01-01T00:00:00Z".into();
        signed["spec_version"] = "1.0.31".into();
        signed["version"] = version.into();
        let signature = hex::encode(self.key.sign(canonical(&signed).as_bytes()).to_bytes());
        let id = hex::encode(Sha256::digest(self.key.verifying_key().as_bytes()));
        let whole = json!({"signatures": [{"keyid": id, "sig": signature}], "signed": signed});
        fs::write(self.repository().join("metadata").join(file), whole.to_string()).unwrap();
    }
}

/// Canonical JSON: sorted members, no spaces. The strings used here need no escapes.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("\"{name}\":{}", canonical(value))).collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}
