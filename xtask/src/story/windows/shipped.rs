//! What the vendor ships for Windows: the tests' programs, as packages and as MSI.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    dist::windows::{Kind, Shipped},
    programs::{NEW, OLD, Programs, spinner, windows::WindowsPrograms},
    story::play::UPDATER,
};

/// Packs what the story ships, where a program has changed: a minute's work that is none of the story's.
///
/// # Errors
/// When a program has not been built, or a tool fails.
pub fn prepare(programs: &Programs, windows: &WindowsPrograms) -> Result<()> {
    let bar = spinner("packing the programs for Windows");
    let (old, new) = (shipped(programs, windows, OLD)?, shipped(programs, windows, NEW)?);
    std::thread::scope(|scope| {
        let updater = scope.spawn(|| old.updater_package());
        old.connector_package()?;
        new.connector_package()?;
        let updater = joined(updater)?;
        link(&updater, &new.programs.join(updater.file_name().unwrap_or_default()))?;
        let newer = scope.spawn(|| msi(&new));
        msi(&old)?;
        joined(newer)
    })?;
    bar.finish_and_clear();
    Ok(())
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The Windows programs with the connector of a version, in a folder of their own that stays, with the packages made from them.
///
/// # Errors
/// When they have not been built.
pub fn shipped(programs: &Programs, windows: &WindowsPrograms, connector: &str) -> Result<Shipped> {
    let dir = windows.path(&format!("shipped-{connector}"));
    fs::create_dir_all(&dir)?;
    for name in ["lockstep-updater.exe", "lockstep-supervisor.exe", "lockstep-launcher.exe"] {
        link(&windows.path(name), &dir.join(name))?;
    }
    link(&windows.connector(connector), &dir.join("lockstep-connector.exe"))?;
    Ok(Shipped {
        programs: dir,
        lockstep: programs.path("lockstep"),
        updater: UPDATER.into(),
        connector: connector.into(),
    })
}

/// The connector's MSI, made unless it is there and newer than what it is made of.
///
/// # Errors
/// When a tool fails.
pub fn msi(shipped: &Shipped) -> Result<PathBuf> {
    let made = shipped.programs.join(format!("{}-{}-x64.msi", Kind::Connector.name(), shipped.connector));
    let changed = |path: &Path| path.metadata().and_then(|m| m.modified());
    let newest = changed(&shipped.updater_package()?)?.max(changed(&shipped.connector_package()?)?);
    match changed(&made) {
        Ok(there) if there > newest => Ok(made),
        _ => shipped.msi(Kind::Connector, &shipped.programs),
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
