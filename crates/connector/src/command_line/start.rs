//! `run`: the connector until it is stopped, or until the machine's connector takes over in this very process.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use lockstep_connector::{
    autostart,
    installer::{self, per_machine},
    platform,
    run::{self, Ended, RunOptions},
};

use super::{Places, log_to_stderr, runtime};

pub(super) fn run(places: &Places, version: &str) -> Result<ExitCode> {
    let (root, data) = (places.root()?, places.data()?);
    log(&data);
    let program = std::env::current_exe()?;
    let options =
        RunOptions { root: root.clone(), data: data.clone(), program: program.clone(), version: version.to_owned() };
    start_at_login(&root, &data, &program);
    let stop = async {
        if let Err(error) = platform::asked_to_stop().await {
            tracing::error!(%error, "cannot wait for the wish to stop; kill the program to end it");
            std::future::pending().await
        }
    };
    let ended = runtime()?.block_on(run::run(options, stop));
    #[cfg(windows)]
    if let Err(error) = &ended {
        // Nobody may see what is printed.
        tracing::error!(error = error as &dyn std::error::Error, "the connector does not run");
    }
    match ended? {
        Ended::Asked => Ok(ExitCode::SUCCESS),
        Ended::TakenOver => {
            let launcher = per_machine::launcher(&root);
            start_at_login(&root, &data, &launcher);
            let error = platform::become_program(&launcher, &installer::launcher_arguments(&root, &data));
            Err(error).with_context(|| format!("{} is installed, but cannot be started", launcher.display()))
        }
    }
}

/// A program without a console has nobody who reads what it prints, so its log is a file.
#[cfg(windows)]
fn log(data: &Path) {
    use lockstep_connector::log_file::LogFile;
    use tracing_subscriber::fmt::writer::MakeWriterExt;
    match LogFile::open(data) {
        Ok(file) if platform::console::has_stderr() => super::log_to("info", file.and(std::io::stderr)),
        Ok(file) => super::log_to("info", file),
        Err(_) => log_to_stderr("info"),
    }
}

#[cfg(unix)]
fn log(_data: &Path) {
    log_to_stderr("info");
}

/// Whether the machine starts this program for everybody, so that no user has to.
pub(super) fn is_started_by_the_machine(root: &Path, program: &Path) -> bool {
    platform::machine_starts_it()
        && (program == per_machine::launcher(root) || per_machine::is_machines_own(root, program))
}

/// What starts this connector: its launcher where it is installed for everybody, else the program itself.
pub(super) fn command(root: &Path, data: &Path, program: &Path) -> Vec<PathBuf> {
    let launcher = per_machine::launcher(root);
    if program == launcher || per_machine::is_machines_own(root, program) {
        let arguments = installer::launcher_arguments(root, data).map(PathBuf::from);
        return [launcher].into_iter().chain(arguments).collect();
    }
    [program, "run".as_ref(), "--root".as_ref(), root, "--data".as_ref(), data].map(PathBuf::from).into()
}

/// Keeps what the user's desktop starts at login pointing to what runs now, if it starts this connector at all.
fn start_at_login(root: &Path, data: &Path, program: &Path) {
    let Some(directory) = platform::autostart() else { return };
    #[cfg(windows)]
    if is_started_by_the_machine(root, program) {
        if let Err(error) = autostart::remove(&directory) {
            tracing::warn!(%error, "what starts at sign-in could not be removed");
        }
        return;
    }
    if let Err(error) = autostart::point_to(&directory, &command(root, data, program)) {
        tracing::warn!(%error, "what starts at login could not be changed");
    }
}
