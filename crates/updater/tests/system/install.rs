//! The real program installs itself: final rights everywhere, each time.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output},
};

const UPDATER: &str = env!("CARGO_BIN_EXE_lockstep-updater");
const LAUNCHER: &str = env!("CARGO_BIN_EXE_lockstep-launcher");

struct Download {
    dir: tempfile::TempDir,
}

fn download() -> Download {
    let dir = tempfile::Builder::new().prefix("dl-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let folder = dir.path().join("lockstep-updater-0.1.0");
    fs::create_dir_all(folder.join("bin")).unwrap();
    fs::copy(UPDATER, folder.join("bin/lockstep-updater")).unwrap();
    fs::copy(LAUNCHER, folder.join("bin/lockstep-launcher")).unwrap();
    let profile = r#"{"v":1,"server":"https://mail.example.test:4443","enrolment_key":"k"}"#;
    fs::write(folder.join("site.json"), profile).unwrap();
    fs::write(folder.join("root.json"), "{}").unwrap();
    Download { dir }
}

impl Download {
    fn folder(&self) -> PathBuf {
        self.dir.path().join("lockstep-updater-0.1.0")
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn install(&self) -> Output {
        Command::new(self.folder().join("bin/lockstep-updater"))
            .args(["install", "--root"])
            .arg(self.root())
            .output()
            .unwrap()
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

fn succeeded(output: &Output) -> bool {
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

#[test]
fn a_fresh_installation_is_complete_and_nobody_else_can_write_to_it() {
    let download = download();
    let output = download.install();
    assert!(succeeded(&output));
    let root = download.root();
    assert_eq!(
        fs::read_link(root.join("opt/lockstep/updater/current")).unwrap(),
        Path::new("versions").join(env!("CARGO_PKG_VERSION"))
    );
    let current = root.join("opt/lockstep/updater/current");
    for program in ["lockstep-updater", "lockstep-launcher"] {
        let version = Command::new(current.join("bin").join(program)).arg("--version").output().unwrap();
        let said = String::from_utf8(version.stdout).unwrap();
        assert_eq!(said.trim(), format!("{program} {}", env!("CARGO_PKG_VERSION")));
    }
    assert_eq!(fs::read(root.join("etc/lockstep/root.json")).unwrap(), b"{}");
    for (path, mode, owner) in rights(&root) {
        assert_eq!(mode & 0o022, 0, "{} {mode:o}", path.display());
        assert_eq!(owner, lockstep_updater::platform::own_uid());
    }
    let state = fs::metadata(root.join("var/lib/lockstep/updater")).unwrap();
    assert_eq!(state.permissions().mode() & 0o777, 0o700);
    assert!(String::from_utf8_lossy(&output.stdout).contains("run --root"));
}

#[test]
fn installing_again_repairs_rights_and_damage() {
    let download = download();
    assert!(succeeded(&download.install()));
    let fresh = rights(&download.root());
    let program = download.root().join("opt/lockstep/updater/current/bin/lockstep-updater");
    for path in ["etc/lockstep", "etc/lockstep/site.json", "opt/lockstep/updater/versions", "var/lib/lockstep/updater"]
    {
        fs::set_permissions(download.root().join(path), fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::write(&program, "damaged").unwrap();
    assert!(succeeded(&download.install()));
    assert_eq!(rights(&download.root()), fresh);
    assert_eq!(fs::read(&program).unwrap(), fs::read(UPDATER).unwrap());
}

#[test]
fn a_root_that_others_can_write_to_is_refused() {
    let download = download();
    let open = download.dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let output = Command::new(download.folder().join("bin/lockstep-updater"))
        .args(["install", "--root"])
        .arg(open.join("root"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("lets others write"), "{said}");
    assert!(!open.join("root/etc").exists());
}

#[test]
fn a_folder_without_its_profile_is_refused_before_anything_is_made() {
    let download = download();
    fs::remove_file(download.folder().join("site.json")).unwrap();
    let output = download.install();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("site.json is missing"));
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
    assert!(String::from_utf8_lossy(&output.stderr).contains("needs an administrator"));
}

#[test]
fn the_service_refuses_a_profile_that_others_could_have_written() {
    let download = download();
    assert!(succeeded(&download.install()));
    let site = download.root().join("etc/lockstep/site.json");
    fs::set_permissions(&site, fs::Permissions::from_mode(0o666)).unwrap();
    let run = Command::new(UPDATER).args(["run", "--root"]).arg(download.root()).output().unwrap();
    assert!(!run.status.success());
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("site.json cannot be trusted"), "{said}");
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
    assert!(String::from_utf8_lossy(&run.stderr).contains("another lockstep-updater"));
    assert!(staging.exists(), "what the first one is doing is left alone");
}

#[test]
fn without_a_service_the_commands_say_what_to_do() {
    let download = download();
    for command in ["status", "check", "consent"] {
        let output = Command::new(UPDATER).args([command, "--root"]).arg(download.root()).output().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("the updater is not running"), "{said}");
    }
}
