//! Accepting connections on loopback, not more than a limit, until told to stop.

use super::{MAX_CONNECTIONS, stopped};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// How long connections may take to say good-bye.
const GOOD_BYE: Duration = Duration::from_secs(2);

/// Why a local server stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The local servers are for programs of this PC only.
    #[error("{0} is not a loopback address; the local mail servers listen only on 127.0.0.1 or ::1")]
    NotLoopback(SocketAddr),
    /// The listening socket failed.
    #[error("the local mail server's socket failed")]
    Socket(#[source] io::Error),
}

/// What the listener knows of a connection: whether its client has logged in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guest(Arc<AtomicBool>);

impl Guest {
    /// The client has logged in: its connection is never ended to make room for another.
    pub(crate) fn logged_in(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Connections under way, oldest first.
#[derive(Default)]
struct Guests(Vec<(AbortHandle, Guest)>);

impl Guests {
    /// Whether there is room for another one; if there are too many, the oldest whose client has not logged in must go, so that
    /// strangers cannot keep the user out.
    fn make_room(&mut self) -> bool {
        self.0.retain(|(handle, _)| !handle.is_finished());
        if self.0.len() < MAX_CONNECTIONS {
            return true;
        }
        let stranger = self.0.iter().position(|(_, guest)| !guest.0.load(Ordering::Relaxed));
        if let Some(stranger) = stranger {
            self.0.remove(stranger).0.abort();
        }
        stranger.is_some()
    }
}

pub(super) async fn serve<F, Connection>(
    listener: TcpListener,
    full: &'static [u8],
    mut shutdown: watch::Receiver<bool>,
    handle: F,
) -> Result<(), ServeError>
where
    F: Fn(TcpStream, Guest) -> Connection,
    Connection: Future<Output = io::Result<()>> + Send + 'static,
{
    let address = listener.local_addr().map_err(ServeError::Socket)?;
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback(address));
    }
    let mut connections = JoinSet::new();
    let mut guests = Guests::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Collects ended connections; their errors have been logged.
            Some(_) = connections.join_next() => continue,
            () = stopped(&mut shutdown) => break,
        };
        match accepted {
            Ok((_, peer)) if !peer.ip().is_loopback() => {
                tracing::warn!(%peer, "refused a connection that is not from this PC");
            }
            Ok((mut stream, peer)) => {
                if !guests.make_room() {
                    tracing::warn!(%peer, "too many connections to the local mail server");
                    // It is refused either way; the line is a courtesy.
                    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(full)).await;
                    continue;
                }
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot switch off delays on a local connection");
                }
                let guest = Guest::default();
                let connection = handle(stream, guest.clone());
                let task = connections.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%peer, %error, "a local mail connection ended");
                    }
                });
                guests.0.push((task, guest));
            }
            Err(error) => {
                // Out of file descriptors, or a connection that was gone at once: both pass.
                tracing::warn!(%error, "cannot accept a local mail connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
    let all_gone = async { while connections.join_next().await.is_some() {} };
    // Whoever has not said good-bye by then is cut off.
    let _ = tokio::time::timeout(GOOD_BYE, all_gone).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_that_others_can_reach_is_refused() {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let (_stop, shutdown) = watch::channel(false);
        let result = serve(listener, b"", shutdown, |_, _| async { Ok(()) }).await;
        assert!(matches!(result, Err(ServeError::NotLoopback(_))));
    }

    #[tokio::test]
    async fn it_stops_when_its_owner_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (stop, shutdown) = watch::channel(false);
        drop(stop);
        serve(listener, b"", shutdown, |_, _| async { Ok(()) }).await.unwrap();
    }
}
