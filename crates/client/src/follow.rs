//! "Restart me now": listens to the updater, for ever.

use std::time::Duration;

use protocol::{
    Version,
    ipc::{Reply, Verb},
    product::ProductId,
};
use tokio::{sync::mpsc, time::sleep};

use crate::{Connection, Updater};

/// The first wait after the updater has gone; doubled up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// See [`FIRST_WAIT`].
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl Updater {
    /// Hands on each version of `product` that the updater wants to run, until nobody takes them any more. Each new
    /// connection begins with the restart that stands, so one that was ordered while there was no connection is not missed;
    /// and one that was not ordered is not made up from progress.
    pub async fn follow(&self, product: ProductId, orders: mpsc::Sender<Version>) {
        let mut wait = FIRST_WAIT;
        loop {
            if let Ok(mut connection) = Connection::ask(&self.socket, Verb::Watch).await {
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
                            tracing::debug!(%error, "the updater is gone");
                            break;
                        }
                    }
                }
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = orders.closed() => return,
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}
