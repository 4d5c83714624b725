//! The real installer, from folders as the integration page gives them: final rights everywhere, each time.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::vendor::{Release, UPDATER, Vendor};

/// A vendor, its folder, and a PC to install on.
pub struct Download {
    pub dir: tempfile::TempDir,
    pub vendor: Vendor,
    pub updater: Release,
    pub connector: Release,
}

/// The newest updater and a connector, as scripts.
pub fn download() -> Download {
    let updater = Release::script("updater", "0.1.0", "echo updater 0.1.0");
    let connector = Release::script("connector", "7.3.0", "echo connector 7.3.0");
    with(updater, connector)
}

pub fn with(updater: Release, connector: Release) -> Download {
    let dir = tempfile::Builder::new().prefix("dl-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let vendor = Vendor::new("vendor", &[updater.clone(), connector.clone()]);
    let download = Download { dir, vendor, updater, connector };
    download.vendor.folder(&download.folder(), &[&download.updater, &download.connector], None);
    download
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

impl Download {
    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("lockstep-connector-7.3.0")
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub fn install(&self) -> Output {
        install(&self.folder(), &self.root())
    }

    /// Another folder, in the place of the one before.
    pub fn replace_folder(&self, vendor: &Vendor, packages: &[&Release], carried: Option<&[u8]>) {
        fs::remove_dir_all(self.folder()).unwrap();
        vendor.folder(&self.folder(), packages, carried);
    }

    /// What must be refused, and leave nothing.
    pub fn refused(&self) -> String {
        let before = state(&self.root());
        let output = self.install();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert_eq!(state(&self.root()), before, "{}", said(&output));
        assert!(!self.root().join("var/lib/lockstep/updater/install").exists());
        said(&output)
    }

    pub fn current(&self, product: &str) -> Option<String> {
        let link = fs::read_link(self.root().join("opt/lockstep").join(product).join("current")).ok()?;
        Some(link.file_name()?.to_str()?.to_owned())
    }
}

pub fn install(folder: &Path, root: &Path) -> Output {
    Command::new(folder.join("bin/lockstep-updater")).args(["install", "--root"]).arg(root).output().unwrap()
}

/// Everything that counts on a PC: machine policy and versions, by their hashes, without what is hidden or private.
pub fn state(root: &Path) -> BTreeMap<PathBuf, (u32, String)> {
    let mut all = BTreeMap::new();
    for dir in ["etc", "opt"] {
        collect(&root.join(dir), &mut all);
    }
    all
}

fn collect(dir: &Path, all: &mut BTreeMap<PathBuf, (u32, String)>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_symlink() {
            all.insert(path.clone(), (0, fs::read_link(&path).unwrap().display().to_string()));
        } else if meta.is_dir() {
            collect(&path, all);
        } else {
            all.insert(path.clone(), (meta.mode() & 0o7777, hex::encode(Sha256::digest(fs::read(&path).unwrap()))));
        }
    }
}

/// Path, mode and owner of everything below a directory.
fn rights(dir: &Path) -> Vec<(PathBuf, u32, u32)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_symlink() {
            continue;
        }
        all.push((path.clone(), meta.mode() & 0o7777, meta.uid()));
        if meta.is_dir() {
            all.extend(rights(&path));
        }
    }
    all.sort();
    all
}

pub fn succeeded(output: &Output) -> bool {
    if !output.status.success() {
        eprintln!("{}", said(output));
    }
    output.status.success()
}

#[test]
fn a_fresh_installation_is_complete_and_nobody_else_can_write_to_it() {
    let download = download();
    let output = download.install();
    assert!(succeeded(&output));
    let root = download.root();
    assert_eq!(download.current("updater").as_deref(), Some("0.1.0"));
    assert_eq!(download.current("connector").as_deref(), Some("7.3.0"));
    for product in ["updater", "connector"] {
        let program = root.join("opt/lockstep").join(product).join(format!("current/bin/lockstep-{product}"));
        let version = Command::new(program).output().unwrap();
        assert!(String::from_utf8(version.stdout).unwrap().starts_with(product));
    }
    assert_eq!(fs::read(root.join("etc/lockstep/root.json")).unwrap(), download.vendor.root());
    for (path, mode, owner) in rights(&root) {
        assert_eq!(mode & 0o022, 0, "{} {mode:o}", path.display());
        assert_eq!(owner, lockstep_updater::platform::own_uid());
    }
    let private = fs::metadata(root.join("var/lib/lockstep/updater")).unwrap();
    assert_eq!(private.permissions().mode() & 0o777, 0o700);
    assert!(!root.join("var/lib/lockstep/updater/install").exists(), "the copy is gone");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(out.contains("run --root") && out.contains("connector 7.3.0 is installed\n"), "{out}");
}

#[test]
fn installing_again_changes_nothing_and_says_so_to_scripts() {
    let download = download();
    assert!(succeeded(&download.install()));
    let fresh = state(&download.root());
    let mut again = Command::new(download.folder().join("bin/lockstep-updater"));
    let again = again.args(["install", "--json", "--root"]).arg(download.root()).output().unwrap();
    assert!(succeeded(&again));
    assert_eq!(state(&download.root()), fresh);
    let said: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(said["products"][0]["product"], "connector");
    assert_eq!(said["products"][1]["done"], "unchanged");
    assert_eq!((&said["believed"], &said["service"]), (&"pinned".into(), &"not-running".into()));

    fs::remove_file(download.folder().join("payload/metadata/timestamp.json")).unwrap();
    let mut failing = Command::new(download.folder().join("bin/lockstep-updater"));
    let failing = failing.args(["install", "--json", "--root"]).arg(download.root()).output().unwrap();
    assert_eq!(failing.status.code(), Some(1));
    let said: Value = serde_json::from_slice(&failing.stdout).unwrap();
    assert!(said["error"].as_str().unwrap().contains("timestamp.json"), "{said}");
}

