//! The running connector before the user's eyes, where the system has an icon beside the clock for such programs.

use std::sync::Arc;

use lockstep_client::Updater as UpdaterClient;
use tokio::sync::{Notify, watch};

use super::RunOptions;
use crate::{platform::Desktop, status::Status, sync::Progress};

/// Whom to tell what the user wants.
#[cfg_attr(unix, expect(dead_code, reason = "there is no icon to ask by"))]
pub(super) struct Wanted {
    pub progress: Arc<Progress>,
    pub users_word: Arc<Notify>,
    pub updater: UpdaterClient,
}

/// What shows notifications; and what shows the rest, which ends when the user wants the program to end.
#[cfg(unix)]
pub(super) fn open(
    _options: &RunOptions,
    _shown: watch::Receiver<Option<Status>>,
    _wanted: Wanted,
) -> (Desktop, impl Future<Output = ()> + use<>) {
    (Desktop::default(), std::future::pending())
}

#[cfg(windows)]
pub(super) fn open(
    options: &RunOptions,
    shown: watch::Receiver<Option<Status>>,
    wanted: Wanted,
) -> (Desktop, impl Future<Output = ()> + use<>) {
    use crate::{platform::tray::Tray, tray::View};
    let tray = Tray::open(View::starting(&options.version));
    let (data, version) = (options.data.clone(), options.version.clone());
    let desktop = tray.as_ref().map(Tray::desktop).unwrap_or_else(|error| {
        tracing::warn!(%error, "no icon beside the clock");
        Desktop::nowhere()
    });
    (desktop, async move {
        match tray {
            Ok(tray) => icon::serve(tray, shown, wanted, &data, &version).await,
            Err(_) => std::future::pending().await,
        }
    })
}

#[cfg(windows)]
mod icon {
    use std::path::Path;

    use jiff::tz::TimeZone;
    use tokio::sync::watch;

    use super::Wanted;
    use crate::{
        clock, diagnostics,
        platform::tray::{Tray, open_folder},
        status::Status,
        tray::{View, Wish},
    };

    /// Shows how things stand and carries out wishes, until the user wants the program to end.
    pub(super) async fn serve(
        mut tray: Tray,
        mut shown: watch::Receiver<Option<Status>>,
        wanted: Wanted,
        data: &Path,
        version: &str,
    ) {
        let zone = TimeZone::system();
        loop {
            if let Some(status) = shown.borrow_and_update().as_ref() {
                tray.show(View::of(status, &zone));
            }
            let wish = tokio::select! {
                Ok(()) = shown.changed() => continue,
                wish = tray.wish() => wish,
            };
            tracing::info!(?wish, "the user wants something");
            match wish {
                Wish::Quit => return,
                Wish::Synchronise => wanted.progress.wanted.notify_one(),
                Wish::Upgrade => upgrade(&wanted).await,
                Wish::Diagnostics => match diagnostics::write(data, version, clock::now()) {
                    Ok(_) => open_folder(&diagnostics::folder(data)),
                    Err(error) => tracing::error!(%error, "the diagnostics cannot be written"),
                },
                // It asks in a window of its own, and then wants this connector to end.
                Wish::Remove => {
                    let program = std::env::current_exe();
                    let started = program
                        .and_then(|p| std::process::Command::new(p).arg("remove").arg("--data").arg(data).spawn());
                    if let Err(error) = started {
                        tracing::error!(%error, "it cannot be asked what becomes of the mail");
                    }
                }
            }
        }
    }

    /// The updater's affair where there is one, else the installer's.
    async fn upgrade(wanted: &Wanted) {
        wanted.users_word.notify_one();
        let answer = match wanted.updater.consent().await {
            Ok(done) => Ok(done),
            Err(_) => wanted.updater.check_now().await,
        };
        match answer {
            Ok(detail) => tracing::info!(detail, "the updater was asked"),
            Err(error) => tracing::debug!(%error, "the updater was not asked"),
        }
    }
}
