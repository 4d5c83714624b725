//! `lockstep-launcher`: runs as the user, starts a product's active version, and restarts it when the updater says so.
//!
//! The updater never starts or signals a user's process; it tells those that watch, and this program acts. It holds no
//! right that its user does not have.

use std::{ffi::OsString, io, path::PathBuf, process::ExitStatus, time::Duration};

use lockstep_client::Updater;
use protocol::{Version, product::ProductId};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use crate::{
    layout::Layout,
    platform,
    slots::{RealDisk, Slots},
};

/// A program that is asked to end has this long, then it is ended.
const FAREWELL: Duration = Duration::from_secs(10);
/// The first wait after a crash; doubled with each.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after crashes.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Having run this long, a program that ends has not crashed at its start.
const STEADY: Duration = Duration::from_secs(60);
/// How often to look for a product that is not installed yet.
const LOOK: Duration = Duration::from_millis(500);
/// The exit code for wrong arguments: another attempt would end the same way.
const WRONG_ARGUMENTS: i32 = 2;

/// Why the launcher cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LauncherError {
    /// Signals cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
}

/// What to run.
#[derive(Debug)]
pub struct Launch {
    /// Where everything lies.
    pub layout: Layout,
    /// Which product.
    pub product: ProductId,
    /// The program's arguments.
    pub arguments: Vec<OsString>,
    /// A command that somebody gives: it is neither restarted for another version nor started again when it fails.
    pub once: bool,
}

/// How a program's run came to its end.
enum End {
    /// This launcher is to end.
    Asked,
    /// Another version is to run.
    Restart,
    /// It ended by itself.
    Exited(io::Result<ExitStatus>),
}

/// Runs the product until it ends by itself or this program is asked to end. Returns the exit code.
///
/// # Errors
/// [`LauncherError`].
pub async fn run(launch: Launch) -> Result<u8, LauncherError> {
    let (orders, mut restarts) = mpsc::channel(8);
    let (updater, product) = (Updater::on(launch.layout.socket()), launch.product.clone());
    tokio::spawn(async move { updater.follow(product, orders).await });
    let mut ending = std::pin::pin!(platform::asked_to_end());
    let mut crashes = 0;
    loop {
        let Some((version, program)) = active(&launch) else {
            tracing::info!(product = %launch.product, "not installed yet; waiting");
            tokio::select! {
                ended = &mut ending => return ended.map(|()| 0).map_err(LauncherError::Signals),
                () = sleep(LOOK) => continue,
            }
        };
        let began = Instant::now();
        let mut command = Command::new(&program);
        platform::in_own_group(command.args(&launch.arguments));
        let end = match command.spawn() {
            Err(error) => End::Exited(Err(error)),
            Ok(mut child) => {
                tracing::info!(product = %launch.product, %version, pid = child.id(), "started");
                tokio::select! {
                    ended = &mut ending => {
                        stop(&mut child).await;
                        ended.map_err(LauncherError::Signals)?;
                        End::Asked
                    }
                    () = ordered(&mut restarts, &version), if !launch.once => {
                        tracing::info!(product = %launch.product, from = %version, "restarting, as the updater says");
                        stop(&mut child).await;
                        End::Restart
                    }
                    status = child.wait() => End::Exited(status),
                }
            }
        };
        match end {
            End::Asked => return Ok(0),
            End::Restart => crashes = 0,
            End::Exited(Ok(status)) if status.success() => return Ok(0),
            // A signal has no code.
            End::Exited(Ok(status)) if launch.once => {
                return Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
            }
            End::Exited(Ok(status)) if status.code() == Some(WRONG_ARGUMENTS) => return Ok(2),
            End::Exited(why) => {
                crashes = if began.elapsed() >= STEADY { 1 } else { crashes + 1 };
                let wait = FIRST_WAIT.saturating_mul(1 << (crashes - 1).min(10)).min(LONGEST_WAIT);
                tracing::warn!(%version, ?why, ?wait, program = %program.display(), "ended; starting it again");
                tokio::select! {
                    ended = &mut ending => return ended.map(|()| 0).map_err(LauncherError::Signals),
                    () = ordered(&mut restarts, &version) => crashes = 0,
                    () = sleep(wait) => {}
                }
            }
        }
    }
}

/// Waits until the updater wants another version than this one to run.
async fn ordered(restarts: &mut mpsc::Receiver<Version>, running: &Version) {
    loop {
        match restarts.recv().await {
            Some(version) if version != *running => return,
            Some(_) => {}
            // The follower never ends; should it, nothing is ordered any more.
            None => std::future::pending().await,
        }
    }
}

/// The active version and its program, by its own path: what runs stays in sight when the link moves on.
fn active(launch: &Launch) -> Option<(Version, PathBuf)> {
    let slots = Slots::new(launch.layout.clone(), std::sync::Arc::new(RealDisk));
    let version = slots.observe(&launch.product).ok()?.current?;
    let manifest = slots.manifest(&launch.product, &version).ok()?;
    let program = launch.layout.version(&launch.product, &version).join(manifest.description.program);
    Some((version, program))
}

/// Asks a program to end, waits a while, and ends it.
async fn stop(child: &mut Child) {
    if let Some(pid) = child.id() {
        platform::terminate(pid);
    }
    if timeout(FAREWELL, child.wait()).await.is_err() {
        tracing::warn!("the program does not end by itself; ending it");
        if let Err(error) = child.kill().await {
            tracing::warn!(%error, "the program could not be ended");
        }
    }
}
