//! `logs/warning.log`: who would be cut off for want of an updater, by name, on a schedule and on demand.

mod report;
mod schedule;

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Zoned;
use protocol::{Version, product::ProductId};

use crate::{app::App, platform, preflight::Facts, store::StoreError, switches::Switch};
use report::Report;
pub use schedule::{follow, tick};

/// What an evaluation has led to.
#[derive(Debug)]
pub struct Outcome {
    /// The users, each once, sorted, printable.
    pub affected: BTreeSet<String>,
    /// What was written; nothing when nobody is affected.
    pub report: Option<String>,
    /// Why nothing could be known.
    pub why_unknown: Option<String>,
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WarningError {
    /// The facts could not be read.
    #[error("cannot find out who is affected")]
    Store(#[from] StoreError),
    /// The file failed.
    #[error("cannot write {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The file. One report is written at a time, whole.
#[derive(Debug, Clone)]
pub struct WarningLog {
    path: PathBuf,
    busy: Arc<tokio::sync::Mutex<()>>,
}

impl WarningLog {
    /// In the data directory.
    pub fn in_directory(data: &Path) -> Self {
        Self { path: data.join("logs").join("warning.log"), busy: Arc::default() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a report at its end.
    ///
    /// # Errors
    /// [`WarningError::Write`], also when the file is a symbolic link.
    pub async fn append(&self, report: String) -> Result<(), WarningError> {
        let _one_at_a_time = self.busy.lock().await;
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || {
            if let Some(directory) = path.parent() {
                platform::make_private_directory(directory)?;
            }
            let mut file = platform::open_log(&path)?;
            file.write_all(report.as_bytes())?;
            file.sync_data()
        })
        .await;
        let failed = |source| WarningError::Write { path: self.path.clone(), source };
        written.map_err(|stopped| failed(io::Error::other(stopped)))?.map_err(failed)
    }
}

/// Finds out who is affected for each product's next server version, and writes the report if somebody is.
///
/// # Errors
/// [`WarningError`].
pub async fn evaluate(app: &App) -> Result<Outcome, WarningError> {
    let mut outcome = Outcome { affected: BTreeSet::new(), report: None, why_unknown: None };
    let facts = Facts::gather(app).await?;
    if !app.switches.is_on(Switch::Readiness) {
        outcome.why_unknown = Some("readiness reports are switched off".into());
        return Ok(outcome);
    }
    let mut text = String::new();
    for product in facts.site.products.keys() {
        let Some(to) = facts.next(product) else {
            outcome.why_unknown = Some(format!("the version of the {product}'s server is not known yet"));
            continue;
        };
        let table = facts.table(product, &to);
        if table.why_unknown.is_some() {
            outcome.why_unknown = table.why_unknown;
            continue;
        }
        let users = table.users_without_updater();
        if !users.is_empty() {
            let is_there = table.server.as_ref() == Some(&to);
            text.push_str(&write(app, product, &to, is_there, &users, facts.now));
            outcome.affected.extend(users);
        }
    }
    if !text.is_empty() {
        app.warning_log.append(text.clone()).await?;
        outcome.report = Some(text);
    }
    Ok(outcome)
}

/// What people call a product.
pub fn title(product: &ProductId) -> &str {
    if *product == ProductId::connector() { "Lockstep Connector" } else { product.as_str() }
}

fn write(
    app: &App,
    product: &ProductId,
    to: &Version,
    is_there: bool,
    users: &BTreeSet<String>,
    now: jiff::Timestamp,
) -> String {
    let server = app.config.products.get(product).map_or("the server", |p| p.server_name.as_str());
    let report = Report {
        client: title(product),
        server,
        to,
        is_there,
        updater_address: &format!("{}/updater", app.integration_page()),
        integration_page: &app.integration_page(),
        users,
    };
    report.text(&Zoned::new(now, app.zone.clone()))
}
