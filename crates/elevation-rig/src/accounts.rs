//! The accounts: the machine's own, the people's, and a password for root that is known.

use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{PASSWORD, Person};

/// Writes `passwd`, `group` and `shadow` into `dir/etc`.
pub(super) fn write(dir: &Path, people: &[Person]) -> Result<()> {
    let etc = dir.join("etc");
    fs::create_dir_all(&etc)?;
    let machine = |name: &str| fs::read_to_string(Path::new("/etc").join(name)).with_context(|| format!("/etc/{name}"));
    let (mut passwd, mut group) = (machine("passwd")?, machine("group")?);
    let hash = hash(PASSWORD)?;
    let mut shadow: String = machine("shadow")?.lines().filter(|l| !l.starts_with("root:")).map(with_newline).collect();
    shadow += &format!("root:{hash}:20000:0:99999:7:::\n");
    for Person { name, uid, .. } in people {
        let taken =
            passwd.lines().any(|l| l.split(':').next() == Some(name) || l.split(':').nth(2) == Some(&uid.to_string()));
        ensure!(!taken, "this machine has an account {name} or {uid} already");
        passwd += &format!("{name}:x:{uid}:{uid}::/nonexistent:/bin/sh\n");
        group += &format!("{name}:x:{uid}:\n");
        // A password that nobody has: they are known, but cannot log in with one.
        shadow += &format!("{name}:*:20000:0:99999:7:::\n");
    }
    fs::write(etc.join("passwd"), passwd)?;
    fs::write(etc.join("group"), group)?;
    let file = etc.join("shadow");
    fs::write(&file, "")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    chown(&file, Some(0), Some(0))?;
    fs::write(&file, shadow)?;
    Ok(())
}

/// Where they stand on the machine.
pub(super) fn mounts(dir: &Path) -> Vec<(PathBuf, &'static str)> {
    [("passwd", "/etc/passwd"), ("group", "/etc/group"), ("shadow", "/etc/shadow")]
        .map(|(name, place)| (dir.join("etc").join(name), place))
        .into()
}

fn with_newline(line: &str) -> String {
    format!("{line}\n")
}

fn hash(password: &str) -> Result<String> {
    let mut openssl = Command::new("openssl")
        .args(["passwd", "-6", "-stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    openssl.stdin.take().context("no pipe")?.write_all(password.as_bytes())?;
    let output = openssl.wait_with_output()?;
    ensure!(output.status.success(), "openssl passwd failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
