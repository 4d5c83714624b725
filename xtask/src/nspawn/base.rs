//! The small Debian that every PC begins as: made once, copied in a fraction of a second.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    process::must,
    programs::{spinner, target},
};

/// What is in it besides what every Debian has.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,init-system-helpers,ca-certificates,adduser,libgcc-s1";
const SUITE: &str = "bookworm";
const MIRROR: &str = "http://deb.debian.org/debian";
/// Changed when a tree that was made before will not do any more.
const RECIPE: &str = "1";

/// Units of a real PC that a container has no use for.
const IDLE: [&str; 4] = ["console-getty.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"];

/// Makes the tree unless it is there.
///
/// # Errors
/// When `debootstrap` fails; it needs a Debian mirror.
pub fn ensure_made() -> Result<PathBuf> {
    let tree = folder().join(format!("base-{SUITE}-{RECIPE}"));
    if tree.exists() {
        return Ok(tree);
    }
    fs::create_dir_all(folder())?;
    let bar = spinner("making a small Debian for the tests' PCs, once (about a minute)");
    let fresh = folder().join(format!("new-{}", std::process::id()));
    let made = make(&fresh);
    if made.is_err() {
        remove(&fresh);
    }
    made?;
    // Somebody else may have made it meanwhile.
    if fs::rename(&fresh, &tree).is_err() {
        remove(&fresh);
    }
    bar.finish_and_clear();
    ensure!(tree.exists(), "{} could not be put in its place", tree.display());
    Ok(tree)
}

fn make(tree: &Path) -> Result<()> {
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", &format!("--include={PACKAGES}"), SUITE]).arg(tree).arg(MIRROR);
    must(&mut command).context("making a small Debian; this needs a Debian mirror")?;
    for emptied in ["var/cache/apt", "var/lib/apt/lists", "var/log"] {
        let dir = tree.join(emptied);
        fs::remove_dir_all(&dir)?;
        fs::create_dir_all(&dir)?;
    }
    for sub in ["var/cache/apt/archives/partial", "var/lib/apt/lists/partial", "var/log/journal"] {
        fs::create_dir_all(tree.join(sub))?;
    }
    for unit in IDLE {
        must(Command::new("ln").args(["-sfn", "/dev/null"]).arg(tree.join("etc/systemd/system").join(unit)))?;
    }
    Ok(())
}

/// A copy of the tree for one PC. What packages replace as whole files shares its bytes with the tree (hard links); the rest is
/// copied.
pub(super) fn copy(name: &str) -> Result<PathBuf> {
    let base = ensure_made()?;
    let pcs = folder().join("pcs");
    fs::create_dir_all(&pcs)?;
    sweep(&pcs)?;
    let dir = pcs.join(format!("{name}.{}", std::process::id()));
    ensure!(!dir.exists(), "there is a PC {name} already");
    fs::create_dir(&dir)?;
    for entry in fs::read_dir(&base)? {
        let entry = entry?;
        let how = if entry.file_name() == "usr" { "-al" } else { "-a" };
        must(Command::new("cp").arg(how).arg(entry.path()).arg(&dir))?;
    }
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().replace('-', "");
    fs::write(dir.join("etc/machine-id"), format!("{id}\n"))?;
    fs::write(dir.join("etc/hostname"), format!("{name}\n"))?;
    Ok(dir)
}

/// Removes what test programs that were killed have left: their number stands in the names.
fn sweep(pcs: &Path) -> Result<()> {
    for entry in fs::read_dir(pcs)? {
        let path = entry?.path();
        let file = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        let owner = file.split('.').nth(1).and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove(&path);
        }
    }
    Ok(())
}

/// A file that belongs to a tree and lies beside it.
pub(super) fn beside(dir: &Path, what: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(format!(".{what}"));
    name.into()
}

/// Removes a tree and what lies beside it under the same name.
pub(super) fn remove(dir: &Path) {
    let Some(parent) = dir.parent() else { return };
    let Some(name) = dir.file_name().and_then(|n| n.to_str()) else { return };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_name().to_str().is_some_and(|n| n == name || n.starts_with(&format!("{name}."))) {
            continue;
        }
        if let Err(error) = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) } {
            eprintln!("{} is left: {error}", path.display());
        }
    }
}

fn folder() -> PathBuf {
    target().join("nspawn")
}
