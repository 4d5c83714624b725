//! `lockstep-updater`: the privileged service on every PC, and what people do with it.

// A panic ends the updater (docs/adr/0021).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use lockstep_updater::{
    check, diagnose, history, install,
    ipc::client::ask,
    layout::Layout,
    platform::{self, become_program},
    self_update,
    service::{self, Ended},
    status,
};
use protocol::{
    Timestamp,
    ipc::{Reply, Verb},
    product::parse_version,
};

const VERSION: &str = match option_env!("LOCKSTEP_VERSION") {
    Some(v) => v,
    None => env!("CARGO_PKG_VERSION"),
};

const EXAMPLES: &str = "Examples:
  sudo bin/lockstep-updater install     install from the folder that you downloaded and unpacked
  lockstep-updater status               what is installed, what is ready, and why
  lockstep-updater status --json        the same for scripts
  lockstep-updater check                ask the site's server now, and show what comes of it
  lockstep-updater consent              agree to the upgrade that is waiting
  lockstep-updater history              what was installed, switched, rolled back or refused here
  sudo lockstep-updater retry           let a version that was rolled back be tried again
  sudo lockstep-updater diagnose        one file for whoever helps; secrets are removed

Exit codes: 0 done, 1 failed or refused, 2 wrongly called.";

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
    #[command(after_help = "Example, without systemd:\n  sudo lockstep-updater run")]
    Run(Root),
    /// Install from the unpacked download that this program lies in: its copy is verified first. Run again, repair it.
    #[command(
        after_help = "Examples:\n  sudo bin/lockstep-updater install\n  sudo bin/lockstep-updater install --json | jq .products"
    )]
    Install {
        #[command(flatten)]
        root: Root,
        /// Say what was done as JSON, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Make a package (.lpk) that the system's package manager has brought the active version, unless what is active is newer.
    #[command(
        after_help = "Example, from the script of a .deb:\n  lockstep-updater adopt /usr/lib/lockstep/lockstep-connector.lpk"
    )]
    Adopt {
        #[command(flatten)]
        root: Root,
        /// The package, in a directory that only root can change.
        package: PathBuf,
    },
    /// Take over what an installation package was told about the site.
    #[command(
        override_usage = "lockstep-updater configure --server=URL --policy=NAME --enrolment-key=KEY --root-json=FILE --site-json=FILE \
            --package=FILE",
        after_help = "All six, in this order; one with nothing after = leaves what is there. Files must be an administrator's alone;\n\
        beside the package there may be a site.json and a root.json, which a computer that belongs nowhere yet believes."
    )]
    Configure {
        /// The six.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        words: Vec<String>,
    },
    /// Remove what the package manager does not know of: every version, this computer's identity, which site it belongs to.
    #[command(
        after_help = "Example, from the script of a package that is purged:\n  lockstep-updater remove\n\nUsers' mail stays."
    )]
    Remove(Root),
    /// Remove everything that was installed without a package: programs, service, this computer's identity. Asks first.
    #[cfg(windows)]
    #[command(after_help = "Example:\n  lockstep-updater uninstall --quiet\n\nUsers' mail stays.")]
    Uninstall {
        /// Ask nothing and show nothing, for scripts.
        #[arg(long)]
        quiet: bool,
    },
    /// Say what is installed, what is ready, and why.
    #[command(after_help = "Examples:\n  lockstep-updater status\n  lockstep-updater status --json | jq .products")]
    Status {
        #[command(flatten)]
        root: Root,
        /// As JSON, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Ask the site's server now whether there is anything to do, and show what comes of it.
    #[command(after_help = "Examples:\n  lockstep-updater check\n  lockstep-updater check --json | jq .products\n\n\
        Ends when nothing more is being fetched or switched; with 1 when the server or what it serves cannot be used.")]
    Check {
        #[command(flatten)]
        root: Root,
        /// Show nothing on the way, and the status as JSON at the end, for scripts.
        #[arg(long)]
        json: bool,
        /// Seconds after which this command no longer looks on; the service goes on by itself.
        #[arg(long, default_value_t = 600, value_name = "SECONDS")]
        wait: u64,
    },
    /// Show what was installed, switched, rolled back or refused here: all of it as root, else the last entries.
    #[command(
        after_help = "Examples:\n  lockstep-updater history\n  sudo lockstep-updater history --json | jq -r .why"
    )]
    History {
        #[command(flatten)]
        root: Root,
        /// One JSON object a line, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Let versions that were rolled back here be tried again now (root only).
    #[command(after_help = "Example:\n  sudo lockstep-updater retry\n\n\
        Without it, a version that was rolled back is tried again after a week, then after twice that, up to eight weeks;\n\
        the vendor's next release is not held up by it.")]
    Retry(Root),
    /// Make one file for whoever helps: versions, state, journal, history, logs. Secrets are removed.
    #[command(
        after_help = "Examples:\n  sudo lockstep-updater diagnose\n  lockstep-updater diagnose --output /tmp/pc.tar.gz\n\n\
        Root sees all; another user what a user may see. Look into it before you send it: tar -tzf FILE."
    )]
    Diagnose {
        #[command(flatten)]
        root: Root,
        /// The file to make; it must not exist yet. Default: lockstep-diagnosis-TIME.tar.gz in the current directory.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Say as JSON what is in it, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Agree to the upgrade that is waiting, or to programs being restarted now.
    #[command(after_help = "Example:\n  lockstep-updater consent")]
    Consent(Root),
    /// Make the Windows service, or mend its settings, and start it (administrators only).
    #[cfg(windows)]
    ServiceInstall(Root),
    /// Stop and remove the Windows service (administrators only).
    #[cfg(windows)]
    ServiceUninstall,
    /// Stop the Windows service and wait until it has ended; good also where there is none. For installers.
    #[cfg(windows)]
    StopWait,
}