#[test]
fn installing_again_repairs_rights_and_damage() {
    let download = download();
    assert!(succeeded(&download.install()));
    let (fresh, whole) = (rights(&download.root()), state(&download.root()));
    let versions = download.root().join("opt/lockstep/updater/versions");
    for path in [
        "etc/lockstep",
        "etc/lockstep/site.json",
        "opt/lockstep/updater/versions",
        "opt/lockstep/connector/versions/7.3.0/bin",
        "var/lib/lockstep/updater",
    ] {
        fs::set_permissions(download.root().join(path), fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::write(versions.join("0.1.0/bin/lockstep-updater"), "damaged").unwrap();
    fs::write(versions.join("0.1.0/bin/planted"), "not the vendor's").unwrap();
    let repaired = download.install();
    assert!(succeeded(&repaired));
    assert!(String::from_utf8_lossy(&repaired.stdout).contains("updater 0.1.0 was damaged and is repaired"));
    assert_eq!(rights(&download.root()), fresh);
    assert_eq!(state(&download.root()), whole);
}

#[test]
fn while_the_active_version_is_repaired_it_is_there_at_every_instant() {
    let download = download();
    assert!(succeeded(&download.install()));
    let program = download.root().join("opt/lockstep/updater/current/bin/lockstep-updater");
    let notes = download.root().join("opt/lockstep/updater/current/share/notes");
    let done = Arc::new(AtomicBool::new(false));
    let watcher = std::thread::spawn({
        let done = done.clone();
        move || {
            let mut looks = 0_u64;
            while !done.load(Ordering::SeqCst) {
                assert!(fs::metadata(&program).is_ok(), "look {looks}: no program");
                looks += 1;
            }
            looks
        }
    });
    for _ in 0..20 {
        fs::write(&notes, "damaged").unwrap();
        assert!(succeeded(&download.install()));
        assert!(fs::read_to_string(&notes).unwrap().starts_with("updater 0.1.0"));
    }
    done.store(true, Ordering::SeqCst);
    let looks = watcher.join().unwrap();
    assert!(looks > 1000, "only {looks} looks");
}

#[test]
fn a_root_that_others_can_write_to_is_refused() {
    let download = download();
    let open = download.dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let output = install(&download.folder(), &open.join("root"));
    assert!(!output.status.success());
    assert!(said(&output).contains("lets others write"), "{}", said(&output));
    assert!(!open.join("root/etc").exists());
}

#[test]
fn a_folder_without_its_profile_is_refused_before_anything_is_made() {
    let download = download();
    fs::remove_file(download.folder().join("site.json")).unwrap();
    let output = download.install();
    assert!(!output.status.success());
    assert!(said(&output).contains("site.json is missing"), "{}", said(&output));
    assert!(!download.root().exists());
}

#[test]
fn installing_into_the_whole_machine_needs_an_administrator() {
    crate::fixture::needs_root();
    let download = download();
    let output = Command::new("setpriv")
        .args(["--reuid", "60001", "--regid", "60001", "--clear-groups"])
        .arg(download.folder().join("bin/lockstep-updater"))
        .arg("install")
        .current_dir("/")
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(said(&output).contains("needs an administrator"));
}

#[test]
fn the_service_refuses_a_profile_that_others_could_have_written() {
    let download = download();
    assert!(succeeded(&download.install()));
    let site = download.root().join("etc/lockstep/site.json");
    fs::set_permissions(&site, fs::Permissions::from_mode(0o666)).unwrap();
    let run = Command::new(UPDATER).args(["run", "--root"]).arg(download.root()).output().unwrap();
    assert!(!run.status.success());
    assert!(said(&run).contains("site.json cannot be trusted"), "{}", said(&run));
}

#[test]
fn a_second_service_is_refused_before_it_touches_anything() {
    let download = download();
    assert!(succeeded(&download.install()));
    let lock = download.root().join("var/lib/lockstep/updater/lock");
    let held = fs::File::create(&lock).unwrap();
    held.lock().unwrap();
    let staging = download.root().join("opt/lockstep/connector/versions/.staging-7.3.0-1");
    fs::create_dir_all(&staging).unwrap();
    let run = Command::new(UPDATER).args(["run", "--root"]).arg(download.root()).output().unwrap();
    assert!(!run.status.success());
    assert!(said(&run).contains("another lockstep-updater"), "{}", said(&run));
    assert!(staging.exists(), "what the first one is doing is left alone");
}

#[test]
fn without_a_service_the_commands_say_what_to_do() {
    let download = download();
    for command in ["status", "check", "consent"] {
        let output = Command::new(UPDATER).args([command, "--root"]).arg(download.root()).output().unwrap();
        assert!(!output.status.success());
        assert!(said(&output).contains("the updater is not running"), "{}", said(&output));
    }
}
