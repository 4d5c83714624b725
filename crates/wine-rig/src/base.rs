//! The prefix that every PC begins as: made once, hard-linked in a fraction of a second.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use mail_rig::process::{must, run};

use crate::wine_command;

/// Changed when a prefix that was made before will not do any more.
const RECIPE: &str = "3";
/// What the tests' PCs have in `system32` that Wine has not.
const PARTS: [(&str, &str, &[&str]); 4] = [
    ("bcryptprimitives.dll", include_str!("support/bcryptprimitives.c"), &["-shared", "-ladvapi32"]),
    (START, include_str!("support/start.c"), &["-municode"]),
    (USER, include_str!("support/user.c"), &["-municode"]),
    ("lockstep-rig-consent.dll", include_str!("support/consent.c"), &["-shared"]),
];
/// Runs a program and tells its whole exit code.
pub(crate) const START: &str = "lockstep-rig-start.exe";
/// Runs a program as somebody without an administrator's rights.
pub(crate) const USER: &str = "lockstep-rig-user.exe";

/// The folder of the base prefix; makes it unless it is there (about 15 seconds).
///
/// # Errors
/// When Wine or the cross-compiler is missing or fails.
pub fn base() -> Result<PathBuf> {
    let wine = must(Command::new("wine").arg("--version").env("WINEDEBUG", "-all"))?;
    let wine: String =
        wine.trim().chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let dir = folder().join(format!("base-{RECIPE}-{wine}"));
    if dir.exists() {
        return Ok(dir);
    }
    fs::create_dir_all(folder())?;
    let lock = File::create(folder().join("base.lock"))?;
    lock.lock().context("waiting for whoever makes the base prefix")?;
    if dir.exists() {
        return Ok(dir);
    }
    let fresh = folder().join("base.new");
    if fresh.exists() {
        // Somebody was killed while making it.
        fs::remove_dir_all(&fresh)?;
    }
    make(&fresh).context("making the prefix that every PC begins as")?;
    fs::rename(&fresh, &dir)?;
    Ok(dir)
}

fn make(prefix: &Path) -> Result<()> {
    fs::create_dir(prefix)?;
    let wine = |words: &[&str]| -> Result<()> {
        let mut command = wine_command(words[0], prefix);
        let output = run(command.args(&words[1..]))?;
        ensure!(
            output.status.success(),
            "{words:?} failed with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    };
    wine(&["wineboot", "--init"])?;
    // What Lockstep asks for: Windows 10.
    wine(&["wine", "winecfg", "-v", "win10"])?;
    wine(&["wineserver", "-w"])?;
    for (name, source, flags) in PARTS {
        compile(&prefix.join("drive_c/windows/system32").join(name), source, flags)?;
    }
    own_folders(&prefix.join("drive_c/users"))
}

fn compile(to: &Path, source: &str, flags: &[&str]) -> Result<()> {
    let work = tempfile::tempdir()?;
    let file = work.path().join("part.c");
    fs::write(&file, source)?;
    let mut compiler = Command::new("x86_64-w64-mingw32-gcc");
    compiler.args(["-Os", "-s", "-Wall", "-Werror", "-o"]).arg(to).arg(&file).args(flags);
    must(&mut compiler).map(drop)
}

/// Makes folders of the links to folders outside the prefix.
fn own_folders(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let meta = path.symlink_metadata()?;
        if meta.is_symlink() {
            fs::remove_file(&path)?;
            fs::create_dir(&path)?;
        } else if meta.is_dir() {
            own_folders(&path)?;
        }
    }
    Ok(())
}

/// Where prefixes lie: in the target directory, so that they are never in anybody's way.
pub(crate) fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    target.join("wine")
}
