//! The local servers: the user's own mail program reads and sends here, whatever the mail server and the gate say.
//!
//! * [`serve_imap`]: IMAP4rev1 on the offline mailbox.
//! * [`serve_submission`]: takes outgoing mail into the outbox.
//!
//! Both answer "done" only when the store has made it durable (invariant 6), and both go on serving while the connector is blocked
//! (invariant 7). What is changed here reaches the mail server through the store's journal and outbox, never directly.
//!
//! | Attack | Defence |
//! |---|---|
//! | from another machine | the listener must be bound to a loopback address, and peers must have one |
//! | another user of this PC | a password of its own, made at setup, compared in constant time; wrong ones cost seconds, the more the more there are, without ever locking the user out |
//! | connections by the thousand | [`MAX_CONNECTIONS`] for each server; before login a connection lives for a minute, however busy, and makes room for a new one when there are too many |
//! | many big messages at once | one allowance for all connections of a server (`room`); a FETCH is written item by item |
//! | hostile commands and messages | see the modules: framing, MIME, submission |

mod credentials;
pub mod imap;
mod listener;
pub(crate) mod mime;
mod room;
pub mod smtp;
pub mod store_thread;
#[cfg(test)]
mod tests;

pub use credentials::Credentials;
use listener::Guest;
pub use listener::ServeError;
use room::Room;
pub use store_thread::{CallError, StoreHandle};

use std::{io, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Connections one server keeps at a time; more are told to come back later.
pub const MAX_CONNECTIONS: usize = 100;

/// What the local servers need to know.
#[derive(Clone)]
pub struct LocalContext {
    /// The offline mailbox.
    pub store: StoreHandle,
    /// The one user who may log in.
    pub credentials: Arc<Credentials>,
    /// What the user is to be told now, if anything: shown as an IMAP ALERT at each login and once when it changes.
    pub notices: watch::Receiver<Option<String>>,
    /// This program's version, shown in greetings and ID.
    pub version: Arc<str>,
}

/// Serves IMAP until `shutdown` is true or its sender is gone; then says BYE to every client and returns.
///
/// Errors: [`ServeError`] when the listener is not on a loopback address or fails for good.
pub async fn serve_imap(
    listener: TcpListener,
    context: LocalContext,
    shutdown: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    const FULL: &[u8] = b"* BYE too many connections, try again later\r\n";
    let stop = shutdown.clone();
    let room = Room::default();
    listener::serve(listener, FULL, shutdown, move |stream, guest| {
        imap::connection::run(stream.into_split(), context.clone(), room.clone(), guest, stop.clone())
    })
    .await
}

/// Serves submission until `shutdown` is true or its sender is gone; a message whose end has arrived by then is still queued and
/// answered.
///
/// Errors: [`ServeError`] when the listener is not on a loopback address or fails for good.
pub async fn serve_submission(
    listener: TcpListener,
    context: LocalContext,
    shutdown: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    const FULL: &[u8] = b"421 4.7.0 too many connections, try again later\r\n";
    let stop = shutdown.clone();
    let room = Room::default();
    listener::serve(listener, FULL, shutdown, move |stream, guest| {
        smtp::connection::run(stream, context.clone(), room.clone(), guest, stop.clone())
    })
    .await
}

/// Serves one IMAP client over anything that carries bytes, as [`serve_imap`] serves those on its socket.
///
/// # Errors
/// When the bytes cannot be carried.
pub(crate) async fn serve_imap_client(
    stream: impl AsyncRead + AsyncWrite + Send,
    context: LocalContext,
    shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    imap::connection::run(tokio::io::split(stream), context, Room::default(), Guest::default(), shutdown).await
}

/// Serves one submission client over anything that carries bytes, as [`serve_submission`] serves those on its socket.
///
/// # Errors
/// When the bytes cannot be carried.
pub(crate) async fn serve_submission_client(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    context: LocalContext,
    shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    smtp::connection::run(stream, context, Room::default(), Guest::default(), shutdown).await
}

/// Becomes ready when the servers are to stop.
pub(crate) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which means stop too.
    let _ = shutdown.wait_for(|stop| *stop).await;
}
