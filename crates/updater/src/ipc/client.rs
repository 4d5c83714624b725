//! The other end of the socket, for this crate's own programs.

use std::{io, path::Path, time::Duration};

use protocol::ipc::{FrameError, FrameReader, MAX_REPLY, Reply, Request, Verb, frame};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::platform::{self, Stream};

/// The updater answers within this time.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why the updater did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there.
    #[error("the updater is not running ({path}); start the service lockstep-updater")]
    NotRunning {
        /// Its socket.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke off, or took too long.
    #[error("the updater did not answer")]
    Broken(#[source] io::Error),
    /// Its answer is not understood.
    #[error("the updater's answer is not understood")]
    Malformed(#[from] FrameError),
}

/// A connection to the updater.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    frames: FrameReader,
}

impl Connection {
    /// Connects and asks.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(socket: &Path, verb: Verb) -> Result<Self, AskError> {
        let not_running = |source| AskError::NotRunning { path: socket.display().to_string(), source };
        let mut stream = platform::connect(socket).await.map_err(not_running)?;
        stream.write_all(&frame(&Request::new(verb))).await.map_err(AskError::Broken)?;
        Ok(Self { stream, frames: FrameReader::new(MAX_REPLY) })
    }

    /// The next reply, however long it takes. `None`: the updater closed the connection.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn next(&mut self) -> Result<Option<Reply>, AskError> {
        let mut buffer = [0; 2048];
        loop {
            if let Some(reply) = self.frames.next_frame()? {
                return Ok(Some(reply));
            }
            match self.stream.read(&mut buffer).await.map_err(AskError::Broken)? {
                0 => return Ok(None),
                n => self.frames.push(&buffer[..n]),
            }
        }
    }
}

/// Asks once.
///
/// # Errors
/// [`AskError`].
pub async fn ask(socket: &Path, verb: Verb) -> Result<Reply, AskError> {
    let asking = async {
        let reply = Connection::ask(socket, verb).await?.next().await?;
        reply.ok_or_else(|| AskError::Broken(io::ErrorKind::UnexpectedEof.into()))
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(AskError::Broken(io::ErrorKind::TimedOut.into())))
}
