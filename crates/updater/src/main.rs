//! `lockstep-updater`: the privileged service on every PC, and what people do with it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use lockstep_updater::{
    install,
    ipc::client::ask,
    layout::Layout,
    platform::become_program,
    service::{self, Ended},
    status, words,
};
use protocol::{
    Timestamp,
    ipc::{Reply, Verb},
    product::{ProductId, parse_version},
};

const VERSION: &str = match option_env!("LOCKSTEP_VERSION") {
    Some(v) => v,
    None => env!("CARGO_PKG_VERSION"),
};

const EXAMPLES: &str = "Examples:
  sudo bin/lockstep-updater install     install from the folder that you downloaded and unpacked
  lockstep-updater status               what is installed, what is ready, and why
  lockstep-updater status --json        the same for scripts
  lockstep-updater consent              agree to the upgrade that is waiting";

/// Keeps the programs on this computer in step with the site's server.
#[derive(Debug, Parser)]
#[command(name = "lockstep-updater", version = VERSION, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service.
    Run(Root),
    /// Install from the unpacked download that this program lies in: its copy is verified first. Run again, repair it.
    Install {
        #[command(flatten)]
        root: Root,
        /// Say what was done as JSON, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Make a package (.lpk) that the system's package manager has brought the active version, unless what is active is newer.
    Adopt {
        #[command(flatten)]
        root: Root,
        /// The package, in a directory that only root can change.
        package: PathBuf,
    },
    /// Say what is installed, what is ready, and why.
    Status {
        #[command(flatten)]
        root: Root,
        /// As JSON, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Ask the site's server now whether there is anything to do.
    Check(Root),
    /// Agree to the upgrade that is waiting, or to programs being restarted now.
    Consent(Root),
}

#[derive(Debug, Args)]
struct Root {
    /// The directory that everything lies under.
    #[arg(long, default_value = "/", value_name = "DIR")]
    root: PathBuf,
}

fn main() -> ExitCode {
    service::log_to_stderr();
    match carry_out(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lockstep-updater: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command) -> anyhow::Result<()> {
    let version = parse_version(VERSION)?;
    match command {
        Command::Run(Root { root }) => run(&root, version),
        Command::Install { root, json } => install_here(&root.root, json),
        Command::Adopt { root, package } => adopt(&root.root, &package),
        Command::Status { root, json } => show_status(&root.root, json),
        Command::Check(Root { root }) => request(&root, Verb::CheckNow),
        Command::Consent(Root { root }) => request(&root, Verb::Consent),
    }
}

fn run(root: &Path, version: protocol::Version) -> anyhow::Result<()> {
    let layout = Layout::new(root)?;
    let runtime = runtime()?;
    match runtime.block_on(service::run(layout.clone(), version))? {
        Ended::Asked => Ok(()),
        Ended::Replaced => {
            drop(runtime);
            let program = layout.current(&ProductId::updater()).join("bin/lockstep-updater");
            let error = become_program(&program, &["run".as_ref(), "--root".as_ref(), root.as_os_str()]);
            Err(error).with_context(|| format!("{} was installed, but cannot be started", program.display()))
        }
    }
}

/// One thread: the service waits nearly all the time. What waits for the disk has a few more, which go when idle.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .thread_keep_alive(std::time::Duration::from_secs(2))
        .build()
        .context("cannot start")
}

fn install_here(root: &Path, json: bool) -> anyhow::Result<()> {
    let program = std::env::current_exe()?.canonicalize()?;
    let Some(folder) = program.parent().and_then(Path::parent) else {
        bail!("{} does not lie in the folder of a download", program.display());
    };
    let root = if root.is_absolute() { root.to_owned() } else { std::env::current_dir()?.join(root) };
    let installed = runtime()?.block_on(install::install(&Layout::new(&root)?, folder, Timestamp::now()));
    let mut out = std::io::stdout().lock();
    if json {
        let said = match &installed {
            Ok(installed) => serde_json::to_value(installed)?,
            Err(error) => serde_json::json!({ "error": words(error) }),
        };
        writeln!(out, "{said}")?;
        return Ok(installed.map(drop)?);
    }
    let installed = installed?;
    for product in &installed.products {
        writeln!(out, "{}", status::installed(product))?;
    }
    writeln!(out, "this computer belongs to the site {}", status::printable(&installed.site))?;
    let program = installed.program.display();
    match installed.service {
        install::Service::Started => writeln!(out, "the service runs: systemctl status lockstep-updater")?,
        install::Service::Told => writeln!(out, "the service was running and goes on with this version")?,
        install::Service::NotRunning => {
            writeln!(out, "start the service, now and with the system, with")?;
            writeln!(out, "  {program} run --root {}", root.display())?;
        }
    }
    Ok(())
}

fn adopt(root: &Path, package: &Path) -> anyhow::Result<()> {
    use install::adopt::Adopted;
    let text = match runtime()?.block_on(install::adopt::adopt(&Layout::new(root)?, package))? {
        Adopted::Active(product) => status::installed(&product),
        Adopted::Kept { why, .. } => status::printable(&why),
    };
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

fn show_status(root: &Path, json: bool) -> anyhow::Result<()> {
    let reply = runtime()?.block_on(ask(&Layout::new(root)?.socket(), Verb::Status))?;
    let Reply::Status(found) = reply else {
        bail!("the updater gave another answer than a status: {reply:?}");
    };
    let text = if json { status::json(&found)? + "\n" } else { status::table(&found, Timestamp::now()) };
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

fn request(root: &Path, verb: Verb) -> anyhow::Result<()> {
    match runtime()?.block_on(ask(&Layout::new(root)?.socket(), verb))? {
        Reply::Ok { detail } => Ok(writeln!(std::io::stdout(), "{detail}")?),
        Reply::Refused { error } => bail!("{error}"),
        other => bail!("the updater gave an answer that does not fit: {other:?}"),
    }
}
