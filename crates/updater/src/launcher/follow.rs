//! Listens to the updater, for ever: which version should run.

use std::{path::PathBuf, time::Duration};

use protocol::{
    Version,
    ipc::{Reply, Verb},
    product::ProductId,
};
use tokio::{sync::mpsc, time::sleep};

use crate::ipc::client::Connection;

/// The first wait after the updater has gone; doubled up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// See [`FIRST_WAIT`].
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Hands on each version that the updater wants to run. Each new connection begins with the restart that stands, so one
/// that was ordered while there was no connection is not missed; and one that was not ordered is not made up from progress.
pub(super) async fn follow(socket: PathBuf, product: ProductId, orders: mpsc::Sender<Version>) {
    let mut wait = FIRST_WAIT;
    loop {
        if let Ok(mut connection) = Connection::ask(&socket, Verb::Watch).await {
            wait = FIRST_WAIT;
            loop {
                match connection.next().await {
                    Ok(Some(Reply::RestartNow { product: of, version })) if of == product => {
                        if orders.send(version).await.is_err() {
                            return;
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(error = %crate::words(&error), "the updater is gone");
                        break;
                    }
                }
            }
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
