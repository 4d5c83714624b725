//! The process killed at each of the system calls that change the disk: afterwards the old or the new version is active,
//! whole, and the next start converges.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use lockstep_updater::{
    layout::Layout,
    slots::{RealDisk, Slots, is_of_the_service},
};

use crate::fixture::{Pc, connector, version};

/// Calls that change the disk, and how many of their occurrences are skipped between two that are killed.
const CALLS: [(&str, usize); 11] = [
    ("rename", 1),
    ("renameat", 1),
    ("renameat2", 1),
    ("fsync", 1),
    ("fdatasync", 1),
    ("symlink", 1),
    ("symlinkat", 1),
    ("unlink", 1),
    ("unlinkat", 1),
    ("mkdir", 1),
    ("openat", 3),
];
/// No sequence is longer than this.
const MOST: usize = 400;

const ROOT: &str = "LOCKSTEP_TEST_VICTIM_ROOT";
const PACKAGE: &str = "LOCKSTEP_TEST_VICTIM_PACKAGE";

/// Not a test: what is killed. Upgrades from 7.2.0 to 7.3.0 and removes 7.2.0.
#[test]
#[ignore = "run by the test below, under strace"]
fn victim() {
    let root = PathBuf::from(std::env::var_os(ROOT).unwrap());
    let package = PathBuf::from(std::env::var_os(PACKAGE).unwrap());
    upgrade(&Slots::new(Layout::new(&root).unwrap(), Arc::new(RealDisk)), &package);
}

/// What the service does, from wherever an earlier run was killed.
fn upgrade(slots: &Slots, package: &Path) {
    slots.recover(is_of_the_service).unwrap();
    let (old, new) = (version("7.2.0"), version("7.3.0"));
    let observed = slots.observe(&connector()).unwrap();
    if !observed.versions.contains(&new) {
        let fill = &mut |into: &Path| Ok(release::package::unpack(fs::File::open(package).unwrap(), into).unwrap());
        slots.stage(&connector(), &new, 11, fill).unwrap();
    }
    if observed.current.as_ref() != Some(&new) {
        slots.activate(&connector(), Some(&new), observed.current.as_ref(), true, 12).unwrap();
    }
    slots.settle(&connector()).unwrap();
    if observed.versions.contains(&old) {
        slots.remove(&connector(), &old, 13).unwrap();
    }
}

#[test]
fn killed_at_any_change_of_the_disk_one_complete_version_is_active_and_the_next_start_converges() {
    let strace = Command::new("strace").arg("--version").stdout(Stdio::null()).status();
    assert!(strace.is_ok_and(|s| s.success()), "this test needs strace: apt-get install strace");

    let mut points = 0;
    for (call, stride) in CALLS {
        for n in (1..MOST).step_by(stride) {
            let pc = Pc::new();
            let (_, old) = pc.package("7.2.0", "exit 0");
            let (_, new) = pc.package("7.3.0", "exit 0");
            pc.stage(&old, "7.2.0");
            pc.activate("7.2.0");
            if !killed_at(call, n, &pc, &new) {
                break;
            }
            points += 1;
            check(&pc, &new, &format!("{call} number {n}"));
        }
    }
    println!("{points} points");
    assert!(points >= 40, "only {points} points were reached");
}

/// Runs the victim, and kills it when it enters the call for the n-th time. `false`: it got to its end.
fn killed_at(call: &str, n: usize, pc: &Pc, package: &Path) -> bool {
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:signal=KILL:when={n}")])
        .arg(std::env::current_exe().unwrap())
        // One thread, so that the calls are counted in one sequence.
        .args(["--ignored", "--exact", "power_cut::victim", "--test-threads=1"])
        .env(ROOT, pc.layout.root())
        .env(PACKAGE, package)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success() || status.signal() == Some(9), "the victim failed by itself: {status}");
    !status.success()
}

fn check(pc: &Pc, package: &Path, point: &str) {
    // As the machine finds it, before anything is put right: what is active is whole.
    let before = pc.current().unwrap_or_else(|| panic!("{point}: no version is active"));
    assert!([version("7.2.0"), version("7.3.0")].contains(&before), "{point}: {before}");
    assert!(pc.is_complete(&before), "{point}: {before} is not whole");

    let slots = Slots::new(pc.layout.clone(), Arc::new(RealDisk));
    slots.recover(is_of_the_service).unwrap();
    let observed = slots.observe(&connector()).unwrap();
    assert_eq!(observed.current.as_ref(), Some(&before), "{point}: recovery changed the active version");
    assert!(observed.leftovers.is_empty() && observed.stray_links.is_empty(), "{point}: {observed:?}");
    for version in &observed.versions {
        assert!(pc.is_complete(version), "{point}: {version} is not whole");
    }

    upgrade(&Slots::new(pc.layout.clone(), Arc::new(RealDisk)), package);
    let after = slots.observe(&connector()).unwrap();
    assert_eq!(after.current, Some(version("7.3.0")), "{point}");
    assert_eq!(after.versions, [version("7.3.0")].into(), "{point}");
}
