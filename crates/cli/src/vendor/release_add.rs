//! `lockstep release`: what will be published next.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use protocol::{
    Version,
    catalog::{Entry, Release, StoreSchemas},
    device::is_channel,
    product::{ProductId, parse_version},
};
use release::package::{self, Manifest};
use semver::VersionReq;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    delegations::{has_channel, planned, responsible},
    installer,
    staging::{Staging, target_path},
    state::State,
};
use crate::terminal::plain;

/// What is said about a package.
#[derive(Debug, Clone, clap::Args)]
pub struct AddArgs {
    /// The repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// The package (.lpk), or the installer of one (.msi): people get it from their site's integration page
    pub file: PathBuf,
    /// Server versions that it works with, such as ">=7.3, <7.4"; `*` for a product without a server. Left out: those
    /// of the same major and minor version (for the updater: any)
    #[arg(long, value_name = "REQUIREMENT")]
    pub server: Option<VersionReq>,
    /// Channel whose devices are offered it
    #[arg(long, default_value = "stable")]
    pub channel: String,
    /// Oldest version that may be upgraded to it directly
    #[arg(long, value_name = "VERSION", value_parser = parse_version)]
    pub upgrades_from: Option<Version>,
    /// Oldest updater that can install it
    #[arg(long, value_name = "VERSION", value_parser = parse_version)]
    pub updater: Option<Version>,
    /// From now on nobody installs anything older than this version: older ones are withdrawn
    #[arg(long, value_name = "VERSION", value_parser = parse_version)]
    pub floor: Option<Version>,
    /// Newer versions that may be replaced by it, such as ">=7.4, <7.5"
    #[arg(long, value_name = "REQUIREMENT")]
    pub downgrade_from: Option<VersionReq>,
    /// Versions that are withdrawn: nobody installs them any more, and whoever has one leaves it. Name them again in each later release
    #[arg(long, value_name = "VERSION", value_parser = parse_version, value_delimiter = ',')]
    pub withdraws: Vec<Version>,
    /// Oldest mail-store schema that it opens
    #[arg(long, value_name = "N", requires = "store_writes")]
    pub store_reads: Option<u32>,
    /// Mail-store schema that it writes
    #[arg(long, value_name = "N", requires = "store_reads")]
    pub store_writes: Option<u32>,
    /// Refuse the package when it is of another product
    #[arg(long)]
    pub product: Option<ProductId>,
    /// Refuse the package when it is of another version
    #[arg(long, value_parser = parse_version)]
    pub version: Option<Version>,
    /// Print what was added as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which repository.
#[derive(Debug, Clone, clap::Args)]
pub struct ListArgs {
    /// The repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which waiting release.
#[derive(Debug, Clone, clap::Args)]
pub struct DropArgs {
    /// The repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// Its target path, as `lockstep release list` shows it
    pub target: String,
}

/// Checks a package to its last byte, or takes an installer as it is, and puts it beside the repository, for the next publication.
pub fn add(args: &AddArgs) -> anyhow::Result<()> {
    let msi = args.file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("msi"));
    let (description, length, sha256) = if msi {
        installer::examine(args)?
    } else {
        let (manifest, length, sha256) = examine(&args.file)?;
        (manifest.description, length, sha256)
    };
    let release = facts(args, &description)?;
    let staging = Staging::open(&args.repo)?;
    staging.refuse_if_prepared()?;
    let delegating = planned(&args.repo, &staging)?.map_or(Value::Null, |edit| edit.targets);
    let channel =
        has_channel(&delegating, release.product.as_str(), &release.channel).then_some(release.channel.as_str());
    let entry =
        Entry { target: target_path(&description, channel, if msi { "msi" } else { "lpk" }), length, sha256, release };

