//! The same files make the same package, wherever and by whomever they are packed.
#![cfg(unix)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use crate::bench::text;

/// A tree with what could leak into a package: many files, both modes, deep directories, names that sort differently by locale.
fn tree(root: &Path, backwards: bool, age: u64, private: bool) {
    let mut names: Vec<String> = (0..60).map(|n| format!("share/data/{:02}/file {n}.bin", n % 7)).collect();
    names.extend(["bin/program", "Readme", "readme.txt", "Aerger", "Zebra", "a-b", "a_b"].map(str::to_owned));
    if backwards {
        names.reverse();
    }
    for (n, name) in names.iter().enumerate() {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let content: Vec<u8> =
            name.bytes().cycle().take(name.len() * 397).enumerate().map(|(i, b)| b ^ (i / 64) as u8).collect();
        fs::write(&path, content).unwrap();
        let execute = if name == "bin/program" { 0o111 } else { 0 };
        let mode = if private { 0o600 | (execute & 0o100) } else { 0o644 | execute };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(age + n as u64);
        fs::File::options().append(true).open(&path).unwrap().set_modified(at).unwrap();
    }
}

fn pack(command: &mut Command, dir: &Path, output: &Path) -> Vec<u8> {
    let run = command
        .args(["pack", "--product", "connector", "--version", "7.3.0", "--program", "bin/program"])
        .args(["--os", "linux", "--arch", "x86_64", "-o"])
        .arg(output)
        .arg(dir)
        .output()
        .unwrap();
    let (out, err) = text(&run);
    assert!(run.status.success(), "{out}\n{err}");
    fs::read(output).unwrap()
}

#[test]
fn two_machines_pack_the_same_bytes() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = env!("CARGO_BIN_EXE_lockstep");
    let one = here.path().join("build");
    tree(&one, false, 1_000_000_000, false);
    let first = pack(Command::new(program).env("TZ", "UTC").env("LC_ALL", "C"), &one, &here.path().join("a.lpk"));

    // Another directory, times, order of creation, modes as another umask leaves them; another user, umask, time zone, locale.
    let two = there.path().join("some/other place");
    tree(&two, true, 1_700_000_000, true);
    for path in [there.path(), &there.path().join("some")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let chown = Command::new("chown").args(["-R", "60007:60007"]).arg(there.path()).status().unwrap();
    assert!(chown.success(), "this test runs as root");
    let reachable = there.path().join("lockstep");
    fs::copy(program, &reachable).unwrap();
    let mut other = Command::new("setpriv");
    other.args(["--reuid", "60007", "--regid", "60007", "--clear-groups", "sh", "-c", "umask 077; exec \"$@\"", "sh"]);
    other.arg(&reachable).env("TZ", "Pacific/Kiritimati").env("LC_ALL", "de_DE.UTF-8").current_dir(there.path());
    let second = pack(&mut other, &two, &there.path().join("b.lpk"));
    assert!(first == second, "{} and {} bytes", first.len(), second.len());

    // And with another content not.
    fs::write(two.join("readme.txt"), "other").unwrap();
    assert_ne!(first, pack(Command::new(program).current_dir(there.path()), &two, &there.path().join("c.lpk")));
}
