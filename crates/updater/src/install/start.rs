//! The service, once its program is in its place.
//!
//! Where systemd runs, it is told. Elsewhere whoever supervises the service starts it; a service that runs already is asked to
//! look, finds that another program stands in its place, and becomes it ([`crate::service`]).

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use protocol::ipc::Verb;
use serde::Serialize;

use super::{InstallError, place};
use crate::{ipc::client::ask, layout::Layout};

/// The service's unit for systemd.
const UNIT: &str = include_str!("../../systemd/lockstep-updater.service");
/// Where it is written.
const UNIT_FILE: &str = "/etc/systemd/system/lockstep-updater.service";
/// There exactly where systemd is the service manager (sd_booted(3)).
const SYSTEMD_RUNS: &str = "/run/systemd/system";

/// Whether the service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// systemd has started it, or started it anew.
    Started,
    /// It ran already, and was told.
    Told,
    /// Somebody has to start it.
    NotRunning,
}

/// Starts the service, or tells the one that runs.
///
/// # Errors
/// [`InstallError::NotStarted`]; [`InstallError::Disk`] for the unit.
pub async fn start(layout: &Layout, whole_machine: bool) -> Result<Service, InstallError> {
    #[cfg(windows)]
    if whole_machine {
        return windows(layout);
    }
    if whole_machine && Path::new(SYSTEMD_RUNS).is_dir() {
        place::replace_public(&PathBuf::from(UNIT_FILE), UNIT.as_bytes())?;
        for arguments in [&["daemon-reload"][..], &["enable", "lockstep-updater"], &["restart", "lockstep-updater"]] {
            systemctl(arguments).await?;
        }
        return Ok(Service::Started);
    }
    // It carries no choice: a service that does not hear it looks by itself at its next check-in.
    match ask(&layout.socket(), Verb::CheckNow).await {
        Ok(_) => Ok(Service::Told),
        Err(_) => Ok(Service::NotRunning),
    }
}

/// The service manager is told; the service that runs is the version before's.
#[cfg(windows)]
fn windows(layout: &Layout) -> Result<Service, InstallError> {
    use crate::platform::service;
    let done =
        service::stop_and_wait().and_then(|()| service::install(&layout.supervisor())).and_then(|()| service::start());
    done.map(|()| Service::Started)
        .map_err(|error| InstallError::NotStarted(format!("the service manager says: {error}")))
}

async fn systemctl(arguments: &[&str]) -> Result<(), InstallError> {
    let words = arguments.join(" ");
    let mut command = tokio::process::Command::new("/usr/bin/systemctl");
    command.args(arguments).env_clear().current_dir("/").stdin(Stdio::null());
    match command.output().await {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(InstallError::NotStarted(format!("`systemctl {words}` says: {said}")))
        }
        Err(error) => Err(InstallError::NotStarted(format!("`systemctl {words}` cannot be run: {error}"))),
    }
}
