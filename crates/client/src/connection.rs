//! One connection: a request out, replies in.

use std::path::Path;

use protocol::ipc::{FrameReader, MAX_REPLY, Reply, Request, Verb, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    ClientError,
    platform::{self, Stream},
};

/// A connection on which something was asked.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    frames: FrameReader,
}

impl Connection {
    /// Connects and asks.
    ///
    /// # Errors
    /// [`ClientError::Missing`], [`ClientError::Broken`].
    pub async fn ask(socket: &Path, verb: Verb) -> Result<Self, ClientError> {
        use std::io::ErrorKind::{ConnectionRefused, NotFound, Unsupported};
        let mut stream = platform::connect(socket).await.map_err(|source| match source.kind() {
            NotFound | ConnectionRefused | Unsupported => {
                ClientError::Missing { path: socket.display().to_string(), source }
            }
            _ => ClientError::Broken(source),
        })?;
        stream.write_all(&frame(&Request::new(verb))).await.map_err(ClientError::Broken)?;
        Ok(Self { stream, frames: FrameReader::new(MAX_REPLY) })
    }

    /// The next reply, however long it takes. `None`: the updater closed the connection.
    ///
    /// # Errors
    /// [`ClientError::Broken`], [`ClientError::Malformed`].
    pub async fn next(&mut self) -> Result<Option<Reply>, ClientError> {
        let mut buffer = [0; 2048];
        loop {
            if let Some(reply) = self.frames.next_frame()? {
                return Ok(Some(reply));
            }
            match self.stream.read(&mut buffer).await.map_err(ClientError::Broken)? {
                0 => return Ok(None),
                n => self.frames.push(&buffer[..n]),
            }
        }
    }
}
