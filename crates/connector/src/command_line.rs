//! Commands and their options.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::{Args, CommandFactory, Parser, Subcommand};
use lockstep_connector::{
    account::Account,
    autostart, clock, diagnostics, instance, platform, profile, self_check,
    setup::{self, SetupOptions},
    status::Status,
};

mod remove;
mod start;
mod upgrade;

/// An offline mailbox for any mail program: mail is read, changed and queued on this computer, also without the mail
/// server, and kept the same on both sides.
#[derive(Debug, Parser)]
#[command(
    name = "lockstep-connector",
    disable_version_flag = true,
    after_help = "Examples:\n  \
        lockstep-connector setup --user alice@example.com   make an account, and say how to set up the mail program\n  \
        lockstep-connector run                              serve local mail and synchronise\n  \
        lockstep-connector status                           say how things stand\n  \
        lockstep-connector status --json                    the same for a script\n  \
        lockstep-connector upgrade                          install the version that the mail server needs, now\n  \
        lockstep-connector remove                           take it away from your account; asks about your mail"
)]
pub struct Arguments {
    /// Print the version
    #[arg(short = 'V', long)]
    pub version: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

impl Arguments {
    /// Whether what fails is to say so as JSON, too.
    pub fn wants_json(&self) -> bool {
        match &self.command {
            Some(Command::Setup(options)) => options.json,
            Some(Command::Status(options)) => options.json,
            _ => false,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the account on this computer, or renew its password
    #[command(after_help = "Examples:\n  \
        lockstep-connector setup --user alice@example.com\n  \
        lockstep-connector setup --user alice@example.com --password-stdin --json < password.txt\n  \
        lockstep-connector setup --user alice@example.com --imap-port 0 --smtp-port 0   (any free ports)")]
    Setup(Setup),
    /// Serve local mail and synchronise with the mail server, until stopped
    #[command(after_help = "Example:\n  lockstep-connector run")]
    Run(Places),
    /// Say how things stand
    #[command(after_help = "Examples:\n  lockstep-connector status\n  lockstep-connector status --json")]
    Status(StatusOptions),
    /// Install, on a computer without Lockstep Updater, what the mail server needs, now; asks for the administrator's password
    #[command(after_help = "Examples:\n  \
        lockstep-connector upgrade\n  \
        lockstep-connector upgrade --elevation sudo   (asks in this terminal)")]
    Upgrade(Upgrade),
    /// Install from the unpacked download that this program lies in, for everybody on this computer; asks for the
    /// administrator's password
    #[command(after_help = "Examples:\n  \
        bin/lockstep-connector install\n  \
        bin/lockstep-connector install --elevation sudo   (asks in this terminal)")]
    Install(Install),
    /// Write a file for whoever helps you: versions, how things stand, the last lines of the log; no mail, no passwords
    #[command(after_help = "Example:\n  lockstep-connector diagnostics")]
    Diagnostics(Places),
    /// Take the connector away from your account: its secrets, settings and logs. What becomes of your mail on this computer is
    /// asked; it is kept unless you say otherwise
    #[command(after_help = "Examples:\n  \
        lockstep-connector remove                  (asks)\n  \
        lockstep-connector remove --keep-mail      (for scripts)\n  \
        lockstep-connector remove --delete-mail    (refused while something is not on the mail server yet)\n\n\
        The programs are removed by an administrator, with the system's own means.")]
    Remove(Remove),
    /// Say whether this program can run here; touches nothing
    #[command(after_help = "Example:\n  lockstep-connector self-check && echo fine")]
    SelfCheck,
}

/// A command and its arguments, as they were typed in one piece.
#[derive(Debug, Clone)]
struct Words(Vec<String>);

fn elevation_command(text: &str) -> Result<Words, String> {
    match shlex::split(text) {
        Some(words) if !words.is_empty() => Ok(Words(words)),
        _ => Err("expected a command with its arguments, such as \"sudo -A\"".into()),
    }
}

#[derive(Debug, Args)]
struct Places {
    /// The computer's root directory, under which etc/lockstep and run/lockstep are
    #[arg(long, default_value = "/")]
    root: PathBuf,
    /// The user's data directory [default: lockstep/connector where the system keeps a user's data]
    #[arg(long)]
    data: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Setup {
    #[command(flatten)]
    places: Places,
    /// The mail account, such as alice@example.com
    #[arg(long)]
    user: String,
    /// Read the mail password from standard input instead of asking for it
    #[arg(long)]
    password_stdin: bool,
    /// Port of the local IMAP server; 0 for any free one [default: 1143 or the next free one]
    #[arg(long)]
    imap_port: Option<u16>,
    /// Port of the local submission server; 0 for any free one [default: 1587 or the next free one]
    #[arg(long)]
    smtp_port: Option<u16>,
    /// The command that gets the administrator's rights for an upgrade where there is no updater, such as "sudo -A"
    /// [default: what the computer's etc/lockstep/connector.toml says, else pkexec]
    #[arg(long, value_name = "COMMAND", value_parser = elevation_command)]
    elevation: Option<Words>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Upgrade {
    #[command(flatten)]
    places: Places,
    /// The command that gets the administrator's rights, this time
    #[arg(long, value_name = "COMMAND", value_parser = elevation_command)]
    elevation: Option<Words>,
}

#[derive(Debug, Args)]
struct Install {
    /// The computer's root directory, under which everything is installed
    #[arg(long, default_value = "/")]
    root: PathBuf,
    /// The command that gets the administrator's rights
    #[arg(long, value_name = "COMMAND", value_parser = elevation_command)]
    elevation: Option<Words>,
}

#[derive(Debug, Args)]
struct Remove {
    #[command(flatten)]
    places: Places,
    /// Keep the mail that is on this computer: a later setup of the same account goes on with it
    #[arg(long, conflicts_with = "delete_mail")]
    keep_mail: bool,
    /// Delete the mail that is on this computer, if all of it is on the mail server too
    #[arg(long)]
    delete_mail: bool,
    /// With --delete-mail: also what has not been sent yet, and changes that the mail server has not seen
    #[arg(long, requires = "delete_mail")]
    even_unsent: bool,
}

#[derive(Debug, Args)]
struct StatusOptions {
    #[command(flatten)]
    places: Places,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show the window of the connector that runs in this session, instead
    #[cfg(windows)]
    #[arg(long)]
    window: bool,
}

impl Places {
    /// The computer's own root stays what it is called, since on Windows that stands for several folders.
    fn root(&self) -> Result<PathBuf> {
        absolute_root(&self.root)
    }

    fn data(&self) -> Result<PathBuf> {
        match &self.data {
            Some(data) => Ok(std::path::absolute(data)?),
            None => platform::user_data().context("cannot tell where your data belongs; say so with --data DIR"),
        }
    }
}

fn absolute_root(root: &Path) -> Result<PathBuf> {
    Ok(if root == Path::new("/") { root.to_owned() } else { std::path::absolute(root)? })
}

/// Carries out a command.
pub fn run(arguments: Arguments, version: &str) -> Result<ExitCode> {
    let Some(command) = arguments.command else {
        Arguments::command().print_help()?;
        return Ok(ExitCode::from(2));
    };
    match command {
        Command::Setup(options) => run_setup(&options, version),
        Command::Run(places) => start::run(&places, version),
        Command::Status(options) => run_status(&options, version),
        Command::Upgrade(options) => upgrade::upgrade(&options, version),
        Command::Install(options) => upgrade::install(&options),
        Command::Remove(options) => remove::remove(&options, version),
        Command::Diagnostics(places) => {
            let path = diagnostics::write(&places.data()?, version, clock::now())?;
            println!("{}", path.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::SelfCheck => {
            self_check::run(version)?;
            println!("lockstep-connector {version} can run here");
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn run_setup(options: &Setup, version: &str) -> Result<ExitCode> {
    log_to_stderr("warn");
    let data = options.places.data()?;
    let program = std::env::current_exe()?;
    let profile = profile::find(&options.places.root, &program)?.profile;
    let password = read_password(options)?;
    let wishes = SetupOptions {
        user: options.user.clone(),
        imap_port: options.imap_port,
        smtp_port: options.smtp_port,
        hostname: profile::hostname(&options.places.root),
        elevation: options.elevation.clone().map(|Words(words)| words),
    };
    let made = runtime()?.block_on(setup::run(&data, &profile, &wishes, &password, version))?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&made)?);
    } else {
        println!("{}\n\nNow start it: lockstep-connector run", made.report());
    }
    let machines = start::is_started_by_the_machine(&options.places.root, &program);
    if let Some(directory) = platform::autostart().filter(|_| !machines) {
        match autostart::write(&directory, &start::command(&options.places.root, &data, &program)) {
            Ok(entry) => eprintln!("It starts when you log in ({}).", entry.display()),
            Err(error) => eprintln!("It does not start by itself when you log in: {error}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read_password(options: &Setup) -> Result<String> {
    let password = if options.password_stdin {
        let mut text = String::new();
        std::io::stdin()
            .take(4096)
            .read_to_string(&mut text)
            .context("cannot read the password from standard input")?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        platform::ask_password(&options.user)?
    };
    if password.is_empty() {
        bail!("the password is empty");
    }
    Ok(password)
}

fn run_status(options: &StatusOptions, version: &str) -> Result<ExitCode> {
    #[cfg(windows)]
    if options.window {
        return match platform::tray::open_status_window() {
            true => Ok(ExitCode::SUCCESS),
            false => bail!("no connector with an icon beside the clock runs in this session"),
        };
    }
    let data = options.places.data()?;
    let running = instance::is_running(&data)?;
    let account = Account::load(&data)?;
    let before = Status::load(&data).context("cannot read the connector's status")?;
    let mut status = before.unwrap_or_else(|| Status::at_start(&account, version, None, clock::now()));
    status.running = running;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        println!("{}", status.report());
    }
    Ok(ExitCode::SUCCESS)
}

/// One thread for everything that waits: an idle connector should take little memory. The store has its own.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn log_to_stderr(usual: &str) {
    log_to(usual, std::io::stderr);
}

fn log_to(usual: &str, writer: impl for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("LOCKSTEP_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false).init();
}
