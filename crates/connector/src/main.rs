//! `lockstep-connector`: the command line.

// No black window at sign-in; typed into a terminal, it prints there all the same.
#![cfg_attr(windows, windows_subsystem = "windows")]

mod command_line;

use std::process::ExitCode;

use clap::Parser;

/// The version, stamped at build time.
const VERSION: &str = match option_env!("LOCKSTEP_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

fn main() -> ExitCode {
    #[cfg(windows)]
    lockstep_connector::platform::console::attach();
    let arguments = command_line::Arguments::parse();
    if arguments.version {
        println!("lockstep-connector {VERSION}");
        return ExitCode::SUCCESS;
    }
    let as_json = arguments.wants_json();
    match command_line::run(arguments, VERSION) {
        Ok(code) => code,
        Err(error) => {
            if as_json {
                println!("{}", serde_json::json!({ "error": format!("{error:#}") }));
            }
            eprintln!("lockstep-connector: {error:#}");
            ExitCode::FAILURE
        }
    }
}
