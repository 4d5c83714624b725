//! The MSI packages of the real programs, made once for every test and kept until a program, or this test program, changes.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::SystemTime,
};

use protocol::product::Platform;
use release::package::{Description, FileEntry, MAGIC, Manifest};
use sha2::{Digest, Sha256};
use xtask::{
    dist::windows::{Kind, Shipped},
    programs::{Profile, Programs, target},
};

use crate::built;

/// The programs of the product `updater`, as the packages have them.
const UPDATER: [&str; 3] = ["lockstep-launcher.exe", "lockstep-supervisor.exe", "lockstep-updater.exe"];
/// Those of the product `connector`.
const CONNECTOR: [&str; 1] = ["lockstep-connector.exe"];

/// The updater's package of a version.
pub fn updater(version: &str) -> PathBuf {
    package(Kind::Updater, version, "7.2.0")
}

/// The connector's package of a version, with the updater 0.1.0.
pub fn connector(version: &str) -> PathBuf {
    package(Kind::Connector, "0.1.0", version)
}

fn package(kind: Kind, updater: &str, connector: &str) -> PathBuf {
    let shelf = target().join("programs/windows-packages");
    fs::create_dir_all(&shelf).unwrap();
    let lock = File::create(shelf.join("lock")).unwrap();
    lock.lock().unwrap();
    let (programs, own) = (built(), std::env::current_exe().unwrap());
    let sources = UPDATER.iter().chain(&CONNECTOR).map(|name| programs.path(name)).chain([own]);
    let newest = sources.map(|file| changed(&file).unwrap_or_else(|| panic!("{} is missing", file.display()))).max();
    let fresh = |file: &Path| changed(file) > newest;
    let version = if kind == Kind::Updater { updater } else { connector };
    let made = shelf.join(format!("{}-{version}-x64.msi", kind.name()));
    if fresh(&made) {
        return made;
    }
    for name in UPDATER.iter().chain(&CONNECTOR) {
        if !fresh(&shelf.join(name)) {
            fs::copy(programs.path(name), shelf.join(name)).unwrap();
        }
    }
    for (product, version, names, check) in
        [("updater", updater, &UPDATER[..], None), ("connector", connector, &CONNECTOR, Some("self-check"))]
    {
        let to = shelf.join(format!("{product}-{version}.lpk"));
        if !fresh(&to) {
            fs::write(to, packed(product, version, names, check)).unwrap();
        }
    }
    let lockstep = Programs::built(Profile::Dev).unwrap().path("lockstep");
    let shipped = Shipped { programs: shelf.clone(), lockstep, updater: updater.into(), connector: connector.into() };
    shipped.msi(kind, &shelf).unwrap()
}

fn changed(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|m| m.modified()).ok()
}

/// What `lockstep pack` makes, compressed fast: the real thing takes a minute.
fn packed(product: &str, version: &str, names: &[&str], self_check: Option<&str>) -> Vec<u8> {
    let files: Vec<(String, Vec<u8>)> =
        names.iter().map(|name| (format!("bin/{name}"), fs::read(built().path(name)).unwrap())).collect();
    let entries = files.iter().map(|(path, bytes)| FileEntry {
        path: path.clone(),
        size: bytes.len() as u64,
        mode: 0o755,
        sha256: hex::encode(Sha256::digest(bytes)),
    });
    let manifest = Manifest {
        v: 1,
        description: Description {
            product: product.parse().unwrap(),
            version: version.parse().unwrap(),
            platform: Platform { os: "windows".into(), arch: "x86_64".into() },
            program: format!("bin/lockstep-{product}.exe"),
            self_check: self_check.iter().map(|argument| (*argument).to_owned()).collect(),
            restart: Default::default(),
            health: Default::default(),
        },
        files: entries.collect(),
    };
    // A value sorts its members.
    let manifest = serde_json::to_value(&manifest).unwrap().to_string();
    let mut package = MAGIC.to_vec();
    package.extend(u32::try_from(manifest.len()).unwrap().to_be_bytes());
    package.extend(manifest.as_bytes());
    let mut frame = zstd::Encoder::new(&mut package, 1).unwrap();
    files.iter().for_each(|(_, bytes)| frame.write_all(bytes).unwrap());
    frame.finish().unwrap();
    package
}
