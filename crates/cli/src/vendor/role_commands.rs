//! `lockstep role` and `lockstep delegation`: changes that take effect with the next publication.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use protocol::product::ProductId;
use serde_json::{Value, json};

use super::{
    authority::{delegated_roles, name},
    delegations::{BINS, apply, is_bin, planned},
    editor::Edit,
    expiry::Periods,
    key_ref::public,
    passphrase::Passphrase,
    plan::{Change, Plan},
    staging::Staging,
    state::State,
    words,
};
use crate::terminal::plain;

/// Which repository, and how keys are opened.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// The repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    #[command(flatten)]
    pub passphrase: Passphrase,
}

/// A key that is to count.
#[derive(Debug, Clone, clap::Args)]
pub struct AddKeyArgs {
    /// root, targets, snapshot, timestamp, a delegated role, or bins
    pub role: String,
    /// A .pub file, the 64 digits of a public key, a key file, or a pkcs11: name
    pub key: String,
    #[command(flatten)]
    pub common: Common,
}

/// A key that is to count no more.
#[derive(Debug, Clone, clap::Args)]
pub struct RemoveKeyArgs {
    /// root, targets, snapshot, timestamp, a delegated role, or bins
    pub role: String,
    /// Its id, or as much of its beginning as makes it clear
    pub id: String,
    #[command(flatten)]
    pub common: Common,
}

/// What to set.
#[derive(Debug, Clone, clap::Args)]
pub struct SetArgs {
    /// root, targets, snapshot, timestamp, a delegated role, or bins
    pub role: String,
    /// How many of its keys must sign
    #[arg(long, value_name = "N", required_unless_present = "days")]
    pub threshold: Option<u32>,
    /// For how many days it is good, from its next signature on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=3650))]
    pub days: Option<i64>,
    #[command(flatten)]
    pub common: Common,
}

/// What to sign again.
#[derive(Debug, Clone, clap::Args)]
pub struct RenewRoleArgs {
    /// root, targets, a delegated role, or bins
    pub role: String,
    #[command(flatten)]
    pub common: Common,
}

/// Whom to trust with what.
#[derive(Debug, Clone, clap::Args)]
pub struct DelegateArgs {
    /// A name for the role, such as mailer, or mailer-beta
    pub name: String,
    /// The product whose releases it signs
    #[arg(long)]
    pub product: ProductId,
    /// Only those of this channel
    #[arg(long)]
    pub channel: Option<String>,
    /// Its key: a .pub file, the 64 digits of a public key, a key file, or a pkcs11: name; repeat for more
    #[arg(long, required = true)]
    pub key: Vec<String>,
    /// How many of them must sign
    #[arg(long, default_value_t = 1)]
    pub threshold: u32,
    #[command(flatten)]
    pub common: Common,
}

/// Whom to trust no more.
#[derive(Debug, Clone, clap::Args)]
pub struct UndelegateArgs {
    /// The role's name
    pub name: String,
    #[command(flatten)]
    pub common: Common,
}

/// How many bins.
#[derive(Debug, Clone, clap::Args)]
pub struct BinsArgs {
    /// 2, 4, 8, 16, 32, 64, 128 or 256; 0 for none
    pub count: u32,
    /// The key that signs all of them; repeat for more
    #[arg(long, required_unless_present_any = ["none"])]
    pub key: Vec<String>,
    /// How many of them must sign
    #[arg(long, default_value_t = 1)]
    pub threshold: u32,
    /// Put all releases back into one list (with count 0)
    #[arg(long)]
    pub none: bool,
    #[command(flatten)]
    pub common: Common,
}

