//! Keeping the mirror up to date, on a schedule and on demand.

use crate::{app::App, failure::chain, mirror::MirrorError, plain_text::printable};

/// Refreshes at start and then at every interval, until the server stops.
pub async fn follow(app: App) {
    loop {
        // The mirror remembers what went wrong, and `refresh` has logged it.
        let _ = refresh(&app).await;
        if app.stopping(app.config.vendor.refresh_every.get()).await {
            return;
        }
    }
}

/// Refreshes now; says whether anything has changed. New contents are noted, and pushed.
///
/// # Errors
/// [`MirrorError`]; what was served before still is.
pub async fn refresh(app: &App) -> Result<bool, MirrorError> {
    let outcome = app.mirror.refresh_on_its_own_thread(app.now()).await;
    let changed = app.mirror.changed_here();
    let problem = (!changed.is_empty()).then(|| {
        format!(
            "changed on this server's disk, not by lockstep-server: {}; it was removed to be fetched anew. Find out who can write to the data \
             directory. No PC installs what the vendor has not signed",
            printable(&changed.join(", "))
        )
    });
    if let Some(text) = &problem
        && let Err(error) = app.store.tell("site", &format!("the mirror's files were {text}"), app.now()).await
    {
        tracing::error!(error = chain(&error), "this cannot be noted");
    }
    app.set_problem("mirror", problem);
    match &outcome {
        Ok(true) => {
            let catalog = app.catalog();
            let noted = app.store.releases_available(&catalog, app.now()).await;
            if let Err(error) = noted {
                tracing::error!(error = chain(&error), "new releases could not be noted");
            }
            app.push.announce("the vendor's releases have changed");
        }
        Ok(false) => tracing::debug!("the mirror is up to date"),
        Err(error) => tracing::warn!(error = chain(error), "the mirror could not be brought up to date"),
    }
    outcome
}
