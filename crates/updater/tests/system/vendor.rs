//! A vendor with one key for every role: packages, signed metadata, and folders to install from.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use ed25519_dalek::{Signer, SigningKey};
use protocol::{
    Version,
    catalog::{Catalog, Entry},
    product::{Platform, ProductId},
};
use release::{
    carried_root,
    package::{self, Description, FileEntry, Manifest},
    tuf::consistent_target_path,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const UPDATER: &str = env!("CARGO_BIN_EXE_lockstep-updater");
pub const LAUNCHER: &str = env!("CARGO_BIN_EXE_lockstep-launcher");
pub const SUPERVISOR: &str = env!("CARGO_BIN_EXE_lockstep-supervisor");
pub const FAR: &str = "2099-01-01T00:00:00Z";

/// One state of a vendor's repository, to be changed and signed at will.
#[derive(Clone)]
pub struct Vendor {
    key: SigningKey,
    /// Of timestamp, snapshot and targets.
    pub version: u64,
    /// Of the timestamp; everything else is good for long.
    pub expires: String,
    pub releases: Vec<Release>,
}

/// A release that the vendor signs.
#[derive(Clone)]
pub struct Release {
    pub product: ProductId,
    pub version: Version,
    pub platform: Platform,
    pub channel: String,
    pub package: Vec<u8>,
    /// Further members of the signed facts, such as `floor`.
    pub facts: Value,
}

impl Release {
    /// A product whose program is a shell script.
    pub fn script(product: &str, version: &str, script: &str) -> Self {
        let program = format!("bin/lockstep-{product}");
        let script = format!("#!/bin/sh\n[ \"$1\" = self-check ] && exit 0\n{script}\n");
        let notes = format!("{product} {version}\n").repeat(2000);
        Self::of(product, version, &[(&program, 0o755, script.as_bytes()), ("share/notes", 0o644, notes.as_bytes())])
    }

    /// The updater itself, the real programs, called this version.
    pub fn real_updater(version: &str) -> Self {
        let [updater, launcher] = [UPDATER, LAUNCHER].map(|program| fs::read(program).unwrap());
        let files = [("bin/lockstep-launcher", 0o755, &launcher[..]), ("bin/lockstep-updater", 0o755, &updater[..])];
        Self::of("updater", version, &files)
    }

    /// The same with the supervisor, which the installer puts at its own place.
    pub fn supervised_updater(version: &str) -> Self {
        // Without what only debuggers read: it is hashed, packed, sent and unpacked again and again, unoptimised.
        let dir = tempfile::tempdir().unwrap();
        let small = dir.path().join("lockstep-updater");
        let stripped = std::process::Command::new("strip").arg("-o").arg(&small).arg(UPDATER).status();
        assert!(stripped.is_ok_and(|s| s.success()), "this test needs strip: apt-get install binutils");
        Self::updater_like(version, &fs::read(small).unwrap())
    }

    /// An updater's package as it was published.
    pub fn published_updater(package: Vec<u8>) -> Self {
        let Description { product, version, platform, .. } =
            package::read_manifest(&mut &package[..]).unwrap().description;
        assert_eq!(product, ProductId::updater());
        Self { product, version, platform, channel: "stable".into(), package, facts: json!({}) }
    }

    /// An updater that is this script, as if its vendor had built a broken one.
    pub fn broken_updater(version: &str, script: &str) -> Self {
        Self::updater_like(version, format!("#!/bin/sh\n{script}\n").as_bytes())
    }

    fn updater_like(version: &str, program: &[u8]) -> Self {
        let supervisor = fs::read(SUPERVISOR).unwrap();
        let files = [("bin/lockstep-supervisor", 0o755, &supervisor[..]), ("bin/lockstep-updater", 0o755, program)];
        Self::of("updater", version, &files)
    }

    /// A product with these files, the first of which is its program. Compressed fast, unlike by `lockstep pack`.
    pub fn of(product: &str, version: &str, files: &[(&str, u32, &[u8])]) -> Self {
        let check: &[&str] = if product == "connector" { &["self-check"] } else { &[] };
        Self::checked(product, version, files, check)
    }

    /// The same with these arguments of its self-check.
    pub fn checked(product: &str, version: &str, files: &[(&str, u32, &[u8])], check: &[&str]) -> Self {
        Self::on(Platform::current(), product, version, files, check, &format!("bin/lockstep-{product}")).verified()
    }

    /// The same for Windows, whose programs have an ending.
    pub fn for_windows(product: &str, version: &str, files: &[(&str, u32, &[u8])], check: &[&str]) -> Self {
        let platform = Platform { os: "windows".into(), arch: "x86_64".into() };
        Self::on(platform, product, version, files, check, &format!("bin/lockstep-{product}.exe")).verified()
    }

    /// A package for Windows, one of whose files has this path; nobody has looked whether it may.
    pub fn with_path_for_windows(version: &str, program: &[u8], path: &str) -> Self {
        let files = [("bin/lockstep-connector.exe", 0o755, program), (path, 0o644, &b"hostile"[..])];
        let platform = Platform { os: "windows".into(), arch: "x86_64".into() };
        Self::on(platform, "connector", version, &files, &["self-check"], "bin/lockstep-connector.exe")
    }

    /// A package that may be unpacked.
    fn verified(self) -> Self {
        package::verify(&self.package[..]).unwrap();
        self
    }

    fn on(
        platform: Platform,
        product: &str,
        version: &str,
        files: &[(&str, u32, &[u8])],
        check: &[&str],
        program: &str,
    ) -> Self {
        let product: ProductId = product.parse().unwrap();
        let version: Version = version.parse().unwrap();
        let mut files = files.to_vec();
        files.sort();
        let entries = files.iter().map(|(path, mode, bytes)| FileEntry {
            path: (*path).into(),
            size: bytes.len() as u64,
            mode: *mode,
            sha256: hex::encode(Sha256::digest(bytes)),
        });
        let self_check = check.iter().map(|argument| (*argument).to_owned()).collect();
        let description = Description {
            product: product.clone(),
            version: version.clone(),
            platform: platform.clone(),
            program: program.into(),
            self_check,
            restart: Default::default(),
            health: Default::default(),
        };
        let manifest = Manifest { v: 1, description, files: entries.collect() };
        let manifest = canonical(&serde_json::to_value(&manifest).unwrap());
        let mut package = package::MAGIC.to_vec();
        package.extend(u32::try_from(manifest.len()).unwrap().to_be_bytes());
        package.extend(manifest.as_bytes());
        let mut frame = zstd::Encoder::new(&mut package, 1).unwrap();
        files.iter().for_each(|(_, _, bytes)| frame.write_all(bytes).unwrap());
        frame.finish().unwrap();
        Self { product, version, platform, channel: "stable".into(), package, facts: json!({}) }
    }

    pub fn with(mut self, fact: &str, value: &str) -> Self {
        self.facts[fact] = value.into();
        self
    }

    pub fn target(&self) -> String {
        format!("{0}/{0}-{1}-{2}.lpk", self.product, self.version, self.platform)
    }

    /// Where the package lies below `targets/`.
    pub fn path(&self) -> String {
        consistent_target_path(&self.target(), &hex::encode(Sha256::digest(&self.package)))
    }

    fn signed(&self) -> Value {
        let Platform { os, arch } = &self.platform;
        let mut facts = json!({
            "product": self.product, "version": self.version, "channel": self.channel, "os": os, "arch": arch,
            "server": if self.product == ProductId::updater() { "*".into() }
                      else { format!(">={0}.{1}, <{0}.{2}", self.version.major, self.version.minor, self.version.minor + 1) },
        });
        for (name, value) in self.facts.as_object().unwrap() {
            facts[name] = value.clone();
        }
        json!({
            "length": self.package.len(),
            "hashes": { "sha256": hex::encode(Sha256::digest(&self.package)) },
            "custom": { "lockstep": facts },
        })
    }
}

impl Vendor {
    /// A vendor whose key is made from a name.
    pub fn new(name: &str, releases: &[Release]) -> Self {
        let key = SigningKey::from_bytes(&Sha256::digest(name).into());
        Self { key, version: 1, expires: FAR.into(), releases: releases.to_vec() }
    }

    /// The next state, with these releases.
    pub fn next(&self, releases: &[Release]) -> Self {
        Self { version: self.version + 1, releases: releases.to_vec(), ..self.clone() }
    }

    pub fn root(&self) -> Vec<u8> {
        let id = hex::encode(Sha256::digest(self.key.verifying_key().as_bytes()));
        let role = json!({ "keyids": [id], "threshold": 1 });
        let public = hex::encode(self.key.verifying_key().as_bytes());
        self.sign(json!({
            "_type": "root", "spec_version": "1.0.31", "version": 1, "expires": FAR, "consistent_snapshot": true,
            "keys": { &id: { "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": public } } },
            "roles": { "root": role, "snapshot": role, "targets": role, "timestamp": role },
        }))
    }

    /// Every metadata file by its name.
    pub fn metadata(&self) -> BTreeMap<String, Vec<u8>> {
        let n = self.version;
        let common = |kind: &str| json!({ "_type": kind, "spec_version": "1.0.31", "version": n, "expires": FAR });
        let targets: serde_json::Map<_, _> = self.releases.iter().map(|r| (r.target(), r.signed())).collect();
        let mut signed = common("targets");
        signed["targets"] = targets.into();
        let targets = self.sign(signed);
        let mut signed = common("snapshot");
        signed["meta"] = json!({ "targets.json": pin(n, &targets) });
        let snapshot = self.sign(signed);
        let mut signed = common("timestamp");
        signed["expires"] = self.expires.clone().into();
        signed["meta"] = json!({ "snapshot.json": pin(n, &snapshot) });
        BTreeMap::from([
            ("1.root.json".into(), self.root()),
            (format!("{n}.targets.json"), targets),
            (format!("{n}.snapshot.json"), snapshot),
            ("timestamp.json".into(), self.sign(signed)),
        ])
    }

    /// What a server makes of it.
    pub fn catalog(&self) -> Catalog {
        let entry = |release: &Release| Entry {
            target: release.target(),
            length: release.package.len() as u64,
            sha256: hex::encode(Sha256::digest(&release.package)),
            release: serde_json::from_value(release.signed()["custom"]["lockstep"].clone()).unwrap(),
        };
        Catalog { entries: self.releases.iter().map(entry).collect() }
    }

    fn sign(&self, signed: Value) -> Vec<u8> {
        let signature = hex::encode(self.key.sign(canonical(&signed).as_bytes()).to_bytes());
        let id = hex::encode(Sha256::digest(self.key.verifying_key().as_bytes()));
        json!({ "signed": signed, "signatures": [{ "keyid": id, "sig": signature }] }).to_string().into_bytes()
    }

    /// A folder as the integration page gives it, with the packages of these releases; `carried` goes behind the program.
    pub fn folder(&self, at: &Path, packages: &[&Release], carried: Option<&[u8]>) -> PathBuf {
        let folder = at.to_owned();
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::create_dir_all(folder.join("payload/metadata")).unwrap();
        fs::create_dir_all(folder.join("payload/targets")).unwrap();
        let program = folder.join("bin/lockstep-updater");
        fs::copy(UPDATER, &program).unwrap();
        if let Some(root) = carried {
            let mut file = fs::OpenOptions::new().append(true).open(&program).unwrap();
            file.write_all(&carried_root::trailer(root).unwrap()).unwrap();
        }
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.join("site.json"), profile()).unwrap();
        fs::write(folder.join("root.json"), self.root()).unwrap();
        for (name, bytes) in self.metadata() {
            fs::write(folder.join("payload/metadata").join(name), bytes).unwrap();
        }
        for release in packages {
            let path = folder.join("payload/targets").join(release.path());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &release.package).unwrap();
        }
        folder
    }
}

pub fn profile() -> &'static str {
    r#"{"v":1,"server":"https://mail.example.test:4443","enrolment_key":"k"}"#
}

fn pin(version: u64, bytes: &[u8]) -> Value {
    json!({ "version": version, "length": bytes.len(), "hashes": { "sha256": hex::encode(Sha256::digest(bytes)) } })
}

/// Canonical JSON: sorted members, no spaces. The strings used here need no escapes.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            let members: Vec<_> = members.iter().map(|(n, v)| format!("\"{n}\":{}", canonical(v))).collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}
