//! The command line.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

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
        after_help = "Examples:\n  lockstep inspect connector-7.3.0.lpk\n  lockstep inspect site/ --root root.json --json"
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
    Refresh(admin::DataArgs),
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make all keys of a new repository
    #[command(after_help = "Example:\n  lockstep key init --offline /media/usb/keys --online ~/keys")]
    Init(vendor::InitArgs),
    /// Replace one key by a new one, and publish that
    #[command(
        after_help = "Example:\n  lockstep key replace timestamp --repo site/ --offline /media/usb/keys --online ~/keys"
    )]
    Replace(vendor::ReplaceArgs),
}

/// What to do with releases.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Put a package beside the repository, to be published
    #[command(
        after_help = "Examples:\n  lockstep release add --repo site/ connector-7.3.0.lpk --server '>=7.3, <7.4'\n  \
        lockstep release add --repo site/ connector-7.3.1.lpk --floor 7.3.1\n  \
        lockstep release add --repo site/ connector-7.2.4.lpk --downgrade-from '>=7.3, <7.4'"
    )]
    Add(Box<vendor::AddArgs>),
    /// Show what waits to be published
    List(vendor::ListArgs),
    /// Take back what waits to be published
    Drop(vendor::DropArgs),
}

/// What to do with the server's version.
#[derive(Debug, Subcommand)]
pub enum ServerVersionCommand {
    /// Tell it
    #[command(after_help = "Example, from the hook of a package:\n  lockstep server-version set 7.3.0")]
    Set(admin::ServerVersionArgs),
}

/// Reads the command line.
pub fn parse(version: &'static str) -> Result<Command, clap::Error> {
    let matches = Args::command().version(version).try_get_matches()?;
    Ok(Args::from_arg_matches(&matches)?.command)
}

/// Does it.
pub fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Key(KeyCommand::Init(args)) => vendor::init(&args)?,
        Command::Key(KeyCommand::Replace(args)) => vendor::replace(&args)?,
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
}
