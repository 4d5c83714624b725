//! `lockstep publish` and `lockstep renew`: sign, rehearse, write.
//!
//! Before anything is written, the new state is read as two clients will read it: one that knows the present state, and
//! one that starts from the pinned root. What our own reader would refuse is never published. Then packages are
//! written, then metadata, and `timestamp.json` last, each by an atomic rename: killed in between, the old state is still whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use protocol::{Timestamp, catalog::Entry};
use release::tuf::{DirectoryFetch, Fetch, Repository, Trusted, consistent_target_path};
use serde_json::json;

use super::{
    ceremony::Ceremony,
    delegations::WORTH_BINS,
    editor::{Edit, OfflineSigned, SignedRepository},
    expiry::{ExpiryArgs, Periods},
    key_ref::KeyRef,
    passphrase::Passphrase,
    plan::PLAN,
    prepare::{Rings, prepare},
    published,
    redo::write_metadata,
    signers::Signers,
    staging::{SIGNING, Staging, copy_verified},
    state::State,
};
use crate::{runtime::wait, terminal::count};

/// What to publish, and with which keys.
#[derive(Debug, Clone, clap::Args)]
pub struct PublishArgs {
    /// The repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// Directory with offline keys: root, targets, delegated roles. Left out: everything that they must sign was signed by
    /// `lockstep sign`
    #[arg(long, value_name = "DIR")]
    pub offline: Option<PathBuf>,
    /// Directory with the snapshot and timestamp keys
    #[arg(long, value_name = "DIR")]
    pub online: PathBuf,
    /// One more key, a file or a pkcs11: name; repeat for more
    #[arg(long, value_name = "KEY")]
    pub key: Vec<KeyRef>,
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
    let periods = Periods::read(staging.directory(), &args.expiry)?;
    let directories: Vec<&Path> = args.offline.as_deref().into_iter().chain([args.online.as_path()]).collect();
    let rings = Rings::new(&directories);
    let published = rings.verified(&args.repo)?;
    let waiting = staging.entries()?;
    let mut signers = Signers::new(&directories, &args.key, &args.passphrase);

    let folder = staging.prepared();
    let mut ceremony = if let Some(folder) = &folder {
        let state = published.as_ref().map(State::verified).transpose()?;
        let unpublished = rings.unpublished_root()?.filter(|_| published.is_none());
        let state = state.map_or_else(|| unpublished.map_or(Ok(State::default()), |r| State::of_root(&r)), Ok)?;
        Ceremony::read(folder)?.on(state)?
    } else {
        // Where the targets key is at hand, the list of releases is renewed on the way.
        let renew = args.offline.as_ref().filter(|ring| has_key(ring, "targets")).map(|_| "targets");
        prepare(&rings, published.as_ref(), &staging, &waiting, renew.as_slice(), &periods, now)?
    };
    signers.sign_all(&mut ceremony)?;
    if let Some(folder) = &folder {
        ceremony.save(folder)?;
    }
    let signed = finish(ceremony, &signers, folder.is_some(), &args.repo)?;
    let (included, left): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|entry| signed.holds(entry));
    if published.is_none() {
        let first = signed.state.root.as_ref().context("a repository has a root")?.file()?;
        let first = rings.unpublished_root()?.unwrap_or(first.bytes);
        rings.remember(&first)?;
        write_metadata(&args.repo, "1.root.json", &first)?;
    }
    let signed = signed.sign_online(&periods.online(now)?, &mut |file, by| signers.complete(file, by))?;
    let done = [PLAN, SIGNING];
    let state = release_state(&args.repo, &directories, &staging, &included, &done, &signed, now)?;
    for entry in &included {
        staging.remove(&entry.target)?;
    }
    let ring = args.offline.as_deref().unwrap_or(&args.online);
    report(&args.repo, ring, &state, &included, args.json);
    if !args.json && !left.is_empty() {
        println!("{} still for the next publication.", wait_words(left.len()));
    }
    Ok(())
}

