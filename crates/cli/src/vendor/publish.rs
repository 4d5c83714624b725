//! `lockstep publish` and `lockstep renew`: sign, rehearse, write.
//!
//! Before anything is written, the new state is read as two clients will read it: one that knows the present state, and
//! one that starts from the pinned root. What our own reader would refuse is never published. Then packages are
//! written, then metadata, and `timestamp.json` last, each by an atomic rename: killed in between, the old state is still whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use protocol::{Timestamp, catalog::Entry};
use release::{
    durable::{self, Access},
    tuf::{DirectoryFetch, Fetch, Repository, Trusted, consistent_target_path},
};
use serde_json::json;

use super::{
    editor::{Edit, Expiry, SignedRepository, first_root},
    key_ring::{self, Draft},
    passphrase::Passphrase,
    published,
    redo::write_metadata,
    staging::{Staging, copy_verified},
};
use crate::{runtime::wait, terminal::count};

/// A root that expires within so many days is renewed by the next publication.
const RENEW_ROOT_DAYS: i64 = 120;

/// How long metadata is good for.
#[derive(Debug, Clone, clap::Args)]
pub struct ExpiryArgs {
    /// Days that a new root is good for
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(i64).range(1..=3650))]
    pub root_days: i64,
    /// Days that the list of releases is good for
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(i64).range(1..=3650))]
    pub targets_days: i64,
    /// Days that the snapshot is good for
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(i64).range(1..=3650))]
    pub snapshot_days: i64,
    /// Days that the timestamp is good for: the longest that a client can be kept from news without noticing
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(i64).range(1..=3650))]
    pub timestamp_days: i64,
}

