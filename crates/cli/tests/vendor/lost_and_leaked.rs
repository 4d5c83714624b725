//! The procedures of docs/vendor.md for keys that are lost or leaked, as they are written there. In each, a device that knows the
//! old state, and one that starts from the pinned root, end up right; and the thief's key is good for nothing any more.

use std::fs;

use release::tuf::{Error, Repository};

use crate::{
    bench::{Bench, copy_dir, offers, read, versions},
    python,
};

const PUBLISH: &str = "publish --repo repo --offline offline --online online";
const RENEW: &str = "renew --repo repo --online online";

/// A vendor with a product team, a device that has read all of it, and, after `steal`, a thief with a copy of the repository and of some keys.
struct Scene {
    bench: Bench,
    device: Repository,
}

impl Scene {
    fn new() -> Self {
        let bench = Bench::published();
        bench.line("key new offline/mailer.pem --unencrypted");
        bench.line("delegation add mailer --product mailer --key offline/mailer.pub --repo repo");
        bench.add_of("mailer", "1.0.0", &[]);
        bench.line(PUBLISH);
        let device = bench.client("device");
        bench.read(&device).unwrap();
        python::follow(&bench, &[]);
        Self { bench, device }
    }

    /// The thief copies the repository, and these keys.
    fn steal(&self, keys: &[&str]) {
        copy_dir(&self.bench.repo(), &self.bench.path("stolen/repo"));
        for ring in ["offline", "online"] {
            fs::create_dir_all(self.bench.path(&format!("stolen/{ring}"))).unwrap();
            fs::copy(self.bench.path("online/root.json"), self.bench.path(&format!("stolen/{ring}/root.json")))
                .unwrap();
        }
        for key in keys {
            fs::copy(self.bench.path(key), self.bench.path(&format!("stolen/{key}"))).unwrap();
        }
    }

    /// What the thief's repository can make this device believe.
    fn device_reads_the_thief(&self) -> Result<release::tuf::Trusted, Error> {
        read(&self.device, &self.bench.path("stolen/repo"), jiff::Timestamp::now())
    }

    /// The vendor goes on, and everybody follows.
    fn goes_on(&self) {
        self.bench.add("7.3.0", &[]);
        self.bench.line(PUBLISH);
        self.bench.line(RENEW);
        for device in [&self.device, &self.bench.client("new device")] {
            let state = self.bench.read(device).unwrap();
            assert_eq!(offers(&state, "connector").len(), 2);
            assert_eq!(offers(&state, "mailer").len(), 1);
        }
        python::follow(
            &self.bench,
            &["connector/connector-7.3.0-linux-x86_64.lpk", "mailer/mailer-1.0.0-linux-x86_64.lpk"],
        );
        self.bench.line("repo check repo --root offline/root.json");
    }
}

fn replace(bench: &Bench, key: &str, more: &[&str]) {
    let line = ["key", "replace", key, "--repo", "repo", "--offline", "offline", "--online", "online"];
    bench.ok(&[&line[..], more].concat());
}

