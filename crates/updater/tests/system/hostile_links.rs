//! Links planted at every name that can be known beforehand, in the directories of an earlier, careless installation, and
//! directories exchanged for links while the installer works: what the links lead to stays as it is.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    fixture::needs_root,
    install::{download, said, succeeded},
    vendor::UPDATER,
};

const STATE: &str = "var/lib/lockstep/updater";

/// Every name that does not hold a random number.
const PREDICTABLE: [&str; 24] = [
    "etc/lockstep/site.json",
    "etc/lockstep/root.json",
    "etc/lockstep/.site.json.new",
    "etc/lockstep/.root.json.new",
    "var/lib/lockstep/updater/identity.json",
    "var/lib/lockstep/updater/.identity.json.new",
    "var/lib/lockstep/updater/state.json",
    "var/lib/lockstep/updater/.state.json.new",
    "var/lib/lockstep/updater/journal.json",
    "var/lib/lockstep/updater/.journal.json.new",
    "var/lib/lockstep/updater/install-journal.json",
    "var/lib/lockstep/updater/.install-journal.json.new",
    "var/lib/lockstep/updater/lock",
    "var/lib/lockstep/updater/slots.lock",
    "var/lib/lockstep/updater/install",
    "var/lib/lockstep/updater/tuf/timestamp.json",
    "var/lib/lockstep/updater/tuf/.new-timestamp.json",
    "var/lib/lockstep/updater/tuf/.new-complete-timestamp.json",
    "var/lib/lockstep/updater/tuf/.new-1.snapshot.json",
    "var/lib/lockstep/updater/tuf/.new-1.targets.json",
    "opt/lockstep/updater/current",
    "opt/lockstep/connector/current",
    "opt/lockstep/updater/versions/0.1.0",
    "run/lockstep/updater.sock",
];

/// A file and a directory of root that nobody may touch.
struct Canary {
    dir: PathBuf,
}

type Look = BTreeMap<PathBuf, (u32, u32, u32, Vec<u8>)>;

impl Canary {
    fn new(at: &Path) -> Self {
        let dir = at.join("canary");
        fs::create_dir_all(dir.join("inner")).unwrap();
        for (name, mode) in [("secret", 0o640), ("inner/secret", 0o600)] {
            fs::write(dir.join(name), "root's own").unwrap();
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        chown(dir.join("secret"), Some(0), Some(60009)).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).unwrap();
        Self { dir }
    }

    fn look(&self) -> Look {
        let mut look = Look::new();
        for name in ["", "inner", "secret", "inner/secret"] {
            let path = self.dir.join(name);
            let meta = fs::metadata(&path).unwrap();
            let content = fs::read(&path).unwrap_or_default();
            look.insert(path, (meta.mode(), meta.uid(), meta.gid(), content));
        }
        let names = |dir: &Path| fs::read_dir(dir).unwrap().count();
        assert_eq!((names(&self.dir), names(&self.dir.join("inner"))), (2, 1), "something was made or removed");
        look
    }
}

