//! The vendor's two directories of keys: one that stays offline, one on the machine that renews the timestamp.
//!
//! | directory | file | what |
//! |---|---|---|
//! | offline | `root1.pem` … | root keys; a threshold of them signs, so they may be kept apart |
//! | offline | `targets.pem` | signs what a release is |
//! | offline | `<role>.pem` | a delegated role's key; `bins.pem` signs all bins |
//! | both | `<key>.pkcs11` | instead of any `.pem`: the name of a key in a token (RFC 7512) |
//! | both | `<key>.pub` | the public half |
//! | offline | `root-draft.json` | all public keys, until the first publication |
//! | online | `snapshot.pem`, `timestamp.pem` | sign that a state is whole, and that it is today's |
//! | both | `root.json` | the root that sites pin, after the first publication |
//! | both | `trusted/` | what this machine has seen published; an older state is refused |

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use release::durable::{self, Access};
use serde::{Deserialize, Serialize};

use super::{
    keys::{PublicKey, SecretKey},
    passphrase::Passphrase,
};

/// The four roles of a repository.
pub const ROLES: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

/// What `key init` is to make.
#[derive(Debug, Clone, clap::Args)]
pub struct InitArgs {
    /// Directory for the root and targets keys; keep it on a medium that is not connected to anything
    #[arg(long)]
    pub offline: PathBuf,
    /// Directory for the snapshot and timestamp keys
    #[arg(long)]
    pub online: PathBuf,
    #[command(flatten)]
    pub passphrase: Passphrase,
    /// How many root keys to make
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub root_keys: u16,
    /// How many root keys must sign
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub root_threshold: u16,
    /// Do not encrypt the online keys, so that a timer can renew the timestamp
    #[arg(long)]
    pub online_unencrypted: bool,
}

/// All public keys, before there is a root that says so.
#[derive(Debug, Serialize, Deserialize)]
pub struct Draft {
    v: u32,
    pub root_threshold: u16,
    keys: BTreeMap<String, Vec<String>>,
}

impl Draft {
    pub fn read(offline: &Path) -> anyhow::Result<Self> {
        let path = offline.join("root-draft.json");
        let text = fs::read(&path)
            .with_context(|| format!("cannot read {}; make keys with `lockstep key init`", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The public keys of a role.
    pub fn keys(&self, role: &str) -> anyhow::Result<Vec<PublicKey>> {
        let keys = self.keys.get(role).map(Vec::as_slice).unwrap_or_default();
        let parsed: Option<Vec<_>> = keys.iter().map(|hex| PublicKey::from_hex(hex)).collect();
        match parsed {
            Some(keys) if !keys.is_empty() => Ok(keys),
            _ => bail!("root-draft.json has no usable {role} key"),
        }
    }
}

/// Makes all keys.
pub fn init(args: &InitArgs) -> anyhow::Result<()> {
    ensure!(
        args.root_threshold <= args.root_keys,
        "--root-threshold {} is more than the {} root keys that are made",
        args.root_threshold,
        args.root_keys
    );
    let offline: Vec<_> = (1..=args.root_keys).map(|n| ("root", format!("root{n}.pem"))).collect();
    let offline = offline.into_iter().chain([("targets", "targets.pem".to_owned())]);
    let online = [("snapshot", "snapshot.pem".to_owned()), ("timestamp", "timestamp.pem".to_owned())];
    let plan: Vec<_> = offline
        .map(|(role, name)| (role, args.offline.join(name), true))
        .chain(online.map(|(role, name)| (role, args.online.join(name), !args.online_unencrypted)))
        .collect();
    for (_, path, _) in &plan {
        ensure!(!path.exists(), "{} exists already; keys are never overwritten", path.display());
    }
    let draft_path = args.offline.join("root-draft.json");
    ensure!(!draft_path.exists(), "{} exists already; choose another directory", draft_path.display());

    let passphrase = args.passphrase.choose()?;
    for directory in [&args.offline, &args.online] {
        durable::create_private_dir(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let mut keys = BTreeMap::<String, Vec<String>>::new();
    for (role, path, encrypted) in &plan {
        let key = SecretKey::generate();
        key.write(path, encrypted.then_some(passphrase.as_str()))?;
        keys.entry((*role).to_owned()).or_default().push(key.public().hex().to_owned());
    }
    let draft = Draft { v: 1, root_threshold: args.root_threshold, keys };
    durable::replace(&draft_path, &serde_json::to_vec_pretty(&draft)?, Access::Public)
        .with_context(|| format!("cannot write {}", draft_path.display()))?;
    println!("Made {} keys:", plan.len());
    for (role, path, encrypted) in &plan {
        println!("  {role:<10} {}{}", path.display(), if *encrypted { "" } else { "  (not encrypted)" });
    }
    println!(
        "\n{} of the {} root keys sign a root. Copy them to different places, and keep {} offline.",
        args.root_threshold,
        args.root_keys,
        args.offline.display()
    );
    println!("Next: `lockstep pack`, `lockstep release add`, `lockstep publish`.");
    Ok(())
}
