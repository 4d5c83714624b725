//! A vendor: a small signed repository, written by hand as TUF 1.0.31 says, with one key for all roles, and two
//! products: a connector, and an installer that does what the real one does, in a few lines of shell.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use ed25519_dalek::{Signer, SigningKey};
use protocol::product::Platform;
use release::package::{self, Description};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub struct Vendor {
    dir: PathBuf,
    key: SigningKey,
    platform: Platform,
}

impl Vendor {
    pub fn new(dir: &Path, key: [u8; 32]) -> Self {
        fs::create_dir_all(dir.join("repo/metadata")).unwrap();
        Self { dir: dir.to_owned(), key: SigningKey::from_bytes(&key), platform: Platform::current() }
    }

    /// Publishes for PCs with Windows from now on.
    pub fn for_windows(self) -> Self {
        Self { platform: Platform { os: "windows".into(), arch: "x86_64".into() }, ..self }
    }

    pub fn repository(&self) -> PathBuf {
        self.dir.join("repo")
    }

    pub fn root(&self) -> PathBuf {
        self.repository().join("metadata/1.root.json")
    }

    /// Publishes connectors of these versions, and updaters of these, as the repository's state number `n`. `program` is
    /// what the updater's package installs as each connector's.
    pub fn publish(&self, n: u64, connectors: &[&str], updaters: &[&str], program: &Path) {
        let public = hex::encode(self.key.verifying_key().as_bytes());
        let role = json!({"keyids": [self.key_id()], "threshold": 1});
        let keys = json!({self.key_id(): {"keytype": "ed25519", "keyval": {"public": public}, "scheme": "ed25519"}});
        let roles = json!({"root": role, "snapshot": role, "targets": role, "timestamp": role});
        self.write("1.root.json", "root", 1, json!({"consistent_snapshot": true, "keys": keys, "roles": roles}));
        let mut targets = serde_json::Map::new();
        for version in connectors {
            let files = [("bin/lockstep-connector", format!("connector {version}\n").into_bytes())];
            targets.extend([self.release("connector", version, &files)]);
        }
        for version in updaters {
            let files = match self.platform.os.as_str() {
                // There one program is both, and made beforehand.
                "windows" => vec![("bin/lockstep-updater.exe", fs::read(program).unwrap())],
                _ => vec![
                    ("bin/lockstep-updater", installer(version, program).into_bytes()),
                    ("bin/lockstep-launcher", LAUNCHER.into()),
                ],
            };
            targets.extend([self.release("updater", version, &files)]);
        }
        self.write(&format!("{n}.targets.json"), "targets", n, json!({"targets": targets}));
        self.write(&format!("{n}.snapshot.json"), "snapshot", n, json!({"meta": {"targets.json": {"version": n}}}));
        self.write("timestamp.json", "timestamp", n, json!({"meta": {"snapshot.json": {"version": n}}}));
    }

    fn release(&self, product: &str, version: &str, files: &[(&str, Vec<u8>)]) -> (String, Value) {
        let content = self.dir.join(format!("{product}-{version}"));
        fs::create_dir_all(content.join("bin")).unwrap();
        for (path, text) in files {
            fs::write(content.join(path), text.as_slice()).unwrap();
            fs::set_permissions(content.join(path), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let platform = self.platform.clone();
        let description = Description {
            product: product.parse().unwrap(),
            version: version.parse().unwrap(),
            platform: platform.clone(),
            program: files[0].0.into(),
            self_check: Vec::new(),
            restart: Default::default(),
            health: Default::default(),
        };
        let mut package = Vec::new();
        package::pack(&content, &description, &mut package, &mut |_| {}).unwrap();
        let sha256 = hex::encode(Sha256::digest(&package));
        let name = format!("{product}-{version}-{}-{}.lpk", platform.os, platform.arch);
        let dir = self.repository().join("targets").join(product);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("{sha256}.{name}")), &package).unwrap();
        let release = json!({
            "arch": platform.arch, "channel": "stable", "os": platform.os, "product": product, "server": "*",
            "version": version,
        });
        let target = json!({"custom": {"lockstep": release}, "hashes": {"sha256": sha256}, "length": package.len()});
        (format!("{product}/{name}"), target)
    }

    fn key_id(&self) -> String {
        hex::encode(Sha256::digest(self.key.verifying_key().as_bytes()))
    }

    fn write(&self, file: &str, role: &str, version: u64, mut signed: Value) {
        signed["_type"] = role.into();
        signed["expires"] = "2099-01-01T00:00:00Z".into();
        signed["spec_version"] = "1.0.31".into();
        signed["version"] = version.into();
        let signature = hex::encode(self.key.sign(canonical(&signed).as_bytes()).to_bytes());
        let whole = json!({"signatures": [{"keyid": self.key_id(), "sig": signature}], "signed": signed});
        fs::write(self.repository().join("metadata").join(file), whole.to_string()).unwrap();
    }
}

/// Installs, as root, the one connector in its payload.
fn installer(version: &str, program: &Path) -> String {
    format!(
        r#"#!/bin/sh
set -e
fail() {{ echo "lockstep-updater: $1" >&2; exit 1; }}
[ "$(id -u)" = 0 ] || fail "installing needs an administrator"
[ "$#" = 3 ] && [ "$1 $2" = "install --root" ] || fail "unknown arguments: $*"
here=$(dirname "$(dirname "$(readlink -f "$0")")")
for part in site.json root.json payload/metadata/timestamp.json payload/metadata/1.root.json; do
    [ -f "$here/$part" ] || fail "$part is missing"
done
[ "$(ls "$here"/payload/targets/updater/*.updater-{version}-*.lpk | wc -l)" = 1 ] || fail "not one updater"
[ "$(ls "$here"/payload/targets/connector/*.lpk | wc -l)" = 1 ] || fail "not one connector"
connector=$(basename "$here"/payload/targets/connector/*.lpk | sed 's/.*connector-\([0-9.]*\)-.*/\1/')
updater=$3/opt/lockstep/updater; product=$3/opt/lockstep/connector
mkdir -p "$updater/versions/{version}/bin" "$product/versions/$connector/bin"
cp "$here/bin/lockstep-launcher" "$updater/versions/{version}/bin/"
ln "{program}" "$product/versions/$connector/bin/lockstep-connector"
ln -s "versions/$connector" "$product/current"
mkdir -p "$3/etc/lockstep"
cp "$here/site.json" "$here/root.json" "$3/etc/lockstep/"
ln -s "versions/{version}" "$updater/current"
env | cut -d= -f1 > "$3/installers-environment"
echo "connector $connector and updater {version} are installed"
"#,
        program = program.display()
    )
}

const LAUNCHER: &str = r#"#!/bin/sh
[ "$1" = --version ] && { echo "lockstep-launcher 0.1.0"; exit 0; }
[ "$1 $3 $4" = "--root connector --" ] || { echo "unknown arguments: $*" >&2; exit 2; }
root=$2; shift 4
exec "$root/opt/lockstep/connector/current/bin/lockstep-connector" "$@"
"#;

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
