//! `cargo xtask dist`: the programs as shipped, Debian packages of them, and MSI packages of those for Windows.
//!
//! | module | room for |
//! |---|---|
//! | [`deb`] | making one package, reproducibly |
//! | [`contents`] | what is in which package |
//! | [`windows`] | MSI packages |
//! | [`sign`] | Authenticode |
//! | [`pages`] | manual pages, from what the programs say themselves |

pub mod contents;
pub mod deb;
pub mod pages;
pub mod sign;
pub mod windows;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    packages,
    process::must,
    programs::{cargo, spinner, target},
};
use contents::Shipped;
use deb::Compression;

/// What is shipped: the profile, the crates and their programs. What stays resident on every PC is small before it is fast.
const SHIPPED: [(&str, &[&str], &[&str]); 2] = [
    (
        "release",
        &["lockstep-cli", "lockstep-server", "lockstep-connector"],
        &["lockstep", "lockstep-server", "lockstep-connector"],
    ),
    ("lean", &["lockstep-updater"], &["lockstep-updater", "lockstep-launcher", "lockstep-supervisor"]),
];

/// How it is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// The version; the workspace's where there is none.
    pub version: Option<String>,
    /// Where the packages are put.
    pub out: PathBuf,
    /// Only these packages; all where there is nothing here.
    pub only: Option<For>,
    /// Who signs programs and packages for Windows. `None`: nobody.
    pub signer: Option<sign::Signer>,
}

/// What packages are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Debian and what descends from it.
    Debian,
    /// Windows.
    Windows,
}

impl Options {
    /// The version that everything gets.
    pub fn version(&self) -> String {
        self.version.clone().unwrap_or_else(|| env!("CARGO_PKG_VERSION").into())
    }
}

/// Builds everything, makes the packages, and says where they are and how large.
///
/// # Errors
/// When something does not build, or a tool is missing.
pub fn dist(options: &Options) -> Result<()> {
    let mut made = Vec::new();
    if options.only != Some(For::Windows) {
        made.extend(debian(options)?);
    }
    if options.only != Some(For::Debian) {
        made.extend(windows::dist(options)?);
    }
    for package in made {
        println!("{:>10.1} MB  {}", fs::metadata(&package)?.len() as f64 / 1e6, package.display());
    }
    Ok(())
}

fn debian(options: &Options) -> Result<Vec<PathBuf>> {
    packages::ensure_installed(packages::DIST)?;
    let version = options.version();
    let programs = target().join("programs").join(format!("dist-{version}"));
    fs::create_dir_all(&programs)?;
    for (profile, crates, names) in SHIPPED {
        let bar = spinner(&format!("building {} {version} as shipped", names.join(", ")));
        let mut build = cargo();
        build.args(["build", "--quiet", "--profile", profile]);
        build.args(crates.iter().flat_map(|name| ["--package", name]));
        build.args(names.iter().flat_map(|name| ["--bin", name]));
        must(build.env("LOCKSTEP_VERSION", &version))?;
        bar.finish_and_clear();
        let built = target().join(profile);
        for name in names {
            fs::copy(built.join(name), programs.join(name)).with_context(|| (*name).to_owned())?;
        }
    }
    make(&Shipped { version, programs }, &options.out, Compression::Best)
}

/// Makes every package.
///
/// # Errors
/// When a program is missing or one of Debian's tools fails.
pub fn make(shipped: &Shipped, out: &Path, compression: Compression) -> Result<Vec<PathBuf>> {
    let parts = [contents::updater, contents::connector, contents::server, contents::tools];
    parts.iter().map(|part| part(shipped)?.build(out, compression)).collect()
}

/// When the packages say that they were made, in seconds since 1970: `SOURCE_DATE_EPOCH`, else the last commit.
///
/// # Errors
/// When there is neither.
pub fn epoch() -> Result<u64> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => must(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(crate::workspace()))
            .context("asking git when the last change was; set SOURCE_DATE_EPOCH instead")?,
    };
    let text = text.trim();
    ensure!(!text.is_empty(), "there is no commit to take the time from; set SOURCE_DATE_EPOCH");
    text.parse().with_context(|| format!("{text} are no seconds since 1970"))
}