/// The id of a key by its `.pub` file.
fn id(bench: &Bench, public: &str) -> String {
    let shown: serde_json::Value = serde_json::from_str(&bench.ok(&["key", "show", public, "--json"])).unwrap();
    shown["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_root_key_is_lost() {
    let scene = Scene::new();
    fs::remove_file(scene.bench.path("offline/root2.pem")).unwrap();
    let id = id(&scene.bench, "offline/root2.pub");
    replace(&scene.bench, "root2", &["--old-key-id", &id]);
    scene.goes_on();
}

#[test]
fn a_root_key_leaks() {
    let scene = Scene::new();
    scene.steal(&["offline/root1.pem", "online/snapshot.pem", "online/timestamp.pem"]);
    // One root key, even with both online keys, changes nothing.
    let thief = "publish --repo stolen/repo --offline stolen/offline --online stolen/online";
    scene.bench.line("role renew root --repo stolen/repo");
    assert!(scene.bench.line_fails(thief).contains("2 root keys must sign, but only 1 did"));
    replace(&scene.bench, "root1", &[]);
    scene.goes_on();
}

#[test]
fn the_targets_key_leaks() {
    let scene = Scene::new();
    scene.steal(&["offline/targets.pem"]);
    let file = scene.bench.pack("9.9.9");
    scene.bench.ok(&["release", "add", "--repo", "stolen/repo", file.to_str().unwrap()]);
    // Alone it publishes nothing: snapshot and timestamp have other keys.
    scene.bench.line("key new stolen/online/snapshot.pem --unencrypted");
    scene.bench.line("key new stolen/online/timestamp.pem --unencrypted");
    let why = scene.bench.line_fails("publish --repo stolen/repo --offline stolen/offline --online stolen/online");
    assert!(why.contains("is not a snapshot key of this repository"), "{why}");

    replace(&scene.bench, "targets", &[]);
    scene.goes_on();
    // With the online keys as well, after the replacement: what the old key signs is refused by whoever has followed.
    fs::copy(scene.bench.path("online/snapshot.pem"), scene.bench.path("stolen/online/snapshot.pem")).unwrap();
    fs::copy(scene.bench.path("online/timestamp.pem"), scene.bench.path("stolen/online/timestamp.pem")).unwrap();
    scene.bench.line("publish --repo stolen/repo --offline stolen/offline --online stolen/online");
    for _ in 0..9 {
        scene.bench.line("renew --repo stolen/repo --online stolen/online");
    }
    let root = "metadata/2.root.json";
    fs::copy(scene.bench.repo().join(root), scene.bench.path("stolen/repo").join(root)).unwrap();
    let error = scene.device_reads_the_thief().unwrap_err();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    assert!(!versions(&scene.device.known().unwrap().unwrap()).contains(&"9.9.9".to_owned()));
}

#[test]
fn the_online_keys_leak() {
    let scene = Scene::new();
    scene.steal(&["online/snapshot.pem", "online/timestamp.pem"]);
    // The thief counts up, so that everything of the vendor's would be older; no release comes of it.
    for _ in 0..20 {
        scene.bench.line("renew --repo stolen/repo --online stolen/online");
    }
    let fooled = scene.device_reads_the_thief().unwrap();
    assert_eq!(versions(&fooled), ["1.0.0", "7.2.0"]);
    assert!(scene.bench.read(&scene.device).is_err(), "the vendor's state is older now");
    replace(&scene.bench, "timestamp", &[]);
    replace(&scene.bench, "snapshot", &[]);
    scene.goes_on();
    assert!(scene.device_reads_the_thief().is_err());
}

#[test]
fn the_key_of_a_product_leaks() {
    let scene = Scene::new();
    scene.steal(&["offline/mailer.pem", "online/snapshot.pem", "online/timestamp.pem"]);
    // With the online keys too, the thief can release that product, and nothing else.
    let file = scene.bench.pack("9.9.9");
    scene.bench.ok(&["release", "add", "--repo", "stolen/repo", file.to_str().unwrap()]);
    let thief = "publish --repo stolen/repo --offline stolen/offline --online stolen/online";
    assert!(scene.bench.line_fails(thief).contains("1 targets key must sign, but none did"));

    replace(&scene.bench, "mailer", &[]);
    replace(&scene.bench, "timestamp", &[]);
    replace(&scene.bench, "snapshot", &[]);
    scene.goes_on();
    scene.bench.line("release drop --repo stolen/repo connector/connector-9.9.9-linux-x86_64.lpk");
    let file = scene.bench.pack_of("mailer", "6.6.6");
    scene.bench.ok(&["release", "add", "--repo", "stolen/repo", file.to_str().unwrap(), "--server", "*"]);
    scene.bench.line(thief);
    assert!(scene.device_reads_the_thief().is_err());
    assert_eq!(offers(&scene.device.known().unwrap().unwrap(), "mailer").len(), 1);
}
