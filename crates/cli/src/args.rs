//! The command line.

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{admin, admin::Outcome, vendor};

const EXAMPLES: &str = "\
Examples, vendor:
  lockstep key init --offline /media/usb/keys --online ~/keys
  lockstep pack build/ --product connector --version 7.3.0 --program bin/lockstep-connector -o connector-7.3.0.lpk
  lockstep release add --repo site/ connector-7.3.0.lpk --server '>=7.3, <7.4'
  lockstep publish --repo site/ --offline /media/usb/keys --online ~/keys

Examples, administrator, on the server:
  lockstep preflight --to 7.3.0
  lockstep cut-over --to 7.3.0 --wait 300

Exit codes: 0 done, 1 failed, 2 users would be cut off, 3 readiness is not known.";

/// Client programs that upgrade in step with their server
#[derive(Debug, Parser)]
#[command(name = "lockstep", after_help = EXAMPLES, max_term_width = 120)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Vendor: make and replace signing keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Vendor: make a package of a directory
    #[command(after_help = "Example:\n  lockstep pack build/ --product connector --version 7.3.0 \
        --program bin/lockstep-connector --self-check self-check -o connector-7.3.0.lpk")]
    Pack(vendor::PackArgs),
    /// Vendor: choose what is published next
    #[command(subcommand)]
    Release(ReleaseCommand),
    /// Vendor: who may sign what: keys, thresholds, expiry
    #[command(subcommand)]
    Role(RoleCommand),
    /// Vendor: give a product or a channel a key of its own; spread a large repository over bins
    #[command(subcommand)]
    Delegation(DelegationCommand),
    /// Vendor: lay out what has to be signed, to be carried to the keys
    #[command(after_help = "Example, a signing ceremony:\n  lockstep prepare --repo site/ --keys ~/keys\n  \
        cp -r site/.staging/signing /media/usb/            # carry it to where a key is\n  \
        lockstep sign /media/usb/signing --key root1.pem   # there; then to the next one\n  \
        lockstep staging collect /media/usb/signing --repo site/\n  \
        lockstep publish --repo site/ --online ~/keys")]
    Prepare(vendor::PrepareArgs),
    /// Vendor: sign what was prepared, with the keys that are here
    #[command(after_help = "Examples:\n  lockstep sign /media/usb/signing --key root1.pem\n  \
        lockstep sign --repo site/ --key 'pkcs11:token=vendor;object=targets?module-path=/usr/lib/softhsm/libsofthsm2.so'")]
    Sign(vendor::SignArgs),
    /// Vendor: what is prepared, who has signed it, and who must
    #[command(subcommand)]
    Staging(StagingCommand),
    /// Vendor: watch over a repository
    #[command(subcommand)]
    Repo(RepoCommand),
    /// Vendor: sign and publish everything that waits
    #[command(after_help = "Example:\n  lockstep publish --repo site/ --offline /media/usb/keys --online ~/keys\n\n\
        Serve the repository's metadata/ and targets/ with any static web server. Give each site the root.json\n\
        that is printed.")]
    Publish(vendor::PublishArgs),
    /// Vendor: sign the snapshot and timestamp anew, with the online keys alone
    #[command(after_help = "Example, once a week from a timer:\n  lockstep renew --repo site/ --online ~/keys")]
    Renew(vendor::RenewArgs),
    /// Show and verify a package or a repository
    #[command(
        after_help = "Examples:\n  lockstep inspect connector-7.3.0.lpk\n  lockstep inspect site/ --root root.json --json\n  \
        lockstep inspect https://releases.example.com/ --root root.json"
    )]
    Inspect(vendor::InspectArgs),
    /// Administrator: who would be cut off if the server moved to another version
    #[command(
        after_help = "Examples:\n  lockstep preflight --to 7.3.0\n  lockstep preflight --to 7.3.0 --json | jq .summary\n\n\
        Exit codes: 0 nobody would be cut off, 1 failed, 2 users would be cut off, 3 readiness is not known."
    )]
    Preflight(admin::PreflightArgs),
    /// Administrator: announce the server's next version, and watch everybody come back
    #[command(
        after_help = "Examples:\n  lockstep cut-over --to 7.3.0\n  lockstep cut-over --to 7.3.0 --yes --wait 300\n\n\
        Then upgrade the server program. To withdraw it, go to the version that the server has already. Exit code 2: not confirmed, or not everybody was back in time."
    )]
    CutOver(admin::CutOverArgs),
    /// Administrator: the site, its PCs and its users
    #[command(after_help = "Examples:\n  lockstep status\n  lockstep status --json | jq .seats")]
    Status(admin::StatusArgs),
    /// Administrator: when and how PCs upgrade
    #[command(subcommand)]
    Policy(admin::PolicyCommand),
    /// Administrator: keep a product or a version from being installed, everywhere or on some PCs
    #[command(subcommand)]
    Hold(admin::HoldCommand),
    /// Administrator: let a version that was rolled back on a PC be tried again there
    #[command(
        after_help = "Examples:\n  lockstep retry pc-17 7.3.1\n  lockstep retry alice@example.com 7.3.1\n  lockstep retry 'lab-*' 7.3.1 --json\n\n\
        Without it a PC tries again by itself after a week, then after twice that, up to eight weeks; the vendor's next release is not held up."
    )]
    Retry(admin::RetryArgs),
    /// Administrator: write the warning log now
    #[command(after_help = "Example:\n  lockstep warn --now")]
    Warn(admin::WarnArgs),
    /// Administrator: tell the server program's version, where the server cannot ask it
    #[command(subcommand)]
    ServerVersion(ServerVersionCommand),
    /// Administrator: switch readiness data or statistics on or off
    #[command(after_help = "Example:\n  lockstep settings statistics off")]
    Settings(admin::SettingArgs),
    /// Administrator: print what lets Dovecot refuse outdated connectors
    #[command(after_help = "Example, on a server with [mail_gate] in server.toml:\n  \
        lockstep mail-gate > /etc/dovecot/conf.d/99-lockstep.conf && doveadm reload\n\n\
        What is printed says how to check it. It holds a secret, with which one can ask whether a version would be refused.")]
    MailGate(admin::DataArgs),
    /// Administrator: mirror the vendor's repository now
    #[command(after_help = "Example, instead of waiting for the next round:\n  lockstep refresh")]
    Refresh(admin::DataArgs),
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make all keys of a new repository
    #[command(after_help = "Example:\n  lockstep key init --offline /media/usb/keys --online ~/keys")]
    Init(vendor::InitArgs),
    /// Make one key, in a file or in a token
    #[command(after_help = "Examples:\n  lockstep key new mailer.pem\n  \
        lockstep key new 'pkcs11:token=vendor;object=targets?module-path=/usr/lib/softhsm/libsofthsm2.so'\n\n\
        A token's PIN comes from pin-source=file:/path in the name, from LOCKSTEP_PIN, or from a prompt. Its module from the \
        name, or from LOCKSTEP_PKCS11_MODULE. Ed25519 keys alone.")]
    New(vendor::NewArgs),
    /// Show a key's id and its public half
    #[command(after_help = "Example:\n  lockstep key show ~/keys/timestamp.pem")]
    Show(vendor::ShowArgs),
    /// Replace one key by a new one, and publish that
    #[command(
        after_help = "Example:\n  lockstep key replace timestamp --repo site/ --offline /media/usb/keys --online ~/keys"
    )]
    Replace(vendor::ReplaceArgs),
}

