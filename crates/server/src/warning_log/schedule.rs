//! The regular report. When the last one was due is in the store, so a restart neither skips nor repeats one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::evaluate;
use crate::{app::App, failure::chain, store::StoreError};

const LAST: &str = "last_report";

/// The longest sleep; a clock that is set meanwhile is noticed after it.
const NAP: Duration = Duration::from_secs(3600);

/// Writes the report when it is due, until the server stops.
pub async fn follow(app: App) {
    loop {
        let wait = match tick(&app).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::error!(error = chain(&error), "the schedule of the warning log cannot be read");
                NAP
            }
        };
        if app.stopping(wait.min(NAP)).await {
            return;
        }
    }
}

/// Writes the report if it is due, and says how long to wait.
///
/// # Errors
/// [`StoreError`].
pub async fn tick(app: &App) -> Result<Duration, StoreError> {
    let now = app.now();
    let every = SignedDuration::try_from(app.config.readiness.report_every.get()).unwrap_or(SignedDuration::MAX);
    let last = app.store.fact_or(LAST, || now.to_string()).await?;
    let last: Timestamp = last.parse().map_err(|_| StoreError::Damaged("a time"))?;
    // A last report in the future means that the clock was wrong then.
    let due = last.min(now).saturating_add(every).unwrap_or(Timestamp::MAX);
    if now < due {
        return Ok(Duration::try_from(due.duration_since(now)).unwrap_or(NAP));
    }
    match evaluate(app).await {
        Ok(outcome) => {
            tracing::info!(affected = outcome.affected.len(), "evaluated who would be cut off");
            app.set_problem("warning log", None);
        }
        Err(error) => {
            tracing::error!(error = chain(&error), "the warning log cannot be written");
            app.set_problem("warning log", Some(chain(&error)));
        }
    }
    app.store.set_fact(LAST, Some(&now.to_string())).await?;
    Ok(Duration::try_from(every).unwrap_or(NAP))
}