fn wait_words(n: usize) -> String {
    if n == 1 { "1 release waits".into() } else { format!("{n} releases wait") }
}

/// Signs the snapshot and the timestamp anew, with the online keys alone.
pub fn renew(args: &RenewArgs) -> anyhow::Result<()> {
    let staging = Staging::existing(&args.repo)?;
    let now = Timestamp::now();
    let periods = Periods::read(staging.directory(), &args.expiry)?;
    let published = published::verified(&args.repo, &args.online)?.with_context(|| {
        format!("nothing has been published in {} yet; use `lockstep publish`", args.repo.display())
    })?;
    let mut signers = Signers::new(&[&args.online], &[], &args.passphrase);
    let signed = Edit::of(State::verified(&published)?)?.keep_offline()?;
    let signed = signed.sign_online(&periods.online(now)?, &mut |file, by| signers.complete(file, by))?;
    let state = release_state(&args.repo, &[&args.online], &staging, &[], &[], &signed, now)
        .context("the root or the list of releases may have to be renewed with `lockstep publish`")?;
    report(&args.repo, &args.online, &state, &[], args.json);
    Ok(())
}

/// Whether a directory has a key under a role's name.
fn has_key(ring: &Path, role: &str) -> bool {
    ["pem", super::key_ref::URI_FILE].iter().any(|extension| ring.join(format!("{role}.{extension}")).exists())
}

/// The offline part, complete; or what is missing, and how to go on.
pub fn finish(ceremony: Ceremony, signers: &Signers<'_>, prepared: bool, repo: &Path) -> anyhow::Result<OfflineSigned> {
    let mut strangers = String::new();
    for missing in ceremony.missing()? {
        for authority in ceremony.authorities(&missing.role)? {
            let text = signers.strangers(&missing.role, &authority);
            if !strangers.contains(&text) {
                strangers.push_str(&text);
            }
        }
    }
    let next = if prepared {
        format!(
            "\nwho has signed: `lockstep staging status --repo {0}`; sign with `lockstep sign --repo {0} --key KEY`",
            repo.display()
        )
    } else {
        format!("\nto sign on several machines, begin with `lockstep prepare --repo {}`", repo.display())
    };
    ceremony.finish().map_err(|missing| anyhow::anyhow!("{missing}{strangers}{next}"))
}

/// Rehearses and writes a signed state; returns it as clients read it. `waiting` are the releases whose packages it needs, `done` is
/// what waits no longer then.
pub fn release_state(
    repo: &Path,
    rings: &[&Path],
    staging: &Staging,
    waiting: &[Entry],
    done: &[&str],
    signed: &SignedRepository,
    now: Timestamp,
) -> anyhow::Result<Trusted> {
    let knowing = Rings::new(rings).knowing();
    rehearse(repo, &knowing, signed, now)?;
    for entry in waiting {
        let to = repo.join("targets").join(consistent_target_path(&entry.target, &entry.sha256));
        copy_verified(&staging.package(&entry.target), &to, entry)?;
    }
    staging.write_metadata(repo, signed, done)?;
    let mut state = None;
    for ring in knowing {
        let memory = Repository::open(&ring.join("trusted"), &read(&ring.join("root.json"))?)?;
        state = Some(wait(memory.refresh(&DirectoryFetch::new(repo), now))??);
    }
    state.context("a publication has keys")
}

/// Reads the new state as a client that knows the present one, and as a client that knows nothing but the root.
fn rehearse(repo: &Path, rings: &[&Path], signed: &SignedRepository, now: Timestamp) -> anyhow::Result<()> {
    let Some(ring) = rings.first() else { bail!("none of the key directories has the root.json that sites pin") };
    let root = read(&ring.join("root.json"))?;
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
    let binned = state.metadata().iter().any(|f| f.name.contains(".bins-"));
    if state.targets().len() >= WORTH_BINS && !binned {
        println!(
            "Each PC fetches the whole list of {} targets when one is added. `lockstep delegation bins 64` spreads it.",
            state.targets().len()
        );
    }
}