/// What to do with who may sign what.
#[derive(Debug, Subcommand)]
pub enum RoleCommand {
    /// One more key may sign for a role
    #[command(after_help = "Example:\n  lockstep role add-key targets spare.pub --repo site/")]
    AddKey(vendor::AddKeyArgs),
    /// A key may sign for a role no more
    #[command(after_help = "Example:\n  lockstep role remove-key targets 3f9c --repo site/")]
    RemoveKey(vendor::RemoveKeyArgs),
    /// How many keys must sign, and for how many days it is good
    #[command(after_help = "Examples:\n  lockstep role set targets --threshold 2 --repo site/\n  \
        lockstep role set timestamp --days 14 --repo site/")]
    Set(vendor::SetArgs),
    /// Sign it again with the next publication, although nothing changed
    #[command(after_help = "Example, before the root expires:\n  lockstep role renew root --repo site/")]
    Renew(vendor::RenewRoleArgs),
}

/// What to do with delegations.
#[derive(Debug, Subcommand)]
pub enum DelegationCommand {
    /// A product, or one channel of it, gets keys of its own
    #[command(
        after_help = "Examples:\n  lockstep delegation add mailer --product mailer --key mailer.pub --repo site/\n  \
        lockstep delegation add connector-beta --product connector --channel beta --key a.pub --key b.pub --threshold 2 \\\n    \
        --repo site/\n\nIts keys are good for nothing else. What it lists so far moves there with the next publication."
    )]
    Add(vendor::DelegateArgs),
    /// Take it back; its releases return to the targets key
    #[command(after_help = "Example:\n  lockstep delegation remove mailer --repo site/")]
    Remove(vendor::UndelegateArgs),
    /// Spread everything else over bins, so that a PC fetches only what changed: from some thousand releases on
    #[command(after_help = "Examples:\n  lockstep delegation bins 64 --key bins.pub --repo site/\n  \
        lockstep delegation bins 0 --none --repo site/")]
    Bins(vendor::BinsArgs),
    /// Show who speaks for what
    #[command(
        after_help = "Examples:\n  lockstep delegation list --repo site/\n  lockstep delegation list --repo site/ --json"
    )]
    List(vendor::ListDelegationsArgs),
}

