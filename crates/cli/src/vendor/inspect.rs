//! `lockstep inspect`: what a package or a repository says.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use protocol::{Timestamp, catalog::Entry};
use release::{
    package::{Health, Restart},
    tuf::{DirectoryFetch, Trusted, consistent_target_path},
};
use serde_json::json;

use super::{
    check::role_table, delegations::is_bin, facts::roles, installer, release_add::examine, source::Source,
    words::limits,
};
use crate::terminal::{count, plain};

/// What to look at.
#[derive(Debug, Clone, clap::Args)]
pub struct InspectArgs {
    /// A package, or a repository: its directory, or the address of its web server
    pub path: String,
    /// Verify the repository from this root.json; without it, from its own 1.root.json
    #[arg(long, value_name = "FILE")]
    pub root: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Shows it. Fails when something in it does not verify.
pub fn inspect(args: &InspectArgs) -> anyhow::Result<()> {
    let path = Path::new(&args.path);
    let is_web = args.path.starts_with("https://") || args.path.starts_with("http://");
    if is_web || path.is_dir() { repository(args) } else { package(path, args.json) }
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
    let source = Source::new(&args.path)?;
    let state = source.read(args.root.as_ref())?;
    if let Source::Directory(directory) = &source {
        packages(directory, &state)?;
    }
    show(&state, args)
}

/// Every release's package must be there, and be what was signed.
fn packages(repo: &Path, state: &Trusted) -> anyhow::Result<()> {
    let files = DirectoryFetch::new(repo);
    for entry in state.installers() {
        let path = files.target(&consistent_target_path(&entry.target, &entry.sha256));
        refuse_other_bytes(entry, installer::measure(&path)?, &path)?;
    }
    for entry in &state.catalog().entries {
        let path = files.target(&consistent_target_path(&entry.target, &entry.sha256));
        let (_, length, sha256) = examine(&path)?;
        refuse_other_bytes(entry, (length, sha256), &path)?;
    }
    Ok(())
}

fn refuse_other_bytes(entry: &Entry, (length, sha256): (u64, String), path: &Path) -> anyhow::Result<()> {
    ensure!(
        length == entry.length && sha256 == entry.sha256,
        "{} is not the package that was signed as {}; bring it back from a copy",
        path.display(),
        plain(&entry.target)
    );
    Ok(())
}

fn show(state: &Trusted, args: &InspectArgs) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let expired = state.is_expired(now);
    let roles = roles(state)?;
    if args.json {
        let skipped: Vec<_> = state.skipped().iter().map(|s| json!({ "target": s.target, "why": s.why })).collect();
        let files: Vec<_> = state.metadata().iter().map(|f| &f.name).collect();
        println!(
            "{}",
            json!({ "v": 1, "version": state.version(), "expires": state.expires(), "expired": expired, "roles": roles,
                    "releases": state.catalog().entries, "installers": state.installers(), "skipped": skipped, "metadata": files })
        );
        return Ok(());
    }
    let good = if expired { "EXPIRED on" } else { "good until" };
    println!("Version {}, {good} {}", state.version(), state.expires().strftime("%Y-%m-%d %H:%M UTC"));
    println!("\n{}\n", role_table(&roles, now));
    for facts in roles.iter().filter(|facts| !is_bin(&facts.role)) {
        if let Some(paths) = &facts.paths {
            println!("{} speaks for {}", plain(&facts.role), plain(&paths.to_string()));
        }
        for id in &facts.keys {
            let signed = if facts.signed_by.contains(id) { "  signed" } else { "" };
            println!("{:<10} key {}{signed}", plain(&facts.role), plain(id));
        }
    }
    println!("\n{}", count(state.catalog().entries.len(), "release"));
    for entry in &state.catalog().entries {
        let release = &entry.release;
        println!(
            "{}  {} bytes, channel {}, for servers {}{}",
            plain(&entry.target),
            entry.length,
            plain(&release.channel),
            release.server,
            limits(release)
        );
    }
    for entry in state.installers() {
        let Entry { target, length, release, .. } = entry;
        let channel = plain(&release.channel);
        println!("{}  {length} bytes, installer, channel {channel}, for servers {}", plain(target), release.server);
    }
    for skipped in state.skipped() {
        println!("skipped {}: {}", plain(&skipped.target), plain(&skipped.why));
    }
    if args.root.is_none() {
        println!("Verified from its own first root; --root root.json verifies it as your sites do.");
    }
    Ok(())
}
