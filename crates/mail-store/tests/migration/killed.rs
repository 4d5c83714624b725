//! The program killed at each of the system calls by which a migration changes the disk: afterwards the version before finds
//! everything, and the next start finishes.

use crate::mailbox::{fill, seen};
use crate::open;
use mail_store::{Error, Schema, Store};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Calls that change the disk.
const CALLS: [&str; 7] = ["pwrite64", "write", "fdatasync", "fsync", "ftruncate", "unlink", "openat"];
/// No sequence is longer than this.
const MOST: usize = 3_000;
/// Points of each call in a usual run.
const SAMPLE: usize = 10;

const STORE: &str = "LOCKSTEP_TEST_MIGRATED_STORE";

/// Not a test: what is killed. Migrates to the newest schema, as a start does, makes messages searchable, and contracts, as a
/// healthy version does.
#[test]
#[ignore = "run by the tests below, under strace"]
fn victim() {
    let path = PathBuf::from(std::env::var_os(STORE).unwrap());
    let mut store = open(&path, Schema::Three);
    while store.fill_search(5).unwrap() {}
    store.contract().unwrap();
}

#[test]
fn killed_at_a_write_of_the_migration_everything_is_there_and_the_next_start_finishes() {
    // Every point takes minutes: `cargo xtask soak --only migration-killed`.
    let soak = std::env::var_os("LOCKSTEP_SOAK").is_some();
    let seed = std::env::var("LOCKSTEP_SEED").map_or(1, |text| text.parse().expect("a number"));
    let points = sweep((!soak).then_some(seed));
    let least = if soak { 150 } else { 25 };
    assert!(points >= least, "only {points} points were reached");
}

/// With a seed, some points of each call; else all. Gives how many were reached.
fn sweep(seed: Option<usize>) -> usize {
    let strace = Command::new("strace").arg("--version").stdout(Stdio::null()).status();
    assert!(strace.is_ok_and(|s| s.success()), "this test needs strace: apt-get install strace");
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original.sqlite");
    let mut store = open(&original, Schema::One);
    fill(&mut store);
    let before = seen(&store);
    drop(store);
    let calls = count_calls(&original);
    let mut points = 0;
    for (call, count) in calls {
        let stride = if seed.is_some() { count.div_ceil(SAMPLE).max(1) } else { 1 };
        let first = 1 + seed.unwrap_or(0) % stride;
        for n in (first..=count).step_by(stride) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("mail.sqlite");
            std::fs::copy(&original, &path).unwrap();
            points += usize::from(killed_at(call, n, &path));
            check(&path, &before, &format!("{call} number {n}"));
        }
    }
    println!("soak: killed at {points} calls");
    points
}

/// How often the victim makes each call, all in all.
fn count_calls(original: &Path) -> Vec<(&'static str, usize)> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mail.sqlite");
    std::fs::copy(original, &path).unwrap();
    let log = dir.path().join("calls");
    let status = strace(&path, &["-o", log.to_str().unwrap(), "-e", &format!("trace={}", CALLS.join(","))]);
    assert!(status.success(), "the victim failed by itself: {status}");
    let log = std::fs::read_to_string(log).unwrap();
    let of = |call: &str| log.lines().filter(|line| line.contains(&format!(" {call}("))).count();
    CALLS.into_iter().map(|call| (call, of(call).min(MOST))).collect()
}

/// Kills the victim when it enters the call for the n-th time. `false`: it got to its end.
fn killed_at(call: &str, n: usize, path: &Path) -> bool {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=KILL:when={n}"));
    let status = strace(path, &["-o", "/dev/null", "-e", &trace, "-e", &inject]);
    assert!(status.success() || status.signal() == Some(9), "the victim failed by itself: {status}");
    !status.success()
}

fn strace(path: &Path, options: &[&str]) -> std::process::ExitStatus {
    Command::new("strace")
        .args(["-f", "-qq"])
        .args(options)
        .arg(std::env::current_exe().unwrap())
        // One thread, so that the calls are counted in one sequence.
        .args(["--ignored", "--exact", "killed::victim", "--test-threads=1"])
        .env(STORE, path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
}

fn check(path: &Path, before: &str, point: &str) {
    // A rollback at this point: 7.1 finds everything, or, once 7.3 has proved healthy, 7.2 does.
    let dir = tempfile::tempdir().unwrap();
    for name in ["mail.sqlite", "mail.sqlite-wal"] {
        let from = path.with_file_name(name);
        if from.exists() {
            std::fs::copy(from, dir.path().join(name)).unwrap();
        }
    }
    let copy = dir.path().join("mail.sqlite");
    match Store::open_limited(&copy, Schema::One, &mut |_| {}) {
        Ok(store) => assert!(seen(&store) == before, "{point}: not what 7.1 left"),
        Err(Error::NewerSchema { found: 3, readable_from: 2, .. }) => {
            assert!(seen(&open(&copy, Schema::Two)) == before, "{point}: not what 7.1 left");
        }
        Err(other) => panic!("{point}: {other}"),
    }
    let mut store = open(path, Schema::Three);
    assert!(store.postponed().is_none(), "{point}");
    while store.fill_search(100).unwrap() {}
    assert!(seen(&store) == before, "{point}: not what was there before");
}