/// What to do with what is prepared.
#[derive(Debug, Subcommand)]
pub enum StagingCommand {
    /// Show what waits, what is prepared, who has signed it, and who must
    #[command(
        after_help = "Examples:\n  lockstep staging status --repo site/\n  lockstep staging status /media/usb/signing --json"
    )]
    Status(vendor::StatusArgs),
    /// Take over the signatures of a copy that was signed elsewhere
    #[command(after_help = "Example:\n  lockstep staging collect /media/usb/signing --repo site/")]
    Collect(vendor::CollectArgs),
    /// Take back what was prepared
    #[command(
        after_help = "Example:\n  lockstep staging drop --repo site/\n\nWhat waits is kept: prepare lays it out again."
    )]
    Drop(vendor::DropStagingArgs),
}

/// What to do with a repository.
#[derive(Debug, Subcommand)]
pub enum RepoCommand {
    /// Check that it is whole, and say what expires when
    #[command(after_help = "Examples:\n  lockstep repo check site/\n  \
        lockstep repo check site/ --within '2 weeks' --root root.json --json\n\n\
        Exit code 1: something expires within that time, or is wrong. Let a timer run it, and tell you.")]
    Check(vendor::CheckArgs),
}

/// What to do with releases.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Put a package, or its installer for Windows, beside the repository, to be published
    #[command(
        after_help = "Examples:\n  lockstep release add --repo site/ connector-7.3.0.lpk --server '>=7.3, <7.4'\n  \
        lockstep release add --repo site/ connector-7.3.1.lpk --floor 7.3.1\n  \
        lockstep release add --repo site/ connector-7.2.4.lpk --downgrade-from '>=7.3, <7.4'\n  \
        lockstep release add --repo site/ lockstep-connector-7.3.0-x64.msi --server '>=7.3, <7.4'"
    )]
    Add(Box<vendor::AddArgs>),
    /// Show what waits to be published
    #[command(after_help = "Example:\n  lockstep release list --repo site/")]
    List(vendor::ListArgs),
    /// Take back what waits to be published
    #[command(after_help = "Example:\n  lockstep release drop connector-7.3.0.lpk --repo site/")]
    Drop(vendor::DropArgs),
}

/// What to do with the server's version.
#[derive(Debug, Subcommand)]
pub enum ServerVersionCommand {
    /// Tell it
    #[command(after_help = "Example, from the hook of a package:\n  lockstep server-version set 7.3.0")]
    Set(admin::ServerVersionArgs),
}

/// Reads the command line: what to do, and whether a failure is to be said as JSON, too.
pub fn parse(version: &'static str) -> Result<(Command, bool), clap::Error> {
    let matches = Args::command().version(version).try_get_matches()?;
    Ok((Args::from_arg_matches(&matches)?.command, wants_json(&matches)))
}