/// Which repository.
#[derive(Debug, Clone, clap::Args)]
pub struct ListDelegationsArgs {
    /// The repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

pub fn add_key(args: &AddKeyArgs) -> anyhow::Result<()> {
    let key = public(&args.key, &args.common.passphrase)?.hex().to_owned();
    plan(&args.common.repo, Change::AddKey { role: args.role.clone(), key })
}

pub fn remove_key(args: &RemoveKeyArgs) -> anyhow::Result<()> {
    let id = whole_id(&args.common.repo, &args.id)?;
    plan(&args.common.repo, Change::RemoveKey { role: args.role.clone(), id })
}

pub fn set_role(args: &SetArgs) -> anyhow::Result<()> {
    if let Some(threshold) = args.threshold {
        plan(&args.common.repo, Change::Threshold { role: args.role.clone(), threshold })?;
    }
    if let Some(days) = args.days {
        let staging = Staging::existing(&args.common.repo)?;
        let edit = hint(&args.common.repo, &staging)?;
        let mut known = super::key_ring::ROLES.map(str::to_owned).to_vec();
        known.extend(delegated_roles(&edit.targets).filter_map(name).map(str::to_owned));
        known.push(BINS.into());
        ensure!(known.contains(&args.role), "there is no role {}; there are {}", args.role, known.join(", "));
        Periods::set(staging.directory(), &args.role, days)?;
        println!("{} is good for {days} days, whenever it is signed from now on.", args.role);
    }
    Ok(())
}

pub fn renew_role(args: &RenewRoleArgs) -> anyhow::Result<()> {
    plan(&args.common.repo, Change::Renew { role: args.role.clone() })
}

pub fn delegate(args: &DelegateArgs) -> anyhow::Result<()> {
    if let Some(channel) = &args.channel {
        super::release_add::check_channel(channel)?;
    }
    plan(
        &args.common.repo,
        Change::Delegate {
            name: args.name.clone(),
            product: args.product.to_string(),
            channel: args.channel.clone(),
            keys: keys(&args.key, &args.common.passphrase)?,
            threshold: args.threshold,
        },
    )
}

pub fn undelegate(args: &UndelegateArgs) -> anyhow::Result<()> {
    plan(&args.common.repo, Change::Undelegate { name: args.name.clone() })
}

pub fn bins(args: &BinsArgs) -> anyhow::Result<()> {
    ensure!((args.count == 0) == args.none, "for one list without bins, say `lockstep delegation bins 0 --none`");
    let keys = keys(&args.key, &args.common.passphrase)?;
    plan(&args.common.repo, Change::Bins { count: args.count, keys, threshold: args.threshold })
}

/// Shows who speaks for what, as it will be.
pub fn list_delegations(args: &ListDelegationsArgs) -> anyhow::Result<()> {
    let staging = Staging::existing(&args.repo)?;
    let edit = hint(&args.repo, &staging)?;
    let roles: Vec<_> = delegated_roles(&edit.targets).collect();
    if args.json {
        println!("{}", json!({ "v": 1, "delegations": roles, "waiting": staging.plan()?.changes }));
        return Ok(());
    }
    let bins = roles.iter().filter(|role| name(role).is_some_and(is_bin)).count();
    for role in roles.iter().filter(|role| role.get("paths").is_some()) {
        let ids = role.get("keyids").and_then(Value::as_array).map_or(0, Vec::len);
        let paths = role.get("paths").map(ToString::to_string).unwrap_or_default();
        let threshold = role.get("threshold").map(ToString::to_string).unwrap_or_default();
        println!("{}  speaks for {}, {threshold} of {ids} keys", plain(name(role).unwrap_or_default()), plain(&paths));
    }
    if bins > 0 {
        println!("bins  {bins} of them, for everything else");
    } else if roles.is_empty() {
        println!("Nothing is delegated: the targets key signs all releases.");
    }
    if !staging.plan()?.changes.is_empty() {
        println!("Part of it waits for the next publication; see `lockstep staging status`.");
    }
    Ok(())
}

/// Notes a change, after it was tried on what lies there and on what waits already.
fn plan(repo: &Path, change: Change) -> anyhow::Result<()> {
    let staging = Staging::existing(repo)?;
    staging.refuse_if_prepared()?;
    let mut edit = hint(repo, &staging)?;
    let before = (edit.root.clone(), edit.targets.clone());
    apply(&mut edit, &change)?;
    let mut plan: Plan = staging.plan()?;
    plan.changes.push(change);
    plan.write(staging.directory())?;
    difference((&before.0, &before.1), &edit).iter().for_each(|line| println!("{line}"));
    println!("It takes effect with the next `lockstep publish`; `lockstep staging status` shows all that waits.");
    Ok(())
}

/// All that waits besides releases.
pub fn changes_in_words(repo: &Path, staging: &Staging) -> anyhow::Result<Vec<String>> {
    let now = Edit::of(State::unverified(repo)?.context("nothing has been published yet")?)?;
    Ok(difference((&now.root, &now.targets), &hint(repo, staging)?))
}

fn difference(before: (&Value, &Value), now: &Edit) -> Vec<String> {
    let mut lines = Vec::new();
    for (before, now) in [(before.0, &now.root), (before.1, &now.targets)] {
        if before != now {
            lines.extend(words::changes(Some(before), now));
        }
    }
    lines.retain(|line| !line.starts_with("good until"));
    lines.extend(now.renewed.iter().map(|role| format!("{role}: signed again")));
    lines
}

/// The repository as it will be.
fn hint(repo: &Path, staging: &Staging) -> anyhow::Result<Edit> {
    planned(repo, staging)?.with_context(|| {
        format!("nothing has been published in {} yet; publish first, then change who may sign what", repo.display())
    })
}

/// The one key of the repository whose id begins so.
fn whole_id(repo: &Path, start: &str) -> anyhow::Result<String> {
    let staging = Staging::existing(repo)?;
    let edit = hint(repo, &staging)?;
    let keys = [edit.root.get("keys"), edit.targets.pointer("/delegations/keys")];
    let ids = keys.into_iter().flatten().filter_map(Value::as_object).flat_map(|keys| keys.keys());
    let mut fitting: Vec<_> = ids.filter(|id| id.starts_with(start)).cloned().collect();
    fitting.sort();
    fitting.dedup();
    ensure!(fitting.len() < 2, "more than one key's id begins with {start}: {}", fitting.join(", "));
    fitting
        .pop()
        .with_context(|| format!("no key's id begins with {start}; `lockstep inspect {}` shows them", repo.display()))
}

fn keys(texts: &[String], passphrase: &Passphrase) -> anyhow::Result<Vec<String>> {
    texts.iter().map(|text| Ok(public(text, passphrase)?.hex().to_owned())).collect()
}
