//! What differs between operating systems: the kind of connection.

use std::{io, path::Path};

#[cfg(unix)]
pub type Stream = tokio::net::UnixStream;
#[cfg(not(unix))]
pub type Stream = tokio::io::DuplexStream;

/// Connects to the updater's socket.
///
/// # Errors
/// Whatever the system says: `NotFound` or `ConnectionRefused` when nobody is there.
#[cfg(unix)]
pub async fn connect(socket: &Path) -> io::Result<Stream> {
    Stream::connect(socket).await
}

/// The updater's named pipe does not exist on Windows yet.
///
/// # Errors
/// Always `Unsupported`.
#[cfg(not(unix))]
#[expect(clippy::unused_async, reason = "the same on every system")]
pub async fn connect(_: &Path) -> io::Result<Stream> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "the updater is not on Windows yet"))
}
