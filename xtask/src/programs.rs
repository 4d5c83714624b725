//! Building Lockstep's programs. An older release is the same source, stamped with another version.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{process::must, workspace};

pub mod windows;

/// Versions of the connector in the story: long ago, before the move, and after it.
pub const OLDEST: &str = "7.1.0";
/// See [`OLDEST`].
pub const OLD: &str = "7.2.0";
/// See [`OLDEST`].
pub const NEW: &str = "7.3.0";
/// The old line's release that the vendor lets people go back to.
pub const BACK: &str = "7.2.4";

/// The updater after the workspace's own version, for tests that upgrade it.
pub const NEXT_UPDATER: &str = "0.2.0";

/// Where the built programs lie.
#[derive(Debug, Clone)]
pub struct Programs {
    dir: PathBuf,
}

/// How the programs are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build.
    Dev,
    /// As shipped, for figures.
    Release,
}

impl Programs {
    /// Builds everything that the story needs; quick where nothing has changed.
    ///
    /// # Errors
    /// When something does not build: the compiler's own words.
    pub fn build(profile: Profile) -> Result<Self> {
        let programs = Self { dir: Self::dir(profile) };
        fs::create_dir_all(&programs.dir)?;
        let bar = spinner("building Lockstep");
        cargo_build(profile, None)?;
        for name in [
            "lockstep",
            "lockstep-server",
            "lockstep-updater",
            "lockstep-launcher",
            "lockstep-supervisor",
            "lockstep-sample-service",
        ] {
            programs.keep(profile, name, name)?;
        }
        for version in [OLDEST, BACK, OLD, NEW] {
            bar.set_message(format!("building lockstep-connector {version}"));
            cargo_build(profile, Some((version, "lockstep-connector")))?;
            programs.keep(profile, "lockstep-connector", &format!("lockstep-connector-{version}"))?;
        }
        bar.set_message(format!("building lockstep-updater {NEXT_UPDATER}"));
        cargo_build(profile, Some((NEXT_UPDATER, "lockstep-updater")))?;
        programs.keep(profile, "lockstep-updater", &format!("lockstep-updater-{NEXT_UPDATER}"))?;
        bar.finish_and_clear();
        Ok(programs)
    }

    /// What [`Programs::build`] has built.
    ///
    /// # Errors
    /// When nothing has been built yet.
    pub fn built(profile: Profile) -> Result<Self> {
        let dir = Self::dir(profile);
        let last = dir.join(format!("lockstep-connector-{NEW}"));
        ensure!(last.exists(), "{} is missing: run this through `cargo xtask test`, which builds it", last.display());
        Ok(Self { dir })
    }

    fn dir(profile: Profile) -> PathBuf {
        let name = if profile == Profile::Dev { "dev" } else { "release" };
        target().join("programs").join(name)
    }

    /// One of the programs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The connector of a version.
    pub fn connector(&self, version: &str) -> PathBuf {
        self.path(&format!("lockstep-connector-{version}"))
    }

    /// Keeps a stripped copy, so that building another version does not take it away.
    fn keep(&self, profile: Profile, name: &str, kept: &str) -> Result<()> {
        let from = target().join(if profile == Profile::Dev { "debug" } else { "release" }).join(name);
        let fresh = self.path(&format!(".{kept}.new"));
        must(Command::new("strip").arg("-o").arg(&fresh).arg(&from))?;
        put_unless_same(&fresh, &self.path(kept))
    }
}

/// Puts a file in its place. One that is the same already keeps its time, so that nothing is packed anew.
fn put_unless_same(fresh: &Path, to: &Path) -> Result<()> {
    if fs::read(to).is_ok_and(|there| fs::read(fresh).is_ok_and(|made| made == there)) {
        return Ok(fs::remove_file(fresh)?);
    }
    fs::rename(fresh, to).with_context(|| to.display().to_string())
}

/// Builds everything, or a program of another version. It always speaks of the whole workspace, since the features of a
/// dependency depend on what is built together: this way each is built once, for the tests too.
fn cargo_build(profile: Profile, version: Option<(&str, &str)>) -> Result<()> {
    let mut command = cargo();
    command.args(["build", "--quiet", "--workspace"]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    match version {
        Some((version, program)) => command.args(["--bin", program]).env("LOCKSTEP_VERSION", version),
        None => command.arg("--bins"),
    };
    must(&mut command).map(drop)
}

/// Cargo, in the workspace's folder.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace()).env_remove("LOCKSTEP_VERSION");
    command
}

/// The target directory.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), |dir| Path::new(&dir).to_path_buf())
}

/// A sign of life for long work, on a terminal only.
pub fn spinner(what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("  {spinner} {msg} … {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style).with_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
