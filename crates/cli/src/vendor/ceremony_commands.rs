//! `lockstep prepare`, `lockstep sign` and `lockstep staging`: signing in steps, on different machines.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use protocol::Timestamp;
use serde_json::json;

use super::{
    ceremony::Ceremony,
    expiry::{ExpiryArgs, Periods},
    key_ref::KeyRef,
    passphrase::Passphrase,
    prepare::{Rings, prepare},
    role_commands::changes_in_words,
    staging::Staging,
};
use crate::terminal::{confirm, count, plain};

/// What to prepare.
#[derive(Debug, Clone, clap::Args)]
pub struct PrepareArgs {
    /// The repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// A key directory with the root.json that sites pin (before the first publication: with root-draft.json). No private key is
    /// used
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    #[command(flatten)]
    pub expiry: ExpiryArgs,
}

/// What to sign, and with what.
#[derive(Debug, Clone, clap::Args)]
pub struct SignArgs {
    /// A copy of the folder that `prepare` made
    #[arg(required_unless_present = "repo", conflicts_with = "repo")]
    pub folder: Option<PathBuf>,
    /// The repository itself, where it is at hand
    #[arg(long, value_name = "DIR")]
    pub repo: Option<PathBuf>,
    /// A key file or a pkcs11: name; repeat for more
    #[arg(long, required = true)]
    pub key: Vec<KeyRef>,
    #[command(flatten)]
    pub passphrase: Passphrase,
    /// Do not ask whether what is shown is what you want to sign
    #[arg(long)]
    pub yes: bool,
}