    let state = State::unverified(&args.repo)?.unwrap_or_default();
    let published = state.targets().find(|(path, _)| **path == entry.target).map(|(_, file)| {
        let sha256 = file.pointer("/hashes/sha256").and_then(Value::as_str);
        sha256 == Some(&entry.sha256) && file.get("length").and_then(Value::as_u64) == Some(entry.length)
    });
    let waiting = staging.entries()?.into_iter().find(|e| e.target == entry.target);
    let waiting = waiting.map(|other| other.sha256 == entry.sha256 && other.length == entry.length);
    for (same, state) in [(published, "published"), (waiting, "waiting to be published")] {
        ensure!(
            same.unwrap_or(true),
            "{} is {state} already, with other bytes; a version is never changed, so give this one a new number",
            entry.target
        );
    }
    staging.put(&args.file, &entry)?;
    if args.json {
        println!("{}", json!({ "v": 1, "added": entry }));
    } else {
        println!("Added {}, for servers {}.", entry.target, entry.release.server);
        if let Some(role) = responsible(&delegating, &entry.target) {
            println!("The keys of {role} sign it.");
        }
        println!("Next: `lockstep publish --repo {}`", args.repo.display());
    }
    Ok(())
}

/// Shows what waits.
pub fn list(args: &ListArgs) -> anyhow::Result<()> {
    // Nothing waits where nothing is, and looking makes nothing.
    let waiting = if args.repo.exists() { Staging::open(&args.repo)?.entries()? } else { Vec::new() };
    if args.json {
        println!("{}", json!({ "v": 1, "waiting": waiting }));
    } else if waiting.is_empty() {
        println!("Nothing waits to be published.");
    }
    if !args.json {
        for entry in waiting {
            println!("{}  for servers {}", plain(&entry.target), entry.release.server);
        }
    }
    Ok(())
}

/// Takes a waiting release back.
pub fn drop_waiting(args: &DropArgs) -> anyhow::Result<()> {
    let staging = Staging::existing(&args.repo)?;
    staging.refuse_if_prepared()?;
    ensure!(
        staging.entries()?.iter().any(|e| e.target == args.target),
        "{} does not wait to be published; see `lockstep release list`",
        args.target
    );
    staging.remove(&args.target)?;
    println!("Dropped {}.", args.target);
    Ok(())
}

/// Reads a package to its end, once: its manifest, its length in bytes, its SHA-256.
pub fn examine(path: &Path) -> anyhow::Result<(Manifest, u64, String)> {
    let mut reader = Hashing::open(path)?;
    let manifest = package::verify(&mut reader).with_context(|| format!("{} is refused", path.display()))?;
    let (length, sha256) = reader.finish();
    Ok((manifest, length, sha256))
}

/// Hashes the very bytes that are verified, so that a file which changes meanwhile cannot be two things.
pub struct Hashing {
    file: fs::File,
    hasher: Sha256,
    length: u64,
}

impl Hashing {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { file, hasher: Sha256::new(), length: 0 })
    }

    /// Bytes, and their SHA-256.
    pub fn finish(self) -> (u64, String) {
        (self.length, hex::encode(self.hasher.finalize()))
    }
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.length += n as u64;
        Ok(n)
    }
}

fn facts(args: &AddArgs, package: &package::Description) -> anyhow::Result<Release> {
    if let Some(claimed) = args.product.as_ref().filter(|p| **p != package.product) {
        bail!("{} holds {}, not {claimed}", args.file.display(), package.product);
    }
    if let Some(claimed) = args.version.as_ref().filter(|v| **v != package.version) {
        bail!("{} holds version {}, not {claimed}", args.file.display(), package.version);
    }
    let channel = &args.channel;
    check_channel(channel)?;
    for (flag, version) in [("--floor", &args.floor), ("--upgrades-from", &args.upgrades_from)] {
        if let Some(version) = version.as_ref().filter(|v| **v > package.version) {
            bail!("{flag} {version} is above {}, the version in the package", package.version);
        }
    }
    let store = match (args.store_reads, args.store_writes) {
        (Some(reads_from), Some(writes)) => {
            ensure!(reads_from <= writes, "--store-reads {reads_from} is above --store-writes {writes}");
            Some(StoreSchemas { reads_from, writes })
        }
        _ => None,
    };
    Ok(Release {
        product: package.product.clone(),
        version: package.version.clone(),
        channel: channel.clone(),
        platform: package.platform.clone(),
        server: args.server.clone().map_or_else(|| default_servers(package), Ok)?,
        store,
        upgrades_from: args.upgrades_from.clone(),
        updater: args.updater.clone(),
        floor: args.floor.clone(),
        downgrade_from: args.downgrade_from.clone(),
        withdraws: args.withdraws.clone(),
    })
}

/// Whether this can be a channel's name.
pub fn check_channel(channel: &str) -> anyhow::Result<()> {
    ensure!(is_channel(channel), "{channel:?} is not a channel: 1 to 32 characters of a-z and '-'");
    Ok(())
}

/// The same major.minor is compatible unless the vendor says otherwise.
fn default_servers(package: &package::Description) -> anyhow::Result<VersionReq> {
    if package.product == ProductId::updater() {
        return Ok(VersionReq::STAR);
    }
    let Version { major, minor, .. } = package.version;
    let next = minor.checked_add(1).context("the minor version is too large")?;
    Ok(format!(">={major}.{minor}, <{major}.{next}").parse()?)
}
