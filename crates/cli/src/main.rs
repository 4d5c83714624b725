//! `lockstep`: the vendor's and the administrator's tool.
//!
//! Exit codes: 0 done; 1 failed or wrongly called; 2 users would be cut off (or are not all back in time); 3 readiness is not
//! known.

#![forbid(unsafe_code)]

mod admin;
mod args;
mod runtime;
mod terminal;
mod vendor;

use std::{io::IsTerminal, process::ExitCode};

use admin::Outcome;
use tracing_subscriber::EnvFilter;

const VERSION: &str = match option_env!("LOCKSTEP_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("LOCKSTEP_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .init();
    end_quietly_when_nobody_reads();
    let (command, as_json) = match args::parse(VERSION) {
        Ok(read) => read,
        Err(stop) => {
            // The last words to a terminal that may be gone.
            let _gone = stop.print();
            // Not clap's own 2, which means here that users would be cut off.
            return ExitCode::from(u8::from(stop.use_stderr()));
        }
    };
    match args::run(command) {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::CutOff) => ExitCode::from(2),
        Ok(Outcome::Unknown) => ExitCode::from(3),
        Err(error) => {
            if as_json && !error.is::<terminal::Reported>() {
                println!("{}", serde_json::json!({ "v": 1, "error": format!("{error:#}") }));
            }
            eprintln!("lockstep: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `lockstep … | head` closes our output early: that is no fault of ours, so there is nothing to report.
fn end_quietly_when_nobody_reads() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        if text.starts_with("failed printing to stdout") {
            // As a shell reports a program that SIGPIPE has ended.
            std::process::exit(141);
        }
        report(panic);
    }));
}