/// Which folder to look at.
#[derive(Debug, Clone, clap::Args)]
pub struct StatusArgs {
    /// A copy of the folder that `prepare` made
    #[arg(required_unless_present = "repo", conflicts_with = "repo")]
    pub folder: Option<PathBuf>,
    /// The repository itself
    #[arg(long, value_name = "DIR")]
    pub repo: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Where signatures were added.
#[derive(Debug, Clone, clap::Args)]
pub struct CollectArgs {
    /// A signed copy of the folder that `prepare` made
    pub folder: PathBuf,
    /// The repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
}

/// What to take back.
#[derive(Debug, Clone, clap::Args)]
pub struct DropStagingArgs {
    /// The repository
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// Take back the changes of keys and delegations too
    #[arg(long)]
    pub changes: bool,
}

/// Lays out what has to be signed.
pub fn prepare_signing(args: &PrepareArgs) -> anyhow::Result<()> {
    let staging = Staging::open(&args.repo)?;
    staging.refuse_if_prepared()?;
    let now = Timestamp::now();
    let periods = Periods::read(staging.directory(), &args.expiry)?;
    let directories = [args.keys.as_path()];
    let rings = Rings::new(&directories);
    let published = rings.verified(&args.repo)?;
    let ceremony = prepare(&rings, published.as_ref(), &staging, &staging.entries()?, &[], &periods, now)?;
    ensure!(
        !ceremony.envelopes.is_empty(),
        "nothing has to be signed offline; to sign something again, say `lockstep role renew`"
    );
    ceremony.create(&staging.signing())?;
    show(&ceremony)?;
    let folder = staging.signing();
    println!("\nIt lies in {}. Copy the folder to where the keys are, and there:", folder.display());
    println!("  lockstep sign FOLDER --key KEY");
    println!(
        "Back here: `lockstep staging collect FOLDER --repo {0}`, then `lockstep publish --repo {0} --online DIR`",
        args.repo.display()
    );
    Ok(())
}

/// Signs with the keys that are here.
pub fn sign(args: &SignArgs) -> anyhow::Result<()> {
    let (_lock, folder) = folder(args.repo.as_deref(), args.folder.as_deref())?;
    let mut ceremony = Ceremony::read(&folder)?;
    show(&ceremony)?;
    println!();
    if !args.yes {
        match confirm("Sign this?")? {
            Some(true) => {}
            Some(false) => bail!("nothing was signed"),
            None => bail!("there is nobody to ask; if what is shown is what you want to sign, say --yes"),
        }
    }
    for key in &args.key {
        let open = key.open(&args.passphrase)?;
        let signed = ceremony.sign(&open)?;
        ensure!(
            !signed.is_empty(),
            "the key {} in {key} may sign none of these files; who may: `lockstep staging status`",
            open.public().id()
        );
        ceremony.save(&folder)?;
        println!("{key} signed {}.", signed.join(", "));
    }
    still_missing(&ceremony)
}

/// Shows what is prepared or waits, who has signed, and who must.
pub fn staging_status(args: &StatusArgs) -> anyhow::Result<()> {
    if let Some(repo) = &args.repo {
        let staging = Staging::existing(repo)?;
        if staging.prepared().is_none() {
            return waiting(repo, &staging, args.json);
        }
    }
    let (_lock, folder) = folder(args.repo.as_deref(), args.folder.as_deref())?;
    let ceremony = Ceremony::read(&folder)?;
    if args.json {
        let files = ceremony.envelopes.iter().map(|envelope| {
            let signed = ceremony
                .authorities(&envelope.role)?
                .iter()
                .map(|a| envelope.signers(a))
                .collect::<Result<Vec<_>, _>>()?;
            let signed: std::collections::BTreeSet<_> = signed.into_iter().flatten().collect();
            Ok(json!({ "file": envelope.name()?, "role": envelope.role, "signed_by": signed }))
        });
        let files = files.collect::<anyhow::Result<Vec<_>>>()?;
        let missing = ceremony.missing()?;
        let lacking = missing.iter().map(|m| {
            json!({ "file": m.file, "role": m.role, "as_says": m.by, "needed": m.needed, "signed_by": m.signed, "can_sign": m.can })
        });
        println!(
            "{}",
            json!({ "v": 1, "prepared": true, "files": files, "missing": lacking.collect::<Vec<_>>(), "complete": missing.is_empty() })
        );
        return Ok(());
    }
    show(&ceremony)?;
    println!();
    still_missing(&ceremony)
}

/// Takes over signatures that were made elsewhere.
pub fn collect(args: &CollectArgs) -> anyhow::Result<()> {
    let (_lock, folder) = folder(Some(&args.repo), None)?;
    let mut ceremony = Ceremony::read(&folder)?;
    let copy = Ceremony::read(&args.folder)?;
    let mut new = 0;
    for envelope in &mut ceremony.envelopes {
        let same = copy.envelopes.iter().find(|other| other.role == envelope.role);
        let same = same.with_context(|| format!("{} is no copy of what was prepared here", args.folder.display()))?;
        new += envelope.collect(same)?;
    }
    ceremony.save(&folder)?;
    println!("{} taken over.", count(new, "new signature"));
    still_missing(&ceremony)
}

/// Takes back what was prepared. Releases go on waiting.
pub fn drop_staging(args: &DropStagingArgs) -> anyhow::Result<()> {
    let staging = Staging::existing(&args.repo)?;
    let folder = staging.signing();
    match fs::remove_dir_all(&folder) {
        Ok(()) => println!("What was prepared is taken back, with its signatures."),
        Err(e) if e.kind() == io::ErrorKind::NotFound => println!("Nothing was prepared."),
        Err(e) => return Err(e).with_context(|| format!("cannot remove {}", folder.display())),
    }
    let mut plan = staging.plan()?;
    if args.changes && !plan.changes.is_empty() {
        println!("{} of keys and delegations taken back.", count(plan.changes.len(), "change"));
        plan.changes.clear();
        plan.write(staging.directory())?;
    } else if !plan.changes.is_empty() {
        println!(
            "{} of keys and delegations still waiting; --changes takes them back too.",
            count(plan.changes.len(), "change")
        );
    }
    Ok(())
}

/// The folder, with the lock on the repository that it is in.
fn folder(repo: Option<&Path>, folder: Option<&Path>) -> anyhow::Result<(Option<Staging>, PathBuf)> {
    match (repo, folder) {
        (Some(repo), _) => {
            ensure!(repo.join(".staging").is_dir(), "{} is not a repository that was worked on here", repo.display());
            let staging = Staging::existing(repo)?;
            let folder = staging
                .prepared()
                .with_context(|| format!("nothing is prepared in {}; begin with `lockstep prepare`", repo.display()))?;
            Ok((Some(staging), folder))
        }
        (None, Some(folder)) => Ok((None, folder.to_owned())),
        (None, None) => bail!("name the folder, or the repository with --repo"),
    }
}

fn show(ceremony: &Ceremony) -> anyhow::Result<()> {
    let mut bins = 0;
    for (file, changes) in ceremony.changes()? {
        if file.contains(".bins-")
            && changes.iter().all(|line| line.starts_with("good until") || line.starts_with("nothing"))
        {
            bins += 1;
            continue;
        }
        println!("{}", plain(&file));
        changes.iter().for_each(|line| println!("  {line}"));
    }
    if bins > 0 {
        println!("{} with nothing but a new signature", count(bins, "bin"));
    }
    Ok(())
}

fn still_missing(ceremony: &Ceremony) -> anyhow::Result<()> {
    let missing = ceremony.missing()?;
    if missing.is_empty() {
        println!("Everything is signed. Next: `lockstep publish --repo REPO --online DIR`");
        return Ok(());
    }
    let of_bins = |file: &str| file.contains(".bins-");
    missing.iter().filter(|m| !of_bins(&m.file)).for_each(|m| println!("{m}"));
    if let Some(first) = missing.iter().find(|m| of_bins(&m.file)) {
        println!("{first}");
        println!("and the other bins like this one, {} in all", missing.iter().filter(|m| of_bins(&m.file)).count());
    }
    Ok(())
}

fn waiting(repo: &Path, staging: &Staging, as_json: bool) -> anyhow::Result<()> {
    let (releases, plan) = (staging.entries()?, staging.plan()?);
    if as_json {
        println!("{}", json!({ "v": 1, "prepared": false, "releases": releases, "changes": plan.changes }));
        return Ok(());
    }
    if releases.is_empty() && plan.changes.is_empty() {
        println!("Nothing waits.");
        return Ok(());
    }
    releases.iter().for_each(|entry| println!("release {}", plain(&entry.target)));
    if !plan.changes.is_empty() {
        changes_in_words(repo, staging)?.iter().for_each(|line| println!("{line}"));
    }
    println!("Next: `lockstep publish` with all keys at hand, or `lockstep prepare` to sign on several machines.");
    Ok(())
}
