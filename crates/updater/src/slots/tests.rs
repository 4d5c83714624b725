//! Every operation three ways: success, roll-back, conflict.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicUsize, Ordering},
};

use protocol::product::Platform;
use release::package::Description;

use super::*;

struct Fixture {
    _dir: tempfile::TempDir,
    layout: Layout,
    slots: Slots,
}

fn connector() -> ProductId {
    ProductId::connector()
}

fn v(minor: u64) -> Version {
    Version::new(7, minor, 0)
}

fn fixture_on(disk: Arc<dyn Disk>) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path()).unwrap();
    platform::make_dir(&layout.state_dir(), 0o700).unwrap();
    platform::make_dir(&layout.versions(&connector()), 0o755).unwrap();
    let slots = Slots::new(layout.clone(), disk);
    Fixture { _dir: dir, layout, slots }
}

fn fixture() -> Fixture {
    fixture_on(Arc::new(RealDisk))
}

fn manifest(version: &Version) -> Manifest {
    let description = Description {
        product: connector(),
        version: version.clone(),
        platform: Platform::current(),
        program: "bin/program".into(),
        self_check: vec![],
        restart: Default::default(),
        health: Default::default(),
    };
    Manifest { v: 1, description, files: vec![] }
}

impl Fixture {
    fn stage(&self, version: &Version) -> Result<(), SlotError> {
        self.slots.stage(&connector(), version, 1, &mut |into| {
            fs::create_dir(into.join("bin")).unwrap();
            fs::write(into.join("bin/program"), version.to_string()).unwrap();
            Ok(manifest(version))
        })
    }

    fn activate(&self, to: Option<u64>, from: Option<u64>) -> Result<(), SlotError> {
        self.slots.activate(&connector(), to.map(v).as_ref(), from.map(v).as_ref(), true, 2)
    }

    /// Everything below the product's directory, with what it holds.
    fn tree(&self) -> BTreeMap<String, String> {
        let mut tree = BTreeMap::new();
        walk(&self.layout.product(&connector()), "", &mut tree);
        tree
    }

    fn journal(&self) -> Vec<journal::Entry> {
        Journal::new(self.layout.journal(), Arc::new(RealDisk)).read().unwrap()
    }
}

fn walk(dir: &Path, prefix: &str, tree: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_symlink() {
            tree.insert(name, fs::read_link(entry.path()).unwrap().display().to_string());
        } else if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), &format!("{name}/"), tree);
        } else {
            tree.insert(name, fs::read_to_string(entry.path()).unwrap());
        }
    }
}

#[test]
fn staging_makes_a_version_complete_with_final_rights() {
    let f = fixture();
    f.stage(&v(3)).unwrap();
    let observed = f.slots.observe(&connector()).unwrap();
    assert_eq!(observed, Observed { versions: [v(3)].into(), ..Observed::default() });
    assert_eq!(f.slots.manifest(&connector(), &v(3)).unwrap(), manifest(&v(3)));
    for (path, mode) in [("", 0o755), ("bin", 0o755), ("manifest.json", 0o644)] {
        let meta = fs::metadata(f.layout.version(&connector(), &v(3)).join(path)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, mode, "{path}");
    }
    assert_eq!(f.journal(), []);
}

#[test]
fn nobody_else_sees_a_version_while_it_is_incomplete() {
    let f = fixture();
    let mut seen = 0;
    let done = f.slots.stage(&connector(), &v(3), 1, &mut |into| {
        seen = fs::metadata(into).unwrap().permissions().mode() & 0o777;
        assert!(into.file_name().unwrap().to_str().unwrap().starts_with(plan::STAGING_PREFIX));
        assert!(matches!(&f.journal()[..], [journal::Entry { step: 1, .. }]), "the intent is written first");
        Ok(manifest(&v(3)))
    });
    done.unwrap();
    assert_eq!(seen, 0o700);
}

#[test]
fn staging_that_fails_leaves_nothing() {
    let f = fixture();
    let before = f.tree();
    let failed = f.slots.stage(&connector(), &v(3), 1, &mut |into| {
        fs::write(into.join("half"), "half").unwrap();
        Err(SlotError::Package("torn".into()))
    });
    assert!(matches!(failed, Err(SlotError::Package(_))));
    assert_eq!(f.tree(), before);
    assert_eq!(f.journal(), []);
}

