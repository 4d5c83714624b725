//! A Unix socket.

use std::{
    io,
    path::{Path, PathBuf},
};

pub type Stream = tokio::net::UnixStream;

/// Where the socket of the updater lies that is installed under `root`.
pub fn socket(root: &Path) -> PathBuf {
    root.join(protocol::ipc::SOCKET)
}

/// Connects to the updater's socket.
///
/// # Errors
/// Whatever the system says: `NotFound` or `ConnectionRefused` when nobody is there.
pub async fn connect(socket: &Path) -> io::Result<Stream> {
    Stream::connect(socket).await
}
