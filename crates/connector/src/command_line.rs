//! Commands and their options.

use std::{
    io::{IsTerminal, Read},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::{Args, CommandFactory, Parser, Subcommand};
use lockstep_connector::{
    account::Account,
    clock, instance, platform, profile,
    run::{self, RunOptions},
    self_check,
    setup::{self, SetupOptions},
    status::Status,
};

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
        lockstep-connector status --json                    the same for a script"
)]
pub struct Arguments {
    /// Print the version
    #[arg(short = 'V', long)]
    pub version: bool,
    #[command(subcommand)]
    command: Option<Command>,
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
    /// Say whether this program can run here; touches nothing
    #[command(after_help = "Example:\n  lockstep-connector self-check && echo fine")]
    SelfCheck,
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
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct StatusOptions {
    #[command(flatten)]
    places: Places,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Places {
    fn data(&self) -> Result<PathBuf> {
        match &self.data {
            Some(data) => Ok(std::path::absolute(data)?),
            None => platform::user_data().context("cannot tell where your data belongs; say so with --data DIR"),
        }
    }
}

/// Carries out a command.
pub fn run(arguments: Arguments, version: &str) -> Result<ExitCode> {
    let Some(command) = arguments.command else {
        Arguments::command().print_help()?;
        return Ok(ExitCode::from(2));
    };
    match command {
        Command::Setup(options) => run_setup(&options, version),
        Command::Run(places) => run_connector(&places, version),
        Command::Status(options) => run_status(&options, version),
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
    let profile = profile::find(&options.places.root, &std::env::current_exe()?)?;
    let password = read_password(options)?;
    let wishes = SetupOptions {
        user: options.user.clone(),
        imap_port: options.imap_port,
        smtp_port: options.smtp_port,
        hostname: profile::hostname(&options.places.root),
    };
    let program = runtime()?.block_on(setup::run(&data, &profile, &wishes, &password, version))?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&program)?);
    } else {
        println!("{}\n\nNow start it: lockstep-connector run", program.report());
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
    } else if std::io::stdin().is_terminal() {
        rpassword::prompt_password(format!("Mail password of {}: ", options.user))?
    } else {
        bail!("there is no terminal to ask for the password; give it on standard input with --password-stdin");
    };
    if password.is_empty() {
        bail!("the password is empty");
    }
    Ok(password)
}

fn run_connector(places: &Places, version: &str) -> Result<ExitCode> {
    log_to_stderr("info");
    let options = RunOptions {
        root: places.root.clone(),
        data: places.data()?,
        program: std::env::current_exe()?,
        version: version.to_owned(),
    };
    let stop = async {
        if let Err(error) = platform::asked_to_stop().await {
            tracing::error!(%error, "cannot wait for the wish to stop; kill the program to end it");
            std::future::pending().await
        }
    };
    runtime()?.block_on(run::run(options, stop))?;
    Ok(ExitCode::SUCCESS)
}

fn run_status(options: &StatusOptions, version: &str) -> Result<ExitCode> {
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
    let filter = tracing_subscriber::EnvFilter::try_from_env("LOCKSTEP_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}