#[test]
fn a_complete_version_is_never_written_to_again() {
    let f = fixture();
    f.stage(&v(3)).unwrap();
    let before = f.tree();
    assert!(matches!(f.stage(&v(3)), Err(SlotError::Conflict(Conflict::AlreadyThere(_)))));
    assert_eq!(f.tree(), before);
}

#[test]
fn activating_switches_the_link_and_keeps_the_intent_until_it_is_settled() {
    let f = fixture();
    f.stage(&v(2)).unwrap();
    f.stage(&v(3)).unwrap();
    f.activate(Some(2), None).unwrap();
    f.activate(Some(3), Some(2)).unwrap();
    assert_eq!(f.tree()["current"], "versions/7.3.0");
    assert!(matches!(&f.journal()[..], [journal::Entry { operation: Operation::Activate { .. }, .. }]));
    f.slots.settle(&connector()).unwrap();
    assert_eq!(f.journal(), []);
    f.activate(None, Some(3)).unwrap();
    assert_eq!(f.slots.observe(&connector()).unwrap().current, None);
}

#[test]
fn activating_what_is_not_complete_is_refused() {
    let f = fixture();
    f.stage(&v(2)).unwrap();
    f.activate(Some(2), None).unwrap();
    let before = f.tree();
    assert!(matches!(f.activate(Some(3), Some(2)), Err(SlotError::Conflict(Conflict::NotThere(_)))));
    assert_eq!(f.tree(), before);
}

#[test]
fn removing_takes_the_whole_version() {
    let f = fixture();
    f.stage(&v(2)).unwrap();
    f.stage(&v(3)).unwrap();
    f.activate(Some(3), None).unwrap();
    f.slots.remove(&connector(), &v(2), 3).unwrap();
    assert_eq!(f.slots.observe(&connector()).unwrap().versions, [v(3)].into());
    assert!(f.tree().keys().all(|path| !path.contains("7.2.0")));
}

#[test]
fn the_active_version_cannot_be_removed() {
    let f = fixture();
    f.stage(&v(3)).unwrap();
    f.activate(Some(3), None).unwrap();
    let before = f.tree();
    assert!(matches!(f.slots.remove(&connector(), &v(3), 3), Err(SlotError::Conflict(Conflict::Active(_)))));
    assert!(matches!(f.slots.remove(&connector(), &v(9), 3), Err(SlotError::Conflict(Conflict::NotThere(_)))));
    assert_eq!(f.tree(), before);
}

#[test]
fn recovery_sweeps_what_was_left_and_says_what_was_under_way() {
    let f = fixture();
    f.stage(&v(2)).unwrap();
    f.stage(&v(3)).unwrap();
    f.activate(Some(2), None).unwrap();
    f.slots.settle(&connector()).unwrap();
    let clean = f.tree();
    f.activate(Some(3), Some(2)).unwrap();
    let versions = f.layout.versions(&connector());
    fs::create_dir_all(versions.join(".staging-7.4.0-00/bin")).unwrap();
    fs::create_dir_all(versions.join(".removing-7.1.0-00")).unwrap();
    symlink_to("versions/7.4.0", &f.layout.product(&connector()).join(".current-00"));

    let fresh = Slots::new(f.layout.clone(), Arc::new(RealDisk));
    let interrupted =
        recover::Interrupted { product: connector(), to: Some(v(3)), from: Some(v(2)), restart: true, switched: true };
    assert_eq!(fresh.recover(is_of_the_service).unwrap(), [interrupted]);
    assert_eq!(f.tree()["current"], "versions/7.3.0");
    assert_eq!(f.tree().len(), clean.len());
}

#[test]
fn a_link_to_a_version_that_somebody_deleted_is_mended() {
    let f = fixture();
    f.stage(&v(2)).unwrap();
    f.stage(&v(3)).unwrap();
    f.activate(Some(3), None).unwrap();
    fs::remove_dir_all(f.layout.version(&connector(), &v(3))).unwrap();
    f.slots.recover(is_of_the_service).unwrap();
    assert_eq!(f.slots.observe(&connector()).unwrap().current, Some(v(2)));
}

