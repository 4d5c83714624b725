//! `tuf-conformance-client`: Lockstep's TUF reader, [`release::tuf`], under the command line that the TUF conformance suite
//! drives. It belongs to no product.
//!
//! It exits with 0 when all was done and with 1 when anything was not. The clock is the system's, which the suite sets forward.

#![forbid(unsafe_code)]

mod artifacts;
mod http;

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use jiff::Timestamp;
use release::tuf::OnDemand;

use crate::{artifacts::Artifacts, http::Http};

#[derive(Debug, Parser)]
#[command(name = "tuf-conformance-client", about = "Reads a TUF repository as Lockstep's updater does")]
struct Arguments {
    /// Where trusted metadata is kept, one file a role
    #[arg(long, value_name = "DIR")]
    metadata_dir: PathBuf,
    /// Where the repository's metadata is
    #[arg(long, value_name = "URL")]
    metadata_url: Option<String>,
    /// A target to download; may be given several times
    #[arg(long, value_name = "PATH", allow_hyphen_values = true)]
    target_name: Vec<String>,
    /// Where the repository's targets are
    #[arg(long, value_name = "URL")]
    target_base_url: Option<String>,
    /// Where downloaded targets are put
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
    /// How long one file may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    deadline: u64,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Trust this root from now on; nothing is fetched
    Init {
        /// A root.json that is trusted because of where it came from
        root: PathBuf,
    },
    /// Bring the top-level metadata up to date
    Refresh,
    /// Bring it up to date, and download targets
    Download,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = u8::from(error.use_stderr());
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::FAILURE,
            };
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tuf-conformance-client: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let directory = &arguments.metadata_dir;
    if let Command::Init { root } = &arguments.command {
        let bytes = fs::read(root).with_context(|| format!("reading {}", root.display()))?;
        OnDemand::init(directory, &bytes)?;
        return Ok(());
    }
    let repository = OnDemand::open(directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(online(arguments, &repository))
}

async fn online(arguments: &Arguments, repository: &OnDemand) -> Result<()> {
    let url = arguments.metadata_url.as_deref().context("--metadata-url is missing")?;
    let deadline = Duration::from_secs(arguments.deadline);
    let metadata = Http::new(url, deadline)?;
    let mut lookup = repository.refresh(&metadata, Timestamp::now()).await?;
    if matches!(arguments.command, Command::Download) {
        let base = arguments.target_base_url.as_deref().context("--target-base-url is missing")?;
        let dir = arguments.target_dir.clone().context("--target-dir is missing")?;
        let artifacts = Artifacts::new(Http::new(base, deadline)?, dir, lookup.consistent_snapshot());
        anyhow::ensure!(!arguments.target_name.is_empty(), "--target-name is missing");
        for name in &arguments.target_name {
            let signed = lookup.target(name).await?.with_context(|| format!("nobody signed a target {name:?}"))?;
            artifacts.fetch(name, &signed).await.with_context(|| format!("downloading {name:?}"))?;
        }
    }
    Ok(())
}
