//! `cargo xtask bench updater`: what the updater costs while nothing happens, and how long a package of 100 MB takes.
//!
//! The rig is that of the updater's own tests (`tests/system/economy.rs`): the real service on a PC below a temporary directory, a site over real
//! TLS. The program is built as shipped.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::programs::{cargo, spinner, target};

/// Resident, in KiB: 10 MB. Where more are used, that is said.
const AIM_RESIDENT: u64 = 10_000_000 / 1024;
/// Milliseconds of an activation.
const AIM_ACTIVATION: u64 = 100;

/// Prints the figures of the program, or of one that is built first.
///
/// # Errors
/// When something does not build, or a limit that holds for every build is not kept.
pub fn bench(minutes: u64, program: Option<PathBuf>) -> Result<()> {
    let program = match program {
        Some(program) => program.canonicalize().with_context(|| program.display().to_string())?,
        None => built()?,
    };
    println!("program: {} bytes", fs::metadata(&program)?.len());
    let bar = spinner(&format!("measuring, for some {} minutes", 2 * minutes + 2));
    let output = cargo()
        .args(["nextest", "run", "--package", "lockstep-updater", "--test", "system", "--profile", "soak"])
        .args(["--no-capture", "--test-threads", "1", "-E", "test(/^economy::/)"])
        .env("LOCKSTEP_BENCH_UPDATER", &program)
        .env("LOCKSTEP_BENCH_IDLE_SECONDS", (minutes * 60).to_string())
        .env("LOCKSTEP_BENCH_PACKAGE_MB", "100")
        .env("LOCKSTEP_BENCH_RELEASES", "2000")
        .output()
        .context("starting cargo nextest")?;
    bar.finish_and_clear();
    let said = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<&str> =
        said.lines().filter(|line| line.contains("idle, ") || line.contains(" MB: staged")).collect();
    for line in &figures {
        println!("{line}");
        short(line, "VmRSS ", AIM_RESIDENT, "KiB resident");
        short(line, "activated in ", AIM_ACTIVATION, "ms to activate");
    }
    if !output.status.success() {
        bail!("a limit was not kept:\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    ensure!(figures.len() == 3, "figures are missing:\n{said}");
    Ok(())
}

/// Says so when the number after these words is more than aimed at.
fn short(line: &str, words: &str, aim: u64, what: &str) {
    let number = line.split(words).nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    if let Some(number) = number.filter(|number| *number > aim) {
        println!("  falls short: {number} {what}, aimed at {aim}");
    }
}

fn built() -> Result<PathBuf> {
    let bar = spinner("building the updater as shipped");
    let mut build = cargo();
    build.args(["build", "--quiet", "--profile", "lean", "--package", "lockstep-updater", "--bin", "lockstep-updater"]);
    mail_rig::process::must(&mut build)?;
    bar.finish_and_clear();
    Ok(target().join("lean/lockstep-updater"))
}
