//! `cargo xtask ci`: what must hold before a change lands.

use anyhow::{Context, Result, ensure};

use crate::{
    docs, packages,
    programs::{self, cargo},
    tests::{cargo_tool, rust_target, test},
};

/// Runs every check, cheapest first.
///
/// # Errors
/// At the first check that fails.
pub fn ci() -> Result<()> {
    check("format", &["fmt", "--all", "--check"])?;
    docs::check()?;
    cargo_tool("cargo-deny", "deny")?;
    // Advisories need the RustSec database from outside the package registry: `cargo xtask advisories`.
    check("licences, bans and sources", &["deny", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"])?;
    packages::ensure_installed(packages::DEMO)?;
    packages::ensure_installed(packages::WINDOWS)?;
    rust_target(programs::windows::TARGET)?;
    check("clippy", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])?;
    // The programs that the tests run on Windows PCs are built there; this looks at the rest, the server's and vendor's.
    check(
        "clippy for Windows",
        &[
            "clippy",
            "--workspace",
            "--exclude",
            "xtask",
            "--exclude",
            "lockstep-mail-rig",
            "--exclude",
            "lockstep-elevation-rig",
            "--exclude",
            "lockstep-wine-rig",
            "--bins",
            "--lib",
            "--quiet",
            "--target",
            "x86_64-pc-windows-gnu",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    check("documentation", &["doc", "--workspace", "--no-deps", "--quiet"])?;
    test(&[])
}

fn check(what: &str, arguments: &[&str]) -> Result<()> {
    let start = std::time::Instant::now();
    let status = cargo()
        .args(arguments)
        // A link to a private item still helps whoever reads the source, and nothing here is published.
        .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links")
        .status()
        .with_context(|| format!("starting cargo {}", arguments.join(" ")))?;
    ensure!(status.success(), "{what}: cargo {} failed", arguments.join(" "));
    println!("ok  {what} ({:.0} s)", start.elapsed().as_secs_f64());
    Ok(())
}

/// Checks for known vulnerabilities; needs the network beyond the package registry.
///
/// # Errors
/// When there is one, or the database cannot be had.
pub fn advisories() -> Result<()> {
    cargo_tool("cargo-deny", "deny")?;
    check("advisories", &["deny", "check", "advisories"])
}