/// Whether the subcommand was given `--json`: then what fails says so as JSON, too.
fn wants_json(mut matches: &ArgMatches) -> bool {
    while let Some((_, inner)) = matches.subcommand() {
        matches = inner;
    }
    // Not every command has it.
    matches.try_get_one::<bool>("json").is_ok_and(|json| json == Some(&true))
}

/// Does it.
pub fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Key(KeyCommand::Init(args)) => vendor::init(&args)?,
        Command::Key(KeyCommand::New(args)) => vendor::new_key(&args)?,
        Command::Key(KeyCommand::Show(args)) => vendor::show_key(&args)?,
        Command::Key(KeyCommand::Replace(args)) => vendor::replace(&args)?,
        Command::Role(RoleCommand::AddKey(args)) => vendor::add_key(&args)?,
        Command::Role(RoleCommand::RemoveKey(args)) => vendor::remove_key(&args)?,
        Command::Role(RoleCommand::Set(args)) => vendor::set_role(&args)?,
        Command::Role(RoleCommand::Renew(args)) => vendor::renew_role(&args)?,
        Command::Delegation(DelegationCommand::Add(args)) => vendor::delegate(&args)?,
        Command::Delegation(DelegationCommand::Remove(args)) => vendor::undelegate(&args)?,
        Command::Delegation(DelegationCommand::Bins(args)) => vendor::bins(&args)?,
        Command::Delegation(DelegationCommand::List(args)) => vendor::list_delegations(&args)?,
        Command::Prepare(args) => vendor::prepare_signing(&args)?,
        Command::Sign(args) => vendor::sign(&args)?,
        Command::Staging(StagingCommand::Status(args)) => vendor::staging_status(&args)?,
        Command::Staging(StagingCommand::Collect(args)) => vendor::collect(&args)?,
        Command::Staging(StagingCommand::Drop(args)) => vendor::drop_staging(&args)?,
        Command::Repo(RepoCommand::Check(args)) => vendor::check(&args)?,
        Command::Pack(args) => vendor::pack(&args)?,
        Command::Release(ReleaseCommand::Add(args)) => vendor::add(&args)?,
        Command::Release(ReleaseCommand::List(args)) => vendor::list(&args)?,
        Command::Release(ReleaseCommand::Drop(args)) => vendor::drop_waiting(&args)?,
        Command::Publish(args) => vendor::publish(&args)?,
        Command::Renew(args) => vendor::renew(&args)?,
        Command::Inspect(args) => vendor::inspect(&args)?,
        Command::Preflight(args) => return admin::preflight(&args),
        Command::CutOver(args) => return admin::cut_over(&args),
        Command::Status(args) => admin::status(&args)?,
        Command::Policy(command) => admin::policy(&command)?,
        Command::Hold(command) => admin::hold(&command)?,
        Command::Retry(args) => admin::retry(&args)?,
        Command::Warn(args) => return admin::warn(&args),
        Command::ServerVersion(ServerVersionCommand::Set(args)) => admin::set_server_version(&args)?,
        Command::Settings(args) => admin::set(&args)?,
        Command::MailGate(data) => admin::mail_gate(&data)?,
        Command::Refresh(data) => admin::refresh(&data)?,
    }
    Ok(Outcome::Good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_shows_how_it_is_called() {
        let mut open = vec![Args::command()];
        while let Some(command) = open.pop() {
            let inner: Vec<_> = command.get_subcommands().cloned().collect();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(!inner.is_empty() || help.contains("Example"), "{}: {help}", command.get_name());
            open.extend(inner);
        }
    }

    #[test]
    fn what_fails_says_so_as_json_where_json_was_wanted() {
        let wanted = |line: &str| wants_json(&Args::command().get_matches_from(line.split(' ')));
        assert!(wanted("lockstep status --json"));
        assert!(wanted("lockstep repo check site --json"));
        assert!(!wanted("lockstep repo check site"));
        assert!(!wanted("lockstep refresh"), "it has no --json");
    }
}