#[derive(Debug, Args)]
struct Root {
    /// The directory that everything lies under.
    #[arg(long, default_value = "/", value_name = "DIR")]
    root: PathBuf,
}

fn main() -> ExitCode {
    #[cfg(windows)]
    win32::from_windows_only();
    platform::prefer_small_memory();
    service::log_to_stderr();
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match carry_out(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if wants_json(&matches) {
                // The last words to a reader that may be gone.
                drop(writeln!(std::io::stdout(), "{}", serde_json::json!({ "error": format!("{error:#}") })));
            }
            eprintln!("lockstep-updater: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the subcommand was given `--json`: then what fails says so as JSON, too.
fn wants_json(mut matches: &ArgMatches) -> bool {
    while let Some((_, inner)) = matches.subcommand() {
        matches = inner;
    }
    // Not every command has it.
    matches.try_get_one::<bool>("json").is_ok_and(|json| json == Some(&true))
}

fn carry_out(command: Command) -> anyhow::Result<()> {
    let version = parse_version(VERSION)?;
    match command {
        Command::Run(Root { root }) => run(&root, version),
        Command::Install { root, json } => install_here(&root.root, json),
        Command::Adopt { root, package } => adopt(&root.root, &package),
        Command::Configure { words } => configure(&words),
        Command::Remove(Root { root }) => Ok(install::remove::remove(&Layout::new(&root)?)?),
        #[cfg(windows)]
        Command::Uninstall { quiet } => uninstall(quiet),
        Command::Status { root, json } => show_status(&root.root, json),
        Command::Check { root, json, wait } => check_now(&root.root, json, wait),
        Command::History { root, json } => show_history(&root.root, json),
        Command::Retry(Root { root }) => request(&root, Verb::Retry),
        Command::Diagnose { root, output, json } => make_diagnosis(&root.root, output, json),
        Command::Consent(Root { root }) => request(&root, Verb::Consent),
        #[cfg(windows)]
        Command::ServiceInstall(Root { root }) => {
            platform::service::install(&Layout::new(&root)?.supervisor()).context("making the service")?;
            platform::service::start().context("starting the service")
        }
        #[cfg(windows)]
        Command::ServiceUninstall => platform::service::uninstall().context("removing the service"),
        #[cfg(windows)]
        Command::StopWait => platform::service::stop_and_wait().context("stopping the service"),
    }
}

fn run(root: &Path, version: protocol::Version) -> anyhow::Result<()> {
    let layout = Layout::new(root)?;
    self_update::become_supervised(&layout);
    service::log_panics();
    let runtime = runtime()?;
    match runtime.block_on(service::run(layout.clone(), version))? {
        Ended::Asked => Ok(()),
        // Whatever is active now is started by the one who started this.
        Ended::Replaced if self_update::is_supervised() => Ok(()),
        Ended::Replaced => {
            drop(runtime);
            let program = layout.updater_program();
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
    let program = std::env::current_exe()?;
    // On Windows that is the path already; its canonical form would not take a `/`.
    let program = if cfg!(windows) { program } else { program.canonicalize()? };
    let Some(folder) = program.parent().and_then(Path::parent) else {
        bail!("{} does not lie in the folder of a download", program.display());
    };
    let root = if root.is_absolute() || root == Path::new("/") {
        root.to_owned()
    } else {
        std::env::current_dir()?.join(root)
    };
    let installed = runtime()?.block_on(install::install(&Layout::new(&root)?, folder, Timestamp::now()));
    let installed = installed?;
    let mut out = std::io::stdout().lock();
    if json {
        return Ok(writeln!(out, "{}", serde_json::to_value(&installed)?)?);
    }
    for product in &installed.products {
        writeln!(out, "{}", status::installed(product))?;
    }
    writeln!(out, "this computer belongs to the site {}", status::printable(&installed.site))?;
    let program = installed.program.display();
    match installed.service {
        install::Service::Started => writeln!(
            out,
            "the service runs: {}",
            if cfg!(windows) { "sc query LockstepUpdater" } else { "systemctl status lockstep-updater" }
        )?,
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

fn configure(words: &[String]) -> anyhow::Result<()> {
    let given = install::configure::Given::from_words(words).map_err(anyhow::Error::msg)?;
    let server = install::configure::configure(&Layout::new(Path::new("/"))?, &given)?;
    let text = server.map_or("nothing was changed".into(), |s| format!("this computer belongs to the site {s}"));
    Ok(writeln!(std::io::stdout(), "{}", status::printable(&text))?)
}

#[cfg(windows)]
fn uninstall(quiet: bool) -> anyhow::Result<()> {
    const TITLE: &str = "Lockstep Updater";
    let question = "Remove Lockstep from this computer, for everybody who uses it?\n\nMail stays where it is: in each user's own folder, \
                    and on the mail server.";
    if !quiet && win32::message::ask_yes_or_no(TITLE, question, false) != Some(true) {
        bail!("nothing was removed");
    }
    let done = uninstall_elevated();
    if !quiet {
        let text = match &done {
            Ok(()) => "Lockstep was removed. What is still running goes when Windows starts the next time.".into(),
            Err(error) => format!("{error:#}"),
        };
        win32::message::tell(TITLE, &text);
    }
    done
}

/// With the administrator's rights, for which User Account Control asks where this process has none.
#[cfg(windows)]
fn uninstall_elevated() -> anyhow::Result<()> {
    use win32::Elevated::{Ended, Failed, Refused, StillRuns};
    /// The person's two minutes, and longer than removing takes.
    const PATIENCE: Duration = Duration::from_secs(300);
    if platform::is_root() {
        return Ok(install::uninstall::uninstall(&Layout::new(Path::new("/"))?)?);
    }
    match win32::run_elevated(&std::env::current_exe()?, &["uninstall", "--quiet"], PATIENCE) {
        Ended(0) => Ok(()),
        Ended(code) => {
            bail!("it failed with exit code {code}; `lockstep-updater uninstall` as an administrator says why")
        }
        Refused => bail!("nothing was removed: the administrator's permission was refused"),
        StillRuns => bail!("it is being removed still; look again later"),
        Failed(error) => {
            Err(error).context("nothing was removed: the administrator's permission could not be asked for")
        }
    }
}

fn show_status(root: &Path, json: bool) -> anyhow::Result<()> {
    let found = runtime()?.block_on(check::status(&Layout::new(root)?.socket()))?;
    let text = if json { status::json(&found)? + "\n" } else { status::table(&found, Timestamp::now()) };
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

fn check_now(root: &Path, json: bool, wait: u64) -> anyhow::Result<()> {
    let socket = Layout::new(root)?.socket();
    let found = runtime()?.block_on(check::check(&socket, Duration::from_secs(wait), json))?;
    let mut out = std::io::stdout().lock();
    if json {
        return Ok(writeln!(out, "{}", status::json(&found)?)?);
    }
    writeln!(out)?;
    Ok(out.write_all(status::table(&found, Timestamp::now()).as_bytes())?)
}

fn show_history(root: &Path, json: bool) -> anyhow::Result<()> {
    let layout = Layout::new(root)?;
    let entries = match std::fs::read(layout.history()) {
        Ok(bytes) => history::read(&bytes),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            runtime()?.block_on(check::status(&layout.socket()))?.history
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => vec![],
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", layout.history().display())),
    };
    let mut out = std::io::stdout().lock();
    if json {
        for entry in &entries {
            writeln!(out, "{}", serde_json::to_string(entry)?)?;
        }
        return Ok(());
    }
    if entries.is_empty() {
        return Ok(writeln!(out, "nothing has happened here yet")?);
    }
    Ok(out.write_all(status::happenings(&entries).as_bytes())?)
}

fn make_diagnosis(root: &Path, output: Option<PathBuf>, json: bool) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let named = || PathBuf::from(format!("lockstep-diagnosis-{}.tar.gz", now.strftime("%Y%m%d-%H%M%S")));
    let output = output.unwrap_or_else(named);
    let contents = runtime()?.block_on(diagnose::diagnose(&Layout::new(root)?, VERSION, &output, now))?;
    let mut out = std::io::stdout().lock();
    if json {
        let said = serde_json::json!({ "file": output, "members": contents.members, "missing": contents.missing });
        return Ok(writeln!(out, "{said}")?);
    }
    writeln!(out, "{} holds {}", output.display(), contents.members.join(", "))?;
    for missing in &contents.missing {
        writeln!(out, "not in it: {missing}")?;
    }
    Ok(writeln!(out, "keys, passwords, tokens and tickets were removed; look into it before you send it")?)
}

fn request(root: &Path, verb: Verb) -> anyhow::Result<()> {
    match runtime()?.block_on(ask(&Layout::new(root)?.socket(), verb))? {
        Reply::Ok { detail } => Ok(writeln!(std::io::stdout(), "{detail}")?),
        Reply::Refused { error } => bail!("{error}"),
        other => bail!("the updater gave an answer that does not fit: {other:?}"),
    }
}
