//! `lockstep key replace`: one key of the repository gives way to a new one.
//!
//! A new root, or for a delegated role new targets, names the new key; a root is signed by the old root's keys and by its own, so clients
//! follow by themselves. What the old key had signed is signed anew at once, and published. The old key file is kept under another
//! name: only when the new state is out is it of no use any more.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use protocol::Timestamp;
use release::durable::{self, Access};

use super::{
    authority::{authorities, delegation_of},
    delegations::{BINS, apply, is_bin},
    editor::Edit,
    expiry::{ExpiryArgs, Periods},
    key_ref::{KeyRef, URI_FILE},
    key_ring::ROLES,
    keys::{PublicKey, SecretKey},
    passphrase::Passphrase,
    plan::Change,
    prepare::Rings,
    publish::{finish, release_state, report},
    signers::Signers,
    staging::Staging,
    state::State,
};

/// Which key to replace.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplaceArgs {
    /// The key: root1, root2, …, targets, snapshot, timestamp, or a delegated role's
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
    /// The new key, a pkcs11: name; without it, a new key file is made
    #[arg(long, value_name = "KEY")]
    pub with: Option<KeyRef>,
    #[command(flatten)]
    pub passphrase: Passphrase,
    #[command(flatten)]
    pub expiry: ExpiryArgs,
}

/// Replaces it, and publishes.
pub fn replace(args: &ReplaceArgs) -> anyhow::Result<()> {
    let staging = Staging::existing(&args.repo)?;
    staging.refuse_if_prepared()?;
    let now = Timestamp::now();
    let periods = Periods::read(staging.directory(), &args.expiry)?;
    let directories: [&Path; 2] = [&args.offline, &args.online];
    let rings = Rings::new(&directories);
    let Some(published) = rings.verified(&args.repo)? else {
        bail!("nothing has been published in {} yet; make other keys with `lockstep key init`", args.repo.display());
    };
    let state = State::verified(&published)?;
    let role = role(&args.key, &state)?;
    let directory = if matches!(role.as_str(), "snapshot" | "timestamp") { &args.online } else { &args.offline };
    let files = Files::new(directory, &args.key, args.with.as_ref());
    let (new, new_public) = files.new_key(args)?;

    let mut trusted = published;
    if !ids(&state, &role)?.contains(&new_public.id()) {
        let change =
            Change::ReplaceKey { id: old_id(args, &files, &state, &role)?, key: new_public.hex().into(), role };
        let mut edit = Edit::of(state)?;
        apply(&mut edit, &change)?;
        let mut ceremony = edit.prepare(&periods, now)?;
        let mut signers = Signers::new(&directories, &[new], &args.passphrase);
        signers.sign_all(&mut ceremony)?;
        let signed = finish(ceremony, &signers, false, &args.repo)?;
        let signed = signed.sign_online(&periods.online(now)?, &mut |file, by| signers.complete(file, by))?;
        trusted = release_state(&args.repo, &directories, &staging, &[], &[], &signed, now)?;
    }
    let kept = files.put_in_place(root_version(&trusted))?;
    let kept = kept.map_or_else(|| "was not here".to_owned(), |path| format!("is {}", path.display()));
    println!("The {} key is replaced. The old one {kept}.", args.key);
    report(&args.repo, &args.offline, &trusted, &[], false);
    Ok(())
}

/// The role that a key name belongs to.
fn role(key: &str, state: &State) -> anyhow::Result<String> {
    let without_number = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let delegated = state.delegated.contains_key(key) || key == BINS;
    let top = ROLES.contains(&without_number) && (without_number == "root") != (without_number == key);
    ensure!(
        delegated || top,
        "{key:?} is not a key: root1, root2, …, targets, snapshot, timestamp, or one of `lockstep delegation list`"
    );
    Ok(if delegated { key.to_owned() } else { without_number.to_owned() })
}

