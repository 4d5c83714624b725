//! `lockstep-supervisor`: starts the updater's active version, and goes back to the one before when a new one does not come
//! up. This is the stable part: it lies at a fixed path, only an installer replaces it, and it hardly ever changes. It
//! reads no configuration and no network, takes no decision about versions but this one, and knows nothing of what the
//! updater does. What it shares with the updater are two small files ([`trial`]).
//!
//! A version on trial has come up when it has removed the trial's file. One that ends [`STARTS`] times before that, while the computer runs and
//! nobody has asked it to, or does not get there in time, is left: first the memory that it failed, then the switch, then the end of
//! the trial; killed anywhere in between, the next start finishes it.

// A panic ends the updater (docs/adr/0021).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
// A service needs no console; typed into a terminal, it prints there all the same.
#![cfg_attr(windows, windows_subsystem = "windows")]

mod trial;

#[cfg_attr(windows, path = "child_windows.rs")]
mod child;
#[cfg(windows)]
mod service;

use std::process::ExitCode;

/// A version on trial is started this often.
const STARTS: u32 = 3;
/// A computer may go down so often under a version on trial, without ending it: a power cut is none of its doing, and many may be.
const BOOTS: u32 = 6;
/// A version on trial must have come up within this many seconds of its start, unless `--trial-seconds` says otherwise.
const TRIAL_SECONDS: u64 = 180;
const USAGE: &str = "usage: lockstep-supervisor [--root DIR] [--trial-seconds 1..3600] [--boot ID] | --version";

fn main() -> ExitCode {
    #[cfg(windows)]
    {
        win32::from_windows_only();
        win32::console::attach();
    }
    let mut arguments = std::env::args_os().skip(1);
    let (mut root, mut seconds, mut boot) = (std::path::PathBuf::from("/"), TRIAL_SECONDS, None);
    while let Some(argument) = arguments.next() {
        let value = match argument.to_str() {
            Some("--version") => {
                println!(
                    "lockstep-supervisor {}",
                    option_env!("LOCKSTEP_VERSION").unwrap_or(env!("CARGO_PKG_VERSION"))
                );
                return ExitCode::SUCCESS;
            }
            Some("--root" | "--trial-seconds" | "--boot") => arguments.next(),
            _ => None,
        };
        let number = value.as_ref().and_then(|v| v.to_str()?.parse().ok()).filter(|n| (1..=3600).contains(n));
        match (argument.to_str(), value, number) {
            // The whole computer is "/" on Windows too, which is not absolute there.
            (Some("--root"), Some(dir), _) if dir == "/" || std::path::Path::new(&dir).is_absolute() => {
                root = dir.into()
            }
            (Some("--trial-seconds"), _, Some(number)) => seconds = number,
            (Some("--boot"), Some(id), _) if id.to_str().is_some() => boot = id.into_string().ok(),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    run(trial::Files::new(&root).in_boot(boot), std::time::Duration::from_secs(seconds))
}

/// As a service if the service manager has started this, else for whoever did.
#[cfg(windows)]
fn run(files: trial::Files, patience: std::time::Duration) -> ExitCode {
    service::run(files, patience)
}

#[cfg(unix)]
fn run(files: trial::Files, patience: std::time::Duration) -> ExitCode {
    use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
    match signal_hook::iterator::Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGTERM]) {
        Ok(signals) => supervise(&files, patience, signals),
        Err(error) => {
            eprintln!("lockstep-supervisor: signals cannot be received: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tells whoever looks after this computer.
fn say(words: &str) {
    eprintln!("lockstep-supervisor: {words}");
    #[cfg(windows)]
    service::report(words);
}

/// How a run of the updater came to its end.
enum End {
    /// This program was asked to end, and the updater has.
    Asked,
    /// It ended by itself.
    Itself(String),
    /// It was on trial for too long.
    Silent,
}

fn supervise(files: &trial::Files, patience: std::time::Duration, mut signals: child::Signals) -> ExitCode {
    use std::time::{Duration, Instant};
    // Starts of this trial that this process has seen, should the disk not take them; and runs in a row that were short.
    let (mut seen, mut short, mut why) = (0, 0, String::new());
    loop {
        let on_trial = files.trial();
        if let Some(trial) = &on_trial {
            let (condemned, goes_down) = (files.is_condemned(trial), trial.boots >= BOOTS);
            if condemned || goes_down || trial.starts.max(seen) >= STARTS {
                let reason = match (condemned, goes_down) {
                    // What it was is noted.
                    (true, _) => "it was to be left".to_owned(),
                    (_, true) => format!("the computer went down {BOOTS} times before it had come up"),
                    _ => format!("it ended {STARTS} times before it had come up{why}"),
                };
                files.go_back(trial, &reason).unwrap_or_else(|e| say(&format!("cannot go back: {e}")));
                seen = 0;
            }
            files.count(trial).unwrap_or_else(|e| say(&format!("cannot note a start: {e}")));
            seen += 1;
        } else {
            seen = 0;
        }
        let began = Instant::now();
        // Looked for again: going back may have ended it.
        let deadline = files.trial().map(|_| began + patience);
        let end = match child::start(&files.program(), &files.root) {
            Ok(mut updater) => child::watch(&mut updater, &mut signals, deadline, || files.trial().is_some()),
            Err(error) => End::Itself(format!("{}: {error}", files.program().display())),
        };
        match end {
            End::Asked => {
                // The computer is being switched off, most likely.
                let forgiven = files.trial().map_or(Ok(()), |trial| files.forgive(&trial));
                forgiven.unwrap_or_else(|e| say(&format!("cannot forgive a start: {e}")));
                return ExitCode::SUCCESS;
            }
            End::Silent => {
                let reason = format!("it gave no sign of health within {} seconds", patience.as_secs());
                let left = files.trial().map_or(Ok(()), |trial| files.go_back(&trial, &reason));
                left.unwrap_or_else(|e| say(&format!("cannot go back: {e}")));
            }
            End::Itself(how) => {
                say(&format!("the updater ended: {how}"));
                why = format!(" ({how})");
            }
        }
        short = if began.elapsed() >= Duration::from_secs(10) { 0 } else { short + 1 };
        // The first short run may be one that hands over to another version.
        let wait = if short < 2 {
            Duration::ZERO
        } else {
            Duration::from_secs(1 << (short - 2).min(6)).min(Duration::from_secs(60))
        };
        if child::pause(&mut signals, wait) {
            return ExitCode::SUCCESS;
        }
    }
}
