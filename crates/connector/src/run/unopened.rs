//! A mailbox that cannot be opened: the connector does not run then, and says so before it ends, to its user and to the site's
//! administrator, who sees it by name.

use std::time::Duration;

use lockstep_client::Updater as UpdaterClient;
use protocol::{
    Version,
    message::{ConnectorCheckIn, Gate, MAX_TEXT, V},
    product::{Platform, ProductId},
};

use super::{RunError, RunOptions, UPDATER_PATIENCE};
use crate::{live::Live, profile, server_client::ServerClient, status::Status};

/// How long the site's server may take: whoever started the connector waits for its end.
const PATIENCE: Duration = Duration::from_secs(15);

/// Tells both. What cannot be told is in the log.
pub(super) async fn tell(options: &RunOptions, version: &Version, live: &Live, mut status: Status, error: &RunError) {
    let detail = detail(error);
    status.problem = Some(detail.clone());
    status.running = false;
    if let Err(error) = status.save(&options.data) {
        tracing::warn!(%error, "the status cannot be written");
    }
    match tokio::time::timeout(PATIENCE, check_in(options, version, live, detail)).await {
        Ok(Ok(())) => tracing::info!("the site's administrator was told"),
        Ok(Err(error)) => tracing::warn!(error, "the site's administrator could not be told"),
        Err(_) => tracing::warn!("the site's server did not answer in time"),
    }
}

async fn check_in(options: &RunOptions, version: &Version, live: &Live, detail: String) -> Result<(), String> {
    let found = profile::find(&options.root, &options.program).map_err(|e| e.to_string())?;
    let server = ServerClient::new(&found.profile, &options.version).map_err(|e| e.to_string())?;
    let updater = UpdaterClient::at(&options.root).within(UPDATER_PATIENCE).status().await.ok();
    let check_in = ConnectorCheckIn {
        v: V,
        product: ProductId::connector(),
        version: version.clone(),
        gate: Gate::Offline,
        // Nobody knows, with the mailbox closed.
        outbox: 0,
        hostname: profile::hostname(&options.root),
        platform: Platform::current(),
        ticket: updater.and_then(|status| status.ticket),
        detail: Some(detail),
    };
    let token = live.secrets().borrow().token.clone();
    server.check_in(&token, &check_in).await.map(drop).map_err(|e| e.to_string())
}

/// In words, without the path, which is the user's own affair.
fn detail(error: &RunError) -> String {
    let mut text = String::from("the mailbox cannot be opened");
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text.chars().take(MAX_TEXT).collect()
}
