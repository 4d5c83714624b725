//! `cargo xtask test`: all set-up, and every test.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{
    packages::{self, is_root},
    programs::{Profile, Programs, cargo, spinner},
};

/// Runs every test with nextest; further arguments go to it.
///
/// # Errors
/// When a test fails, or something that the tests need is missing.
pub fn test(arguments: &[String]) -> Result<()> {
    ensure!(
        is_root(),
        "the tests need root, because they run each PC's updater as root and its user as another; use sudo"
    );
    packages::ensure_installed(packages::DEMO)?;
    packages::ensure_installed(packages::TEST)?;
    cargo_tool("cargo-nextest", "nextest")?;
    Programs::build(Profile::Dev)?;
    let status = cargo()
        .args(["nextest", "run", "--workspace", "--no-fail-fast"])
        .args(arguments)
        .status()
        .context("starting cargo nextest")?;
    ensure!(status.success(), "a test failed");
    Ok(())
}

/// Sees to it that a cargo subcommand is there.
///
/// # Errors
/// When it cannot be installed.
pub fn cargo_tool(package: &str, subcommand: &str) -> Result<()> {
    let there = Command::new("cargo").args([subcommand, "--version"]).output().is_ok_and(|o| o.status.success());
    if there {
        return Ok(());
    }
    let bar = spinner(&format!("installing {package}, once"));
    let status = cargo().args(["install", "--locked", "--quiet", package]).status()?;
    bar.finish_and_clear();
    ensure!(status.success(), "cargo install {package} failed");
    Ok(())
}