/// What to publish, and with which keys.
#[derive(Debug, Clone, clap::Args)]
pub struct PublishArgs {
    /// The repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// Directory with the root and targets keys
    #[arg(long, value_name = "DIR")]
    pub offline: PathBuf,
    /// Directory with the snapshot and timestamp keys
    #[arg(long, value_name = "DIR")]
    pub online: PathBuf,
    #[command(flatten)]
    pub passphrase: Passphrase,
    #[command(flatten)]
    pub expiry: ExpiryArgs,
    /// Print what was published as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which repository to renew.
#[derive(Debug, Clone, clap::Args)]
pub struct RenewArgs {
    /// The repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// Directory with the snapshot and timestamp keys
    #[arg(long, value_name = "DIR")]
    pub online: PathBuf,
    #[command(flatten)]
    pub passphrase: Passphrase,
    #[command(flatten)]
    pub expiry: ExpiryArgs,
    /// Print what was published as JSON
    #[arg(long)]
    pub json: bool,
}

/// Publishes everything that waits.
pub fn publish(args: &PublishArgs) -> anyhow::Result<()> {
    let staging = Staging::open(&args.repo)?;
    let now = Timestamp::now();
    let expiry = args.expiry.from(now)?;
    let published = published::verified(&args.repo, &args.offline)?;
    let mut edit = match &published {
        Some(published) => Edit::of(published)?,
        None => Edit::first(&ensure_first_root(args, &expiry)?)?,
    };
    let waiting = staging.entries()?;
    for entry in &waiting {
        refuse_other_bytes(published.as_ref(), entry)?;
        edit.put_release(&entry.target, entry.length, &entry.sha256, &entry.release)?;
    }
    if edit.root_expires()? < days(now, RENEW_ROOT_DAYS)? {
        edit.renew_root()?;
    }
    let roots = if edit.changes_root() {
        key_ring::open_roots(&args.offline, edit.root_threshold(), &args.passphrase)?
    } else {
        Vec::new()
    };
    let targets = key_ring::open(&args.offline, "targets", &args.passphrase)?;
    let snapshot = key_ring::open(&args.online, "snapshot", &args.passphrase)?;
    let timestamp = key_ring::open(&args.online, "timestamp", &args.passphrase)?;
    let signed = edit.sign_offline(&roots, &targets, &expiry)?.sign_online(&snapshot, &timestamp, &expiry)?;

    let state = release_state(&args.repo, &[&args.offline, &args.online], &staging, &waiting, &signed, now)?;
    for entry in &waiting {
        staging.remove(&entry.target)?;
    }
    report(&args.repo, &args.offline, &state, &waiting, args.json);
    Ok(())
}

/// Signs the snapshot and the timestamp anew, with the online keys alone.
pub fn renew(args: &RenewArgs) -> anyhow::Result<()> {
    let staging = Staging::open(&args.repo)?;
    let now = Timestamp::now();
    let expiry = args.expiry.from(now)?;
    let published = published::verified(&args.repo, &args.online)?.with_context(|| {
        format!("nothing has been published in {} yet; use `lockstep publish`", args.repo.display())
    })?;
    let snapshot = key_ring::open(&args.online, "snapshot", &args.passphrase)?;
    let timestamp = key_ring::open(&args.online, "timestamp", &args.passphrase)?;
    let signed = Edit::of(&published)?.keep_offline()?.sign_online(&snapshot, &timestamp, &expiry)?;
    let state = release_state(&args.repo, &[&args.online], &staging, &[], &signed, now)
        .context("the root or the list of releases may have to be renewed with `lockstep publish`")?;
    report(&args.repo, &args.online, &state, &[], args.json);
    Ok(())
}

impl ExpiryArgs {
    pub fn from(&self, now: Timestamp) -> anyhow::Result<Expiry> {
        Ok(Expiry {
            root: days(now, self.root_days)?,
            targets: days(now, self.targets_days)?,
            snapshot: days(now, self.snapshot_days)?,
            timestamp: days(now, self.timestamp_days)?,
        })
    }
}

fn days(now: Timestamp, days: i64) -> anyhow::Result<Timestamp> {
    Ok(now.checked_add(jiff::SignedDuration::from_hours(days * 24))?)
}

/// The root that sites pin: made once, and the same again when a first publication broke off.
fn ensure_first_root(args: &PublishArgs, expiry: &Expiry) -> anyhow::Result<Vec<u8>> {
    let path = args.offline.join("root.json");
    let root = match fs::read(&path) {
        Ok(root) => root,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let draft = Draft::read(&args.offline)?;
            let keys = key_ring::open_roots(&args.offline, draft.root_threshold.into(), &args.passphrase)?;
            let root = first_root(&draft, &keys, expiry.root)?;
            write(&path, &root)?;
            root
        }
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    write(&args.online.join("root.json"), &root)?;
    write_metadata(&args.repo, "1.root.json", &root)?;
    Ok(root)
}

fn refuse_other_bytes(published: Option<&Trusted>, entry: &Entry) -> anyhow::Result<()> {
    let known = published.and_then(|p| p.target(&entry.target));
    ensure!(
        known.is_none_or(|k| k.sha256 == entry.sha256 && k.length == entry.length),
        "{} is published already, with other bytes; a version is never changed, so give this one a new number \
         (`lockstep release drop` takes it back)",
        entry.target
    );
    Ok(())
}

/// Rehearses and writes a signed state; returns it as clients read it.
pub fn release_state(
    repo: &Path,
    rings: &[&Path],
    staging: &Staging,
    waiting: &[Entry],
    signed: &SignedRepository,
    now: Timestamp,
) -> anyhow::Result<Trusted> {
    rehearse(repo, rings, signed, now)?;
    for entry in waiting {
        let to = repo.join("targets").join(consistent_target_path(&entry.target, &entry.sha256));
        copy_verified(&staging.package(&entry.target), &to, entry)?;
    }
    staging.write_metadata(repo, signed)?;
    let mut state = None;
    for ring in rings {
        let memory = Repository::open(&ring.join("trusted"), &read(&ring.join("root.json"))?)?;
        state = Some(wait(memory.refresh(&DirectoryFetch::new(repo), now))??);
    }
    state.context("a publication has keys")
}

/// Reads the new state as a client that knows the present one, and as a client that knows nothing but the root.
fn rehearse(repo: &Path, rings: &[&Path], signed: &SignedRepository, now: Timestamp) -> anyhow::Result<()> {
    let root = read(&rings.first().context("a publication has keys")?.join("root.json"))?;
    let next = Overlay { below: DirectoryFetch::new(repo), signed };
    for informed in [true, false] {
        let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
        let client = Repository::open(scratch.path(), &root)?;
        if informed && repo.join("metadata/timestamp.json").exists() {
            wait(client.refresh(&DirectoryFetch::new(repo), Timestamp::MIN))?
                .with_context(|| published::not_as_published(repo))?;
        }
        wait(client.refresh(&next, now))?.context("clients would refuse the new state, so it is not published")?;
    }
    Ok(())
}

/// The repository as it will be.
struct Overlay<'a> {
    below: DirectoryFetch,
    signed: &'a SignedRepository,
}

impl Fetch for Overlay<'_> {
    type Error = io::Error;

    async fn fetch(&self, path: &str, max_length: u64) -> io::Result<Option<Vec<u8>>> {
        let new = self.signed.files().iter().find(|f| path.strip_prefix("metadata/") == Some(f.name.as_str()));
        match new {
            Some(file) => Ok(Some(file.bytes.clone())),
            None => self.below.fetch(path, max_length).await,
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    durable::replace(path, bytes, Access::Public).with_context(|| format!("cannot write {}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

pub fn report(repo: &Path, ring: &Path, state: &Trusted, added: &[Entry], as_json: bool) {
    let root = ring.join("root.json");
    if as_json {
        let added: Vec<_> = added.iter().map(|e| &e.target).collect();
        println!(
            "{}",
            json!({ "v": 1, "version": state.version(), "expires": state.expires(), "added": added,
                    "releases": state.catalog().entries, "root": root })
        );
        return;
    }
    for entry in added {
        println!("Published {}, for servers {}.", entry.target, entry.release.server);
    }
    println!(
        "{} is at version {}: {}, good until {}.",
        repo.display(),
        state.version(),
        count(state.catalog().entries.len(), "release"),
        state.expires().strftime("%Y-%m-%d")
    );
    println!("Sites pin {}.", root.display());
}
