//! What the vendor ships for Windows: the tests' programs, as packages and as MSI.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    dist::windows::{Kind, Shipped},
    programs::{NEW, OLD, Programs, spinner, windows_connector, windows_programs},
    story::play::UPDATER,
};

/// Packs what the story ships, where a program has changed: a minute's work that is none of the story's.
///
/// # Errors
/// When a program has not been built, or a tool fails.
pub fn prepare(programs: &Programs) -> Result<()> {
    let bar = spinner("packing the programs for Windows");
    let (old, new) = (shipped(programs, OLD)?, shipped(programs, NEW)?);
    std::thread::scope(|scope| {
        let newer = scope.spawn(|| new.connector_package());
        msi(&old, Kind::Connector)?;
        msi(&old, Kind::Updater)?;
        newer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    bar.finish_and_clear();
    Ok(())
}

/// The Windows programs with the connector of a version, in a folder of their own that stays, with the packages made from them.
///
/// # Errors
/// When they have not been built.
pub fn shipped(programs: &Programs, connector: &str) -> Result<Shipped> {
    let dir = windows_programs().join(format!("shipped-{connector}"));
    fs::create_dir_all(&dir)?;
    for name in ["lockstep-updater.exe", "lockstep-supervisor.exe", "lockstep-launcher.exe"] {
        link(&windows_programs().join(name), &dir.join(name))?;
    }
    link(&windows_connector(connector), &dir.join("lockstep-connector.exe"))?;
    Ok(Shipped {
        programs: dir,
        lockstep: programs.path("lockstep"),
        updater: UPDATER.into(),
        connector: connector.into(),
    })
}

/// The MSI, made unless it is there and no older than what it is made of.
///
/// # Errors
/// When a tool fails.
pub fn msi(shipped: &Shipped, kind: Kind) -> Result<PathBuf> {
    let version = if kind == Kind::Updater { &shipped.updater } else { &shipped.connector };
    let made = shipped.programs.join(format!("{}-{version}-x64.msi", kind.name()));
    let changed = |path: &Path| path.metadata().and_then(|m| m.modified());
    let mut newest = vec![changed(&shipped.updater_package()?)?];
    if kind == Kind::Connector {
        newest.push(changed(&shipped.connector_package()?)?);
    }
    match (changed(&made), newest.into_iter().max()) {
        (Ok(there), Some(newest)) if there > newest => Ok(made),
        _ => shipped.msi(kind, &shipped.programs),
    }
}

/// The same file under another name, with the time at which it was built.
fn link(from: &Path, to: &Path) -> Result<()> {
    let inode = |path: &Path| path.metadata().map(|m| m.ino());
    let there = inode(from).with_context(|| format!("{}: `cargo xtask test` builds it", from.display()))?;
    if inode(to).is_ok_and(|linked| linked == there) {
        return Ok(());
    }
    let fresh = to.with_extension("new");
    if fresh.exists() {
        fs::remove_file(&fresh)?;
    }
    fs::hard_link(from, &fresh)?;
    fs::rename(&fresh, to).with_context(|| to.display().to_string())
}
