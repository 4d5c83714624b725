//! `lockstep-launcher`: starts a product's active version as the user, and restarts it when the updater says so.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use lockstep_updater::{
    launcher::{self, Launch},
    layout::Layout,
};
use protocol::product::ProductId;

const VERSION: &str = match option_env!("LOCKSTEP_VERSION") {
    Some(v) => v,
    None => env!("CARGO_PKG_VERSION"),
};

const EXAMPLES: &str = "Examples:
  lockstep-launcher connector -- run
  lockstep-launcher --once connector -- setup --user alice@example.com
  lockstep-launcher --root /srv/pc1 connector -- run --data ~/.local/share/lockstep/connector";

/// Starts a product's active version as you, and restarts it when the updater has switched to another one.
#[derive(Debug, Parser)]
#[command(name = "lockstep-launcher", version = VERSION, after_help = EXAMPLES)]
struct Args {
    /// The directory that the updater is installed under.
    #[arg(long, default_value = "/", value_name = "DIR")]
    root: PathBuf,
    /// Run it once: whatever it ends with is the end, for commands that people give.
    #[arg(long)]
    once: bool,
    /// Which product to run.
    product: ProductId,
    /// The program's own arguments.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

fn main() -> ExitCode {
    lockstep_updater::service::log_to_stderr();
    match start(Args::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("lockstep-launcher: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> anyhow::Result<u8> {
    let layout = Layout::new(&args.root)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    Ok(runtime.block_on(launcher::run(Launch {
        layout,
        product: args.product,
        arguments: args.arguments,
        once: args.once,
    }))?)
}
