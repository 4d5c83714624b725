//! `lockstep key replace`: one key of the repository gives way to a new one.
//!
//! A new root names the new key; it is signed by the old root's keys and by its own, so clients follow by themselves.
//! Everything else is signed anew at once, and published. The old key file is kept under another name: only when the new state
//! is out is it of no use any more.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use protocol::Timestamp;
use release::durable;

use super::{
    editor::Edit,
    key_ring::{self, ROLES},
    keys::SecretKey,
    passphrase::Passphrase,
    publish::{ExpiryArgs, release_state, report},
    published,
    staging::Staging,
};

/// Which key to replace.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplaceArgs {
    /// The key: root1, root2, …, targets, snapshot or timestamp
    pub key: String,
    /// The repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// Directory with the root and targets keys
    #[arg(long, value_name = "DIR")]
    pub offline: PathBuf,
    /// Directory with the snapshot and timestamp keys
    #[arg(long, value_name = "DIR")]
    pub online: PathBuf,
    /// Id of the old key, when its file is lost
    #[arg(long, value_name = "ID")]
    pub old_key_id: Option<String>,
    #[command(flatten)]
    pub passphrase: Passphrase,
    #[command(flatten)]
    pub expiry: ExpiryArgs,
}

/// Replaces it, and publishes.
pub fn replace(args: &ReplaceArgs) -> anyhow::Result<()> {
    let role = args.key.trim_end_matches(|c: char| c.is_ascii_digit());
    ensure!(
        ROLES.contains(&role) && (role == "root") != (role == args.key),
        "{:?} is not a key: root1, root2, …, targets, snapshot or timestamp",
        args.key
    );
    let staging = Staging::open(&args.repo)?;
    let now = Timestamp::now();
    let expiry = args.expiry.from(now)?;
    let Some(published) = published::verified(&args.repo, &args.offline)? else {
        bail!("nothing has been published in {} yet; make other keys with `lockstep key init`", args.repo.display());
    };
    let directory = if matches!(role, "root" | "targets") { &args.offline } else { &args.online };
    let old_path = directory.join(format!("{}.pem", args.key));
    let new_path = directory.join(format!("{}-new.pem", args.key));
    let new = if new_path.exists() {
        // Left by a run that was killed.
        SecretKey::read(&new_path, &mut || args.passphrase.ask())?
    } else {
        make(&old_path, &new_path, &args.passphrase)?
    };

    let mut edit = Edit::of(&published)?;
    let mut state = published;
    if !edit.has_key(role, &new.public().id()) {
        let old = match &args.old_key_id {
            Some(id) => id.clone(),
            None if !old_path.exists() => bail!(
                "{} is not there; if it is lost, say which key it was with --old-key-id; {role} keys of this \
                 repository: {}",
                old_path.display(),
                edit.ids(role).join(", ")
            ),
            None => key_ring::open(directory, &args.key, &args.passphrase)?.public().id(),
        };
        edit.replace_key(role, &old, &new.public())?;
        let mut roots = key_ring::open_roots(&args.offline, edit.root_threshold(), &args.passphrase)?;
        if role == "root" {
            // The old root wants its threshold of old keys, the new one its own, to which the new key counts.
            roots.push(new.copy());
        }
        let pick = |name: &str, directory| {
            if role == name { Ok(new.copy()) } else { key_ring::open(directory, name, &args.passphrase) }
        };
        let targets = pick("targets", &args.offline)?;
        let (snapshot, timestamp) = (pick("snapshot", &args.online)?, pick("timestamp", &args.online)?);
        let signed = edit.sign_offline(&roots, &targets, &expiry)?.sign_online(&snapshot, &timestamp, &expiry)?;
        state = release_state(&args.repo, &[&args.offline, &args.online], &staging, &[], &signed, now)?;
    }
    let kept = directory.join(format!("{}-until-root-{}.pem", args.key, root_version(&state)));
    if old_path.exists() {
        fs::rename(&old_path, &kept).with_context(|| format!("cannot rename {}", old_path.display()))?;
    }
    fs::rename(&new_path, &old_path).with_context(|| format!("cannot rename {}", new_path.display()))?;
    durable::sync_dir(directory)?;
    println!("The {} key is replaced. The old one, if it was here, is {}.", args.key, kept.display());
    report(&args.repo, &args.offline, &state, &[], false);
    Ok(())
}

/// Makes the new key, encrypted unless the old one is not. It is on disk before it is in force: a key that clients expect
/// must never be lost.
fn make(old_path: &Path, new_path: &Path, passphrase: &Passphrase) -> anyhow::Result<SecretKey> {
    let plain = fs::read_to_string(old_path).is_ok_and(|pem| pem.contains("BEGIN PRIVATE KEY"));
    let passphrase = if plain { None } else { Some(passphrase.ask()?) };
    let new = SecretKey::generate();
    new.write(new_path, passphrase.as_deref())?;
    Ok(new)
}

fn root_version(state: &release::tuf::Trusted) -> u64 {
    let roots = state.metadata().iter().filter_map(|f| f.name.strip_suffix(".root.json")?.parse().ok());
    roots.max().unwrap_or_default()
}
