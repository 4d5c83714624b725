//! Talks to the updater of this computer, for any program that Lockstep keeps up to date.
//!
//! A program asks three things of it: *is there something for me* and *restart me now* ([`Updater::follow`], the verb
//! `watch`), *go on, I agree* ([`Updater::consent`]), and it says *I am healthy* ([`Updater::confirm_healthy`]). The wire
//! format is [`protocol::ipc`], described for other languages in `docs/ipc.md`. Nothing here passes a choice: a request is a
//! verb.
//!
//! ```no_run
//! # async fn example() {
//! use lockstep_client::Updater;
//! let updater = Updater::at("/");
//! // Once the program works:
//! updater.confirm_healthy().await;
//! // For ever, beside its work; each order names the version that it should be restarted into.
//! let (orders, mut restarts) = tokio::sync::mpsc::channel(8);
//! tokio::spawn(async move { updater.follow("my-product".parse().unwrap(), orders).await });
//! while let Some(version) = restarts.recv().await {
//!     println!("time to restart as {version}");
//! }
//! # }
//! ```

#![deny(unsafe_code)]
// A panic ends the updater (docs/adr/0021).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod confirm;
mod connection;
mod follow;
mod platform;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

pub use connection::Connection;
pub use platform::socket;
use protocol::ipc::{FrameError, Reply, Status, Verb};
use tokio::time::timeout;

/// The updater answers within this time.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Why the updater gave no answer, or another one than wanted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there. It may be starting.
    #[error("the updater is not running ({path}); start the service lockstep-updater")]
    Missing {
        /// Its socket.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke off, or it took too long.
    #[error("the updater did not answer")]
    Broken(#[source] io::Error),
    /// Its answer is not understood.
    #[error("the updater's answer is not understood")]
    Malformed(#[from] FrameError),
    /// It said no, or something else.
    #[error("the updater refused: {0}")]
    Refused(String),
}

/// The updater of one computer.
#[derive(Debug, Clone)]
pub struct Updater {
    socket: PathBuf,
    patience: Duration,
}

impl Updater {
    /// The updater that is installed under `root`, which is `/` on a real computer.
    pub fn at(root: impl AsRef<Path>) -> Self {
        Self::on(socket(root.as_ref()))
    }

    /// The updater behind this very socket.
    pub fn on(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), patience: PATIENCE }
    }

    /// Waits so long for an answer, and no longer.
    #[must_use]
    pub fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How things stand, with a ticket for this user.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<Status, ClientError> {
        match self.ask(Verb::Status).await? {
            Reply::Status(status) => Ok(*status),
            other => Err(refused(other)),
        }
    }

    /// Makes the updater check in with the site's server now. Gives what it says.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn check_now(&self) -> Result<String, ClientError> {
        self.done(Verb::CheckNow).await
    }

    /// Agrees to the upgrade that is waiting, or to programs being restarted now. Gives what happens.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Refused`] also when nothing waits.
    pub async fn consent(&self) -> Result<String, ClientError> {
        self.done(Verb::Consent).await
    }

    /// Asks once, and gives whatever the answer is.
    ///
    /// # Errors
    /// [`ClientError`], but never [`ClientError::Refused`].
    pub async fn ask(&self, verb: Verb) -> Result<Reply, ClientError> {
        let asking = async {
            let reply = Connection::ask(&self.socket, verb).await?.next().await?;
            reply.ok_or_else(|| ClientError::Broken(io::ErrorKind::UnexpectedEof.into()))
        };
        let late = |_| Err(ClientError::Broken(io::ErrorKind::TimedOut.into()));
        timeout(self.patience, asking).await.unwrap_or_else(late)
    }

    async fn done(&self, verb: Verb) -> Result<String, ClientError> {
        match self.ask(verb).await? {
            Reply::Ok { detail } => Ok(detail),
            other => Err(refused(other)),
        }
    }
}

fn refused(reply: Reply) -> ClientError {
    ClientError::Refused(match reply {
        Reply::Refused { error } => error,
        _ => "an answer to another question".into(),
    })
}

#[cfg(all(test, unix))]
mod tests;
