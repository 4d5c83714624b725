//! Whether somebody knows a mail account's password: a real login to the site's mail server, IMAP over TLS.
//!
//! The password goes to the mail server and nowhere else: it is neither stored nor logged, and no error mentions it.

mod dialogue;

use std::{sync::Arc, time::Duration};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::config::HostPort;
use dialogue::{Dialogue, Step};
pub use dialogue::{Refused, Verdict};

/// A login that takes longer is given up.
const DEADLINE: Duration = Duration::from_secs(20);

/// Why it could not be found out whether the password is right.
#[derive(Debug, thiserror::Error)]
pub enum MailLoginError {
    /// No connection, or no TLS.
    #[error("cannot reach the mail server {server} over TLS")]
    Unreachable {
        /// `host:port`.
        server: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It took too long.
    #[error("the mail server {server} did not answer within {} seconds", DEADLINE.as_secs())]
    TooSlow {
        /// `host:port`.
        server: String,
    },
    /// It spoke something else than IMAP, or said that it cannot log anybody in now.
    #[error("the mail server {server} cannot check a password now")]
    Unwilling {
        /// `host:port`.
        server: String,
        /// What it did.
        source: Refused,
    },
}

/// Where passwords are checked.
#[derive(Debug, Clone)]
pub struct MailLogin {
    server: HostPort,
    tls: Arc<ClientConfig>,
}

impl MailLogin {
    /// `server` takes IMAP over TLS (RFC 8314).
    pub fn new(server: HostPort, tls: Arc<ClientConfig>) -> Self {
        Self { server, tls }
    }

    /// Logs in, says whether that went through, and logs out.
    ///
    /// # Errors
    /// [`MailLoginError`]: nothing is known about the password.
    pub async fn check(&self, user: &str, password: &str) -> Result<Verdict, MailLoginError> {
        let server = || self.server.to_string();
        timeout(DEADLINE, self.converse(user, password))
            .await
            .map_err(|_elapsed| MailLoginError::TooSlow { server: server() })?
    }

    async fn converse(&self, user: &str, password: &str) -> Result<Verdict, MailLoginError> {
        let unreachable = |source| MailLoginError::Unreachable { server: self.server.to_string(), source };
        let unwilling = |source| MailLoginError::Unwilling { server: self.server.to_string(), source };
        let name = ServerName::try_from(self.server.host.clone())
            .map_err(|e| unreachable(std::io::Error::new(std::io::ErrorKind::InvalidInput, e)))?;
        let mut dialogue = Dialogue::new(user, password).map_err(unwilling)?;
        let tcp = TcpStream::connect((self.server.host.as_str(), self.server.port)).await.map_err(unreachable)?;
        let mut stream = TlsConnector::from(self.tls.clone()).connect(name, tcp).await.map_err(unreachable)?;
        let mut buffer = [0; 2048];
        loop {
            let n = stream.read(&mut buffer).await.map_err(unreachable)?;
            if n == 0 {
                return Err(unwilling(Refused::Closed));
            }
            match dialogue.take(&buffer[..n]).map_err(unwilling)? {
                Step::Wait => {}
                Step::Send(bytes) => stream.write_all(&bytes).await.map_err(unreachable)?,
                Step::Done(verdict) => {
                    // A farewell is polite; the verdict stands without it.
                    let _ = stream.write_all(b"b LOGOUT\r\n").await;
                    let _ = stream.shutdown().await;
                    return Ok(verdict);
                }
            }
        }
    }
}
