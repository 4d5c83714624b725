//! A PC below a temporary directory, and packages of tiny real programs.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lockstep_updater::{
    layout::Layout,
    platform,
    slots::{RealDisk, Slots},
};
use protocol::{
    Version,
    catalog::{Entry, Release},
    product::{Platform, ProductId},
};
use release::package::{Description, pack};
use sha2::{Digest, Sha256};

/// A PC of its own. Its directories can be passed by every user, as on a real one.
pub struct Pc {
    pub dir: tempfile::TempDir,
    pub layout: Layout,
    pub slots: Slots,
}

pub fn connector() -> ProductId {
    ProductId::connector()
}

pub fn version(text: &str) -> Version {
    text.parse().unwrap()
}

impl Pc {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("pc-").tempdir_in("/tmp").unwrap();
        platform::set_mode(dir.path(), 0o755).unwrap();
        let layout = Layout::new(&dir.path().join("root")).unwrap();
        for (path, mode) in [
            (layout.root().to_owned(), 0o755),
            (layout.state_dir(), 0o700),
            (layout.downloads(), 0o700),
            (layout.versions(&connector()), 0o755),
            (layout.run_dir(), 0o755),
        ] {
            platform::make_dir(&path, mode).unwrap();
        }
        let slots = Slots::new(layout.clone(), Arc::new(RealDisk));
        Self { dir, layout, slots }
    }

    /// Packs a shell script as a version of the connector.
    pub fn package(&self, number: &str, script: &str) -> (Entry, PathBuf) {
        let tree = self.dir.path().join(format!("tree-{number}"));
        fs::create_dir_all(tree.join("bin")).unwrap();
        fs::create_dir_all(tree.join("share/doc")).unwrap();
        fs::write(tree.join("share/doc/notes"), number.repeat(5000)).unwrap();
        let program = tree.join("bin/program");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        platform::set_mode(&program, 0o755).unwrap();
        if script.contains("/sleep") {
            // What runs is then a file of the version's own, not the system's shell.
            fs::copy("/bin/sleep", tree.join("bin/sleep")).unwrap();
            platform::set_mode(&tree.join("bin/sleep"), 0o755).unwrap();
        }
        self.pack(number, &tree)
    }

    /// Packs a directory as a version of the connector.
    pub fn pack(&self, number: &str, tree: &Path) -> (Entry, PathBuf) {
        let description = Description {
            product: connector(),
            version: version(number),
            platform: Platform::current(),
            program: "bin/program".into(),
            self_check: vec!["self-check".into()],
            restart: Default::default(),
            health: Default::default(),
        };
        let mut bytes = Vec::new();
        pack(tree, &description, &mut bytes, &mut |_| {}).unwrap();
        let path = self.dir.path().join(format!("{number}.lpk"));
        fs::write(&path, &bytes).unwrap();
        let Version { major, minor, .. } = version(number);
        let server = format!(">={major}.{minor}, <{major}.{}", minor + 1).parse().unwrap();
        let release = Release {
            product: connector(),
            version: version(number),
            channel: "stable".into(),
            platform: Platform::current(),
            server,
            store: None,
            upgrades_from: None,
            updater: None,
            floor: None,
            downgrade_from: None,
            withdraws: vec![],
        };
        let entry = Entry {
            target: format!("connector/connector-{number}.lpk"),
            length: bytes.len() as u64,
            sha256: hex::encode(Sha256::digest(&bytes)),
            release,
        };
        (entry, path)
    }

    /// Makes a version complete, without any service.
    pub fn stage(&self, package: &Path, number: &str) {
        self.slots
            .stage(&connector(), &version(number), rand::random(), &mut |into| {
                Ok(release::package::unpack(fs::File::open(package).unwrap(), into).unwrap())
            })
            .unwrap();
    }

    /// Makes it the active one.
    pub fn activate(&self, number: &str) {
        let current = self.current();
        self.slots.activate(&connector(), Some(&version(number)), current.as_ref(), false, rand::random()).unwrap();
        self.slots.settle(&connector()).unwrap();
    }

    pub fn current(&self) -> Option<Version> {
        self.slots.observe(&connector()).unwrap().current
    }

    /// Whether every file of a version is what the vendor packed.
    pub fn is_complete(&self, version: &Version) -> bool {
        let dir = self.layout.version(&connector(), version);
        let manifest = self.slots.manifest(&connector(), version).unwrap();
        !manifest.files.is_empty()
            && manifest.files.iter().all(|file| {
                let bytes = fs::read(dir.join(&file.path)).unwrap_or_default();
                hex::encode(Sha256::digest(&bytes)) == file.sha256
            })
    }
}

/// Waits until something is so, at most ten seconds.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within ten seconds: {what}");
}

/// Many of these tests act as other users.
pub fn needs_root() {
    assert!(platform::is_root(), "this test acts as other users, so it must run as root");
}