/// The ids of a role's keys in force.
fn ids(state: &State, role: &str) -> anyhow::Result<Vec<String>> {
    let root = &state.root.as_ref().context("the repository has no root")?.signed;
    let targets = &state.targets.as_ref().context("the repository has no targets")?.signed;
    let bins = || state.delegated.keys().find(|name| is_bin(name)).cloned();
    let authority = if ROLES.contains(&role) {
        authorities(root, role, "root")?
    } else {
        let name = if role == BINS { bins().unwrap_or_default() } else { role.to_owned() };
        delegation_of(targets, &name).with_context(|| format!("nothing is delegated to {role}"))?
    };
    Ok(authority.ids().map(str::to_owned).collect())
}

fn old_id(args: &ReplaceArgs, files: &Files, state: &State, role: &str) -> anyhow::Result<String> {
    match (&args.old_key_id, &files.old) {
        (Some(id), _) => Ok(id.clone()),
        (None, Some(path)) => Ok(KeyRef::File(path.clone()).open(&args.passphrase)?.public().id()),
        (None, None) => bail!(
            "{} is not there; if it is lost, say which key it was with --old-key-id; {role} keys of this \
             repository: {}",
            files.directory.join(format!("{}.pem", args.key)).display(),
            ids(state, role)?.join(", ")
        ),
    }
}

/// The key's files: the old one, the new one beside it until it is in force.
struct Files {
    directory: PathBuf,
    key: String,
    old: Option<PathBuf>,
    new: PathBuf,
}

impl Files {
    fn new(directory: &Path, key: &str, with: Option<&KeyRef>) -> Self {
        let named = |extension: &str| directory.join(format!("{key}.{extension}"));
        let old = [named("pem"), named(URI_FILE)].into_iter().find(|path| path.exists());
        let extension = if with.is_some() { URI_FILE } else { "pem" };
        let new = directory.join(format!("{key}-new.{extension}"));
        Self { directory: directory.to_owned(), key: key.to_owned(), old, new }
    }

    /// Makes the new key, encrypted unless the old one is not; or takes it from a token, or from a run that was killed. It is on
    /// disk before it is in force: a key that clients expect must never be lost.
    fn new_key(&self, args: &ReplaceArgs) -> anyhow::Result<(KeyRef, PublicKey)> {
        if !self.new.exists() {
            match &args.with {
                Some(KeyRef::Uri(uri)) => {
                    durable::replace(&self.new, format!("{uri}\n").as_bytes(), Access::Public)
                        .with_context(|| format!("cannot write {}", self.new.display()))?;
                }
                Some(KeyRef::File(path)) => {
                    bail!("--with names a key in a token (pkcs11:…), not {}; key files are made here", path.display())
                }
                None => {
                    let plain =
                        |path: &PathBuf| fs::read_to_string(path).is_ok_and(|pem| pem.contains("BEGIN PRIVATE KEY"));
                    let plain = self.old.as_ref().is_some_and(plain);
                    let passphrase = if plain { None } else { Some(args.passphrase.ask()?) };
                    SecretKey::generate().write(&self.new, passphrase.as_deref())?;
                }
            }
        }
        let new = KeyRef::File(self.new.clone());
        let public = new.open(&args.passphrase)?.public();
        Ok((new, public))
    }

    /// Gives the new key its name. Says where the old one is now.
    fn put_in_place(&self, root_version: u64) -> anyhow::Result<Option<PathBuf>> {
        let rename =
            |from: &Path, to: &Path| fs::rename(from, to).with_context(|| format!("cannot rename {}", from.display()));
        let mut kept = None;
        if let Some(old) = &self.old {
            let extension = old.extension().and_then(|e| e.to_str()).unwrap_or("pem");
            let path = self.directory.join(format!("{}-until-root-{root_version}.{extension}", self.key));
            rename(old, &path)?;
            kept = Some(path);
        }
        let public = self.new.with_extension("pub");
        if public.exists() {
            rename(&public, &self.directory.join(format!("{}.pub", self.key)))?;
        }
        let extension = self.new.extension().and_then(|e| e.to_str()).unwrap_or("pem");
        rename(&self.new, &self.directory.join(format!("{}.{extension}", self.key)))?;
        durable::sync_dir(&self.directory)?;
        Ok(kept)
    }
}

fn root_version(state: &release::tuf::Trusted) -> u64 {
    let roots = state.metadata().iter().filter_map(|f| f.name.strip_suffix(".root.json")?.parse().ok());
    roots.max().unwrap_or_default()
}
