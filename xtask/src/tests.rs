//! `cargo xtask test`: all set-up, and every test.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{
    nspawn,
    packages::{self, is_root},
    process::must,
    programs::{self, Profile, Programs, cargo, spinner, windows::WindowsPrograms},
    story::windows::shipped,
    workspace,
};

/// The one system that the tests run on so far.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// Runs every test with nextest; further arguments go to it.
///
/// # Errors
/// When a test fails, or something that the tests need is missing.
pub fn test(arguments: &[String]) -> Result<()> {
    ensure!(
        is_root(),
        "the tests need root, because they run each PC's updater as root and its user as another; use sudo"
    );
    system_parts()?;
    let built = Programs::build(Profile::Dev)?;
    let windows = WindowsPrograms::build(Profile::Dev)?;
    shipped::prepare(&built, &windows)?;
    let mut nextest = cargo();
    nextest.args(["nextest", "run", "--workspace", "--no-fail-fast"]).args(arguments);
    if !is_root() {
        nextest.env(format!("CARGO_TARGET_{}_RUNNER", HOST.to_uppercase().replace('-', "_")), "sudo -E --");
    }
    let status = nextest.status().context("starting cargo nextest")?;
    ensure!(status.success(), "a test failed");
    Ok(())
}

/// Sees to it that everything is there that tests use and cargo does not build.
///
/// # Errors
/// When something is missing and cannot be had.
pub fn system_parts() -> Result<()> {
    let needed = [
        packages::DEMO,
        packages::WEBMAIL,
        packages::ELEVATION,
        packages::DIST,
        packages::SYSTEMD,
        packages::TEST,
        packages::WINDOWS,
        packages::MSI,
        packages::WINE,
    ];
    packages::ensure_installed(&needed.concat())?;
    nspawn::base::ensure_made()?;
    wine_rig::base()?;
    rust_target(programs::windows::TARGET)?;
    cargo_tool("cargo-nextest", "nextest")
}

/// Sees to it that the compiler can build for another system.
///
/// # Errors
/// When it cannot and `rustup` cannot help.
pub fn rust_target(name: &str) -> Result<()> {
    let mut lib = Command::new("rustc");
    lib.current_dir(workspace()).args(["--print", "target-libdir", "--target", name]);
    if lib.output().is_ok_and(|o| Path::new(String::from_utf8_lossy(&o.stdout).trim()).exists()) {
        return Ok(());
    }
    let mut add = Command::new("rustup");
    must(add.current_dir(workspace()).args(["target", "add", name])).map(drop)
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