/// The directories as somebody careless would have left them.
fn careless(root: &Path) {
    for dir in DIRECTORIES {
        let dir = root.join(dir);
        if fs::symlink_metadata(&dir).is_ok_and(|m| m.is_symlink()) {
            fs::remove_file(&dir).unwrap();
        }
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    }
    for dir in ["etc", "var", "var/lib", "var/lib/lockstep", "opt", "run", ""] {
        fs::set_permissions(root.join(dir), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

const DIRECTORIES: [&str; 10] = [
    "etc/lockstep",
    STATE,
    "var/lib/lockstep/updater/downloads",
    "var/lib/lockstep/updater/tuf",
    "opt/lockstep",
    "opt/lockstep/updater",
    "opt/lockstep/updater/versions",
    "opt/lockstep/connector",
    "opt/lockstep/connector/versions",
    "run/lockstep",
];

/// The installer, and then the service for a moment: whether they accept the place or not is theirs to say.
fn install_and_run(d: &crate::install::Download) {
    let output = d.install();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", said(&output));
    let log = fs::File::create(d.dir.path().join("log")).unwrap();
    let mut service =
        Command::new(UPDATER).args(["run", "--root"]).arg(d.root()).stderr(log).stdin(Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    // It may have refused to run there.
    drop(service.kill());
    service.wait().unwrap();
}

/// What another user could plant where `fs.protected_hardlinks` and `fs.protected_symlinks` are off; root plants it here, so
/// that it is there whatever this machine's settings are.
#[test]
fn what_links_at_every_predictable_name_lead_to_is_left_alone() {
    needs_root();
    let soak = std::env::var_os("LOCKSTEP_SOAK").is_some();
    for hard in [true, false] {
        // By default a third of them, others for hard links than for symbolic ones.
        let third = |number: usize| soak || number % 3 == usize::from(hard);
        for (_, name) in PREDICTABLE.iter().enumerate().filter(|(number, _)| third(*number)) {
            let d = download();
            let canary = Canary::new(d.dir.path());
            careless(&d.root());
            let planted = d.root().join(name);
            if hard {
                fs::hard_link(canary.dir.join("secret"), &planted).unwrap();
            } else if ["install", "current", "0.1.0"].iter().any(|end| name.ends_with(end)) {
                symlink(canary.dir.join("inner"), &planted).unwrap();
            } else {
                symlink(canary.dir.join("secret"), &planted).unwrap();
            }
            let before = canary.look();
            install_and_run(&d);
            assert_eq!(canary.look(), before, "{name}, hard: {hard}");
        }
    }
}

/// Another user who exchanges every directory that was left open for a link to the canary, and says a line when it begins and
/// after each exchange.
const SWAPPER: &str = r#"
import os, random, sys, time
root, canary, stop = sys.argv[1:4]
dirs = sys.argv[4:]
print("begun", flush=True)
while not os.path.exists(stop):
    path = os.path.join(root, random.choice(dirs))
    target = random.choice([canary, canary + "/inner", canary + "/secret"])
    try:
        os.rename(path, path + ".away")
        os.symlink(target, path)
        print("exchanged", flush=True)
        os.unlink(path)
        os.rename(path + ".away", path)
    except OSError:
        pass
    time.sleep(random.random() / 20)
"#;

#[test]
fn an_open_directory_under_another_name_is_closed_and_one_of_another_user_refused() {
    needs_root();
    let d = download();
    careless(&d.root());
    let moved = ["opt/lockstep/updater", "opt/lockstep/connector/versions", "var/lib/lockstep/updater/tuf"];
    for dir in moved {
        fs::rename(d.root().join(dir), d.root().join(format!("{dir}-other"))).unwrap();
    }
    let output = d.install();
    assert!(succeeded(&output), "{}", said(&output));
    crate::crash_service::assert_closed(&d.root(), "renamed");

    for dir in moved {
        let other = d.root().join(format!("{dir}-other"));
        chown(&other, Some(60001), None).unwrap();
        let output = d.install();
        assert!(!output.status.success() && said(&output).contains("60001"), "{}", said(&output));
        chown(&other, Some(0), None).unwrap();
    }
}

#[test]
fn whoever_exchanges_open_directories_for_links_meanwhile_cannot_lead_the_installer_elsewhere() {
    needs_root();
    let soak = std::env::var_os("LOCKSTEP_SOAK").is_some();
    let d = download();
    let canary = Canary::new(d.dir.path());
    careless(&d.root());
    let before = canary.look();
    let private = d.dir.path().join("private");
    fs::create_dir(&private).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    let (stop, said_file) = (d.dir.path().join("stop"), private.join("said"));
    let mut swapper = Command::new("setpriv")
        .args(["--reuid=60001", "--regid=60001", "--clear-groups", "python3", "-c", SWAPPER])
        .args([d.root().as_os_str(), canary.dir.as_os_str(), stop.as_os_str()])
        .args(DIRECTORIES)
        .env("PATH", "/usr/bin:/bin")
        .stdout(File::create(&said_file).unwrap())
        .spawn()
        .unwrap();
    let says = |word: &str| fs::read_to_string(&said_file).unwrap().matches(word).count();
    let start = Instant::now();
    while says("begun") == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "the other user does not begin");
        thread::sleep(Duration::from_millis(20));
    }
    let at_least = if soak { 1000 } else { 25 };
    let (mut rounds, mut installed) = (0, 0);
    // How often the other gets its turn is up to the machine.
    while rounds < at_least || says("exchanged") == 0 {
        let round = rounds;
        rounds += 1;
        assert!(rounds <= 40 * at_least, "not one exchange in {round} rounds");
        // The careless administrator is at work where nobody sees it.
        fs::rename(d.root(), private.join("old")).unwrap();
        fs::remove_dir_all(private.join("old")).unwrap();
        careless(&private.join("new"));
        fs::rename(private.join("new"), d.root()).unwrap();
        if d.install().status.success() {
            installed += 1;
            crate::crash_service::assert_closed(&d.root(), &format!("round {round}"));
        }
        assert_eq!(canary.look(), before, "round {round}");
    }
    fs::write(&stop, "").unwrap();
    assert!(swapper.wait().unwrap().success());
    println!("soak: {rounds} installs, {installed} succeeded, {} exchanges", says("exchanged"));
    fs::remove_dir_all(d.root()).unwrap();
    careless(&d.root());
    let output = d.install();
    assert!(succeeded(&output), "left alone, it closes what was open: {}", said(&output));
    crate::crash_service::assert_closed(&d.root(), "at the end");
    assert_eq!(canary.look(), before);
}