fn symlink_to(target: &str, link: &Path) {
    platform::make_pointer(Path::new(target), link).unwrap();
}

/// A disk on which the n-th change fails.
struct FailingDisk {
    countdown: AtomicUsize,
}

impl FailingDisk {
    fn change(&self) -> io::Result<()> {
        match self.countdown.fetch_sub(1, Ordering::SeqCst) {
            1 => Err(io::ErrorKind::StorageFull.into()),
            // Wraps far below zero: only one change fails.
            _ => Ok(()),
        }
    }
}

impl Disk for FailingDisk {
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.change().and_then(|()| RealDisk.make_dir(path, mode))
    }
    fn ensure_dir(&self, path: &Path) -> io::Result<()> {
        self.change().and_then(|()| RealDisk.ensure_dir(path))
    }
    fn create_file(&self, path: &Path, mode: u32) -> io::Result<Box<dyn release::package::NewFile>> {
        self.change().and_then(|()| RealDisk.create_file(path, mode))
    }
    fn read_file(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        RealDisk.read_file(path)
    }
    fn make_pointer(&self, target: &Path, link: &Path) -> io::Result<()> {
        self.change().and_then(|()| RealDisk.make_pointer(target, link))
    }
    fn read_pointer(&self, path: &Path) -> io::Result<Option<std::path::PathBuf>> {
        RealDisk.read_pointer(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change().and_then(|()| RealDisk.rename(from, to))
    }
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.change().and_then(|()| RealDisk.exchange(one, other))
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(path)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change().and_then(|()| RealDisk.remove_file(path))
    }
    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        self.change().and_then(|()| RealDisk.remove_tree(path))
    }
    fn seal_tree(&self, path: &Path) -> io::Result<()> {
        self.change().and_then(|()| RealDisk.seal_tree(path))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.change().and_then(|()| RealDisk.sync_dir(path))
    }
}

#[test]
fn whichever_change_the_disk_refuses_the_old_version_stays_and_the_next_attempt_succeeds() {
    let mut tried = 0;
    for n in 1.. {
        let f = fixture();
        f.stage(&v(2)).unwrap();
        f.activate(Some(2), None).unwrap();
        f.slots.settle(&connector()).unwrap();

        let disk = Arc::new(FailingDisk { countdown: AtomicUsize::new(n) });
        let failing = Fixture { slots: Slots::new(f.layout.clone(), disk.clone()), ..f };
        let staged = failing.stage(&v(3));
        let switched = staged.is_ok() && failing.activate(Some(3), Some(2)).is_ok();
        let current = failing.slots.observe(&connector()).unwrap().current;
        assert_eq!(current, Some(if switched { v(3) } else { v(2) }), "change {n}");

        let again = Fixture { slots: Slots::new(failing.layout.clone(), Arc::new(RealDisk)), ..failing };
        again.slots.recover(is_of_the_service).unwrap();
        let observed = again.slots.observe(&connector()).unwrap();
        assert!(observed.leftovers.is_empty() && observed.stray_links.is_empty(), "change {n}");
        if !observed.versions.contains(&v(3)) {
            again.stage(&v(3)).unwrap();
        }
        again.activate(Some(3), Some(2)).unwrap();
        assert_eq!(again.tree()["current"], "versions/7.3.0", "change {n}");
        if switched && disk.countdown.load(Ordering::SeqCst) > 0 && disk.countdown.load(Ordering::SeqCst) < 1000 {
            tried = n - 1;
            break;
        }
    }
    assert!(tried >= 15, "only {tried} changes were refused");
}

#[test]
fn a_first_switch_that_fails_leaves_nothing_active() {
    let mut refused = 0;
    for n in 1.. {
        let f = fixture();
        f.stage(&v(2)).unwrap();
        let disk = Arc::new(FailingDisk { countdown: AtomicUsize::new(n) });
        let failing = Fixture { slots: Slots::new(f.layout.clone(), disk), ..f };
        if failing.activate(Some(2), None).is_ok() {
            break;
        }
        refused += 1;
        assert_eq!(failing.slots.observe(&connector()).unwrap().current, None, "change {n}");
        failing.activate(Some(2), None).unwrap();
    }
    assert!(refused >= 5, "only {refused} changes were refused");
}
