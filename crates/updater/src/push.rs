//! One connection on which the server says "check in again, now". It is opened anew whenever it ends or falls silent.

use std::{sync::Arc, time::Duration};

use protocol::message::{KEEP_ALIVE_SECONDS, Push};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::{
    client::Server,
    driver::{Event, Why},
    sse::{Parser, TooLong},
};

/// Without a sign of life for this long, the connection is dead.
const SILENCE: Duration = Duration::from_millis(KEEP_ALIVE_SECONDS * 2_500);
/// The first wait before a new attempt; doubled with each that fails.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// A stream that ends sooner counts as an attempt that failed: each new one costs a check-in, so something that closes them
/// at once (a proxy, a server that keeps starting) must not be asked every half second by every PC.
const STEADY: Duration = Duration::from_secs(KEEP_ALIVE_SECONDS);

/// An open stream.
#[derive(Debug)]
pub struct PushStream {
    response: reqwest::Response,
    parser: Parser,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The server closed it.
    #[error("the server closed the push stream")]
    Closed,
    /// It broke off.
    #[error("the push stream broke off")]
    Broken(#[source] reqwest::Error),
    /// Not even a sign of life.
    #[error("the push stream fell silent")]
    Silent,
    /// Not a stream of events.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

impl PushStream {
    pub(crate) fn new(response: reqwest::Response) -> Self {
        Self { response, parser: Parser::default() }
    }

    /// Waits for the next events. Whatever an event says, it means the same: so one that cannot be read counts too.
    ///
    /// # Errors
    /// [`Ended`].
    pub async fn next(&mut self) -> Result<Vec<String>, Ended> {
        loop {
            let bytes = match timeout(SILENCE, self.response.chunk()).await {
                Err(_) => return Err(Ended::Silent),
                Ok(Err(error)) => return Err(Ended::Broken(error)),
                Ok(Ok(None)) => return Err(Ended::Closed),
                Ok(Ok(Some(bytes))) => bytes,
            };
            let events = self.parser.push(&bytes)?;
            if !events.is_empty() {
                let why = |data: &Vec<u8>| serde_json::from_slice::<Push>(data).map(|p| p.why).unwrap_or_default();
                return Ok(events.iter().map(why).collect());
            }
        }
    }
}

/// Keeps a stream open for ever, and hands on what it says. Ends when nobody listens any more.
pub async fn follow(server: Arc<Server>, events: mpsc::Sender<Event>) {
    let mut failures: u32 = 0;
    loop {
        match server.open_push().await {
            Ok(mut stream) => {
                let opened = Instant::now();
                // What was said while there was no stream is not said again.
                if events.send(Event::Wanted(Why::Connected)).await.is_err() {
                    return;
                }
                let ended = loop {
                    match stream.next().await {
                        Ok(reasons) => {
                            tracing::info!(?reasons, "the server asks for a check-in");
                            if events.send(Event::Wanted(Why::Pushed)).await.is_err() {
                                return;
                            }
                        }
                        Err(ended) => break ended,
                    }
                };
                tracing::debug!(error = %crate::words(&ended), "the push stream ended");
                failures = failures_after(failures, opened.elapsed());
            }
            Err(error) => {
                tracing::debug!(error = %crate::words(&error), "no push stream");
                failures = failures_after(failures, Duration::ZERO);
            }
        }
        tokio::time::sleep(wait(failures, rand::random())).await;
    }
}

/// The failures in a row, once a stream that stood for `lasted` has ended.
fn failures_after(failures: u32, lasted: Duration) -> u32 {
    if lasted >= STEADY { 1 } else { failures.saturating_add(1) }
}

/// The wait before an attempt after so many failures, spread by `draw` (0 to 1) over half to one and a half times its length.
fn wait(failures: u32, draw: f64) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST_WAIT).mul_f64(0.5 + draw.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_a_limit_and_is_spread() {
        assert_eq!(wait(1, 0.5), FIRST_WAIT);
        assert_eq!(wait(3, 0.5), FIRST_WAIT * 4);
        assert_eq!(wait(200, 0.5), LONGEST_WAIT);
        assert!(wait(3, 0.0) < wait(3, 1.0));
    }

    #[test]
    fn streams_that_are_closed_at_once_are_opened_more_and_more_rarely() {
        let closed = (0..20).fold(0, |failures, _| failures_after(failures, Duration::from_millis(5)));
        assert_eq!(wait(closed, 0.5), LONGEST_WAIT);
        assert_eq!(
            wait(failures_after(closed, STEADY), 0.5),
            FIRST_WAIT,
            "one that stood for a while is opened at once"
        );
    }
}
