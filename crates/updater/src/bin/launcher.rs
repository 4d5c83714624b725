//! `lockstep-launcher`: starts a product's active version as the user, and restarts it when the updater says so.

// A panic ends the updater (docs/adr/0021).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
// No black window at sign-in; typed into a terminal, it prints there all the same.
#![cfg_attr(windows, windows_subsystem = "windows")]

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use lockstep_updater::{
    launcher::{self, Launch},
    layout::Layout,
    service::{log_to_stderr, say_why},
};
use protocol::product::ProductId;

const VERSION: &str = match option_env!("LOCKSTEP_VERSION") {
    Some(v) => v,
    None => env!("CARGO_PKG_VERSION"),
};

/// The exit code for wrong arguments.
const WRONG_ARGUMENTS: u8 = 2;

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
    #[cfg(windows)]
    {
        win32::from_windows_only();
        win32::console::attach();
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(wrong) if wrong.use_stderr() => {
            say_why(&format!("lockstep-launcher: {}", wrong.render()));
            return ExitCode::from(WRONG_ARGUMENTS);
        }
        Err(help_or_version) => help_or_version.exit(),
    };
    log_to_stderr();
    match start(args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say_why(&format!("lockstep-launcher: {error:#}"));
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
