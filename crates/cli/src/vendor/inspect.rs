//! `lockstep inspect`: what a package or a repository says.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use protocol::Timestamp;
use release::{
    package::{Health, Restart},
    tuf::{DirectoryFetch, Repository, Trusted, consistent_target_path},
};
use serde_json::json;

use super::release_add::examine;
use crate::{runtime::wait, terminal::plain};

/// What to look at.
#[derive(Debug, Clone, clap::Args)]
pub struct InspectArgs {
    /// A package, or the directory of a repository
    pub path: PathBuf,
    /// Verify the repository from this root.json; without it, from its own 1.root.json
    #[arg(long, value_name = "FILE")]
    pub root: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Shows it. Fails when something in it does not verify.
pub fn inspect(args: &InspectArgs) -> anyhow::Result<()> {
    if args.path.is_dir() { repository(args) } else { package(&args.path, args.json) }
}

fn package(path: &Path, as_json: bool) -> anyhow::Result<()> {
    let (manifest, length, sha256) = examine(path)?;
    if as_json {
        println!("{}", json!({ "v": 1, "length": length, "sha256": sha256, "manifest": manifest }));
        return Ok(());
    }
    let d = &manifest.description;
    println!("{} {} for {}, {length} bytes", d.product, d.version, d.platform);
    println!("SHA-256  {sha256}");
    println!("Starts   {}", d.program);
    if !d.self_check.is_empty() {
        println!("Checks   {} {}", d.program, d.self_check.join(" "));
    }
    if let Restart::Systemd(unit) = &d.restart {
        let Health { ready_seconds, crashes, within_seconds, .. } = d.health;
        println!("Restarts {unit}, which must be active within {ready_seconds} s");
        println!("Broken   once it has ended {crashes} times within {within_seconds} s after that");
    }
    for file in &manifest.files {
        println!("{:o} {:>12}  {}", file.mode, file.size, file.path);
    }
    Ok(())
}

fn repository(args: &InspectArgs) -> anyhow::Result<()> {
    let path = args.root.clone().unwrap_or_else(|| args.path.join("metadata/1.root.json"));
    let root = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(args.path.join("metadata").is_dir(), "{} has no metadata directory", args.path.display());
    let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
    let reader = Repository::open(scratch.path(), &root)?;
    let state = wait(reader.refresh(&DirectoryFetch::new(&args.path), Timestamp::MIN))?
        .with_context(|| format!("{} does not verify", args.path.display()))?;
    packages(&args.path, &state)?;
    show(&state, args.json);
    Ok(())
}

/// Every release's package must be there, and be what was signed.
fn packages(repo: &Path, state: &Trusted) -> anyhow::Result<()> {
    let files = DirectoryFetch::new(repo);
    for entry in &state.catalog().entries {
        let path = files.target(&consistent_target_path(&entry.target, &entry.sha256));
        let (_, length, sha256) = examine(&path)?;
        ensure!(
            length == entry.length && sha256 == entry.sha256,
            "{} is not the package that was signed as {}; bring it back from a copy",
            path.display(),
            plain(&entry.target)
        );
    }
    Ok(())
}

fn show(state: &Trusted, as_json: bool) {
    let expired = state.is_expired(Timestamp::now());
    if as_json {
        let skipped: Vec<_> = state.skipped().iter().map(|s| json!({ "target": s.target, "why": s.why })).collect();
        let files: Vec<_> = state.metadata().iter().map(|f| &f.name).collect();
        println!(
            "{}",
            json!({ "v": 1, "version": state.version(), "expires": state.expires(), "expired": expired,
                    "releases": state.catalog().entries, "skipped": skipped, "metadata": files })
        );
        return;
    }
    let good = if expired { "EXPIRED on" } else { "good until" };
    println!("Version {}, {good} {}", state.version(), state.expires().strftime("%Y-%m-%d %H:%M UTC"));
    for entry in &state.catalog().entries {
        println!("{}  {} bytes, for servers {}", plain(&entry.target), entry.length, entry.release.server);
    }
    for skipped in state.skipped() {
        println!("skipped {}: {}", plain(&skipped.target), plain(&skipped.why));
    }
}
