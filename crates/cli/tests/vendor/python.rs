//! python-tuf, the reference implementation of TUF, reads what the editor writes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::bench::{Bench, PASSPHRASE, text};

#[test]
fn python_tuf_follows_the_repository_and_gets_a_target() {
    let bench = Bench::published();
    let target = ["connector/connector-7.2.0-linux-x86_64.lpk"];
    let read = || followed(&bench, "offline/root.json", &target);
    assert_eq!(read(), json!({ "timestamp": 1, "root": 1, "named": 1, "releases": ["7.2.0"] }));
    bench.add("7.3.0", &["--server", ">=7.3, <7.4"]);
    bench.publish();
    bench.ok(&["renew", "--repo", "repo", "--online", "online"]);
    for key in ["timestamp", "snapshot", "targets", "root1"] {
        bench.ok(&["key", "replace", key, "--repo", "repo", "--offline", "offline", "--online", "online"]);
    }
    // The same client, with what it remembers of the first state.
    assert_eq!(read(), json!({ "timestamp": 7, "root": 5, "named": 2, "releases": ["7.2.0"] }));
}

/// Follows the repository with python-tuf, which remembers what it saw the last time, and downloads targets. Returns the
/// versions of timestamp and root.
pub fn follow(bench: &Bench, targets: &[&str]) -> (u64, u64) {
    let said = followed(bench, "online/root.json", targets);
    (said["timestamp"].as_u64().unwrap(), said["root"].as_u64().unwrap())
}

/// The same from this root, with all that the script says.
fn followed(bench: &Bench, root: &str, targets: &[&str]) -> Value {
    let output = Command::new(python())
        .arg(here().join("follow_repository.py"))
        .args([&bench.path("repo"), &bench.path(root), &bench.path("python-client")])
        .args(targets)
        .output()
        .unwrap();
    let (out, err) = text(&output);
    assert!(output.status.success(), "{out}\n{err}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
}

#[test]
fn python_reads_the_encrypted_keys() {
    let bench = Bench::new();
    let output = Command::new(python())
        .arg(here().join("read_key.py"))
        .arg(bench.path("offline/targets.pem"))
        .arg(PASSPHRASE)
        .output()
        .unwrap();
    let (out, err) = text(&output);
    assert!(output.status.success(), "{out}\n{err}");
    let draft = fs::read_to_string(bench.path("offline/root-draft.json")).unwrap();
    assert!(draft.contains(out.trim()), "{out}");
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python")
}

/// The interpreter of a virtual environment with the pinned requirements, made on first use and kept in the target
/// directory. Without one this test has proved nothing, so it fails.
fn python() -> PathBuf {
    let requirements = fs::read_to_string(here().join("requirements.txt")).unwrap();
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../python-venv");
    fs::create_dir_all(&venv).unwrap();
    // Tests run at the same time, also in processes of their own.
    let lock = fs::File::create(venv.join("lock")).unwrap();
    lock.lock().unwrap();
    let python = venv.join("bin/python");
    let stamp = venv.join("requirements-installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == requirements) {
        return python;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv), "install python3 and python3-venv");
    run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(here().join("requirements.txt")),
        "pip could not install tests/python/requirements.txt",
    );
    fs::write(stamp, requirements).unwrap();
    python
}

fn run(command: &mut Command, advice: &str) {
    let output = command.output().unwrap_or_else(|e| panic!("{advice}: {e}"));
    let (out, err) = text(&output);
    assert!(output.status.success(), "{advice}\n{out}\n{err}");
}
