//! Building the programs that Windows PCs have.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{NEW, OLD, Profile, cargo, put_unless_same, spinner, target};
use crate::process::must;

/// Their system, in the compiler's words.
pub const TARGET: &str = "x86_64-pc-windows-gnu";

/// Where they lie, without debugging information: `lockstep-updater.exe` and the others, of the workspace's version, and the
/// connectors of the story.
#[derive(Debug, Clone)]
pub struct WindowsPrograms {
    dir: PathBuf,
}

impl WindowsPrograms {
    /// Builds everything that the tests and the story need; quick where nothing has changed.
    ///
    /// # Errors
    /// When something does not build: the compiler's own words.
    pub fn build(profile: Profile) -> Result<Self> {
        let programs = Self::built(profile);
        fs::create_dir_all(&programs.dir)?;
        // Those for the tests are built together, always: the features of a dependency depend on it, and each is built once this way.
        let both: &[&str] = &["lockstep-updater", "lockstep-connector"];
        let (first, connector) = match profile {
            Profile::Dev => (("dev", both), ("dev", both)),
            Profile::Release => (("lean", &both[..1]), ("release", &both[1..])),
        };
        let bar = spinner("building the programs for Windows");
        let built = cargo_build(first.0, first.1, &["--bins"], None)?;
        for entry in fs::read_dir(&built)? {
            let from = entry?.path();
            let Some(name) = from.file_name().filter(|_| from.extension().is_some_and(|e| e == "exe")) else {
                continue;
            };
            keep(&from, &programs.dir.join(name))?;
        }
        for version in [OLD, NEW] {
            bar.set_message(format!("building lockstep-connector {version} for Windows"));
            let built = cargo_build(connector.0, connector.1, &["--bin", "lockstep-connector"], Some(version))?;
            keep(&built.join("lockstep-connector.exe"), &programs.connector(version))?;
        }
        bar.finish_and_clear();
        Ok(programs)
    }

    /// What [`WindowsPrograms::build`] has built.
    pub fn built(profile: Profile) -> Self {
        let name = if profile == Profile::Dev { "windows" } else { "windows-shipped" };
        Self { dir: target().join("programs").join(name) }
    }

    /// One of the programs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The connector of a version, of those that the story has.
    pub fn connector(&self, version: &str) -> PathBuf {
        self.path(&format!("lockstep-connector-{version}.exe"))
    }
}

/// Builds with a profile of Cargo's; says where it has put the programs.
///
/// # Errors
/// When something does not build: the compiler's own words.
pub fn cargo_build(profile: &str, packages: &[&str], which: &[&str], version: Option<&str>) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--profile", profile, "--target", TARGET]);
    packages.iter().for_each(|package| _ = build.args(["--package", package]));
    build.args(which).envs(version.map(|version| ("LOCKSTEP_VERSION", version)));
    must(&mut build)?;
    Ok(target().join(TARGET).join(if profile == "dev" { "debug" } else { profile }))
}

/// Keeps a stripped copy.
fn keep(from: &Path, to: &Path) -> Result<()> {
    let fresh = to.with_extension("stripping");
    must(Command::new("x86_64-w64-mingw32-strip").arg("-o").arg(&fresh).arg(from))?;
    put_unless_same(&fresh, to)
}
