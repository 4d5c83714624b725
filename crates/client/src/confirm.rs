//! "I am healthy", said until it counts.

use std::time::Duration;

use protocol::ipc::{Reply, Verb};
use tokio::time::sleep;

use crate::{ClientError, Updater, refused};

/// How often, and how far apart, the word that this version works is repeated until the updater takes it.
const TRIES: u32 = 30;
const REFUSALS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// How long to wait for an updater that is not there.
const ABSENT_PAUSE: Duration = Duration::from_secs(60);

impl Updater {
    /// Says that this program works, until the updater counts it, or says for the fifth time that it does not (it counts
    /// only the active version's own program), or fails to answer for half a minute. An updater that is not there may
    /// still be starting, as when the computer has just been switched on, so it is looked for again, a minute apart.
    ///
    /// Gives whether it counted. Being silent does no harm: nothing is ever rolled back for it.
    pub async fn confirm_healthy(&self) -> bool {
        let mut refusals = 0;
        let mut attempt = 0;
        while attempt < TRIES {
            attempt += 1;
            match self.ask(Verb::ConfirmHealthy).await {
                Ok(Reply::Ok { detail }) => {
                    tracing::info!(%detail, "told the updater that this version works");
                    return true;
                }
                Ok(other) => {
                    refusals += 1;
                    if refusals == REFUSALS {
                        tracing::info!(reason = %refused(other), "the updater does not count this program");
                        return false;
                    }
                }
                Err(ClientError::Missing { .. }) => {
                    attempt = 0;
                    sleep(ABSENT_PAUSE).await;
                }
                Err(error) => tracing::debug!(attempt, %error, "cannot tell the updater that this version works"),
            }
            sleep(PAUSE).await;
        }
        tracing::warn!("the updater could not be told that this version works");
        false
    }
}
