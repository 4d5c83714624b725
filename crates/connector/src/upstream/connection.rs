//! One TLS connection to the mail server.
//!
//! | attack | answer |
//! |---|---|
//! | plain text in between | TLS from the first byte (RFC 8314); there is no STARTTLS to strip |
//! | a server that stops talking | [`ImapError::Silent`] after [`PATIENCE`] |
//! | too much data, or garbage | the limits of [`super::framing`]; a response that is not understood is let pass |

use std::{sync::Arc, time::Duration};

use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    command::{Command, Part},
    framing::{FramingError, ResponseReader},
    response::{Condition, Data, Response, Status, parse},
};

/// How long the mail server may say nothing while an answer is awaited.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Why the mail server could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ImapError {
    /// It cannot be reached.
    #[error("cannot connect to the mail server at {0}")]
    Connect(String, #[source] std::io::Error),
    /// The connection broke.
    #[error("the connection to the mail server broke")]
    Io(#[from] std::io::Error),
    /// It stopped answering.
    #[error("the mail server does not answer")]
    Silent,
    /// It closed the connection; with what it said.
    #[error("the mail server closed the connection: {0}")]
    Bye(String),
    /// It does not speak IMAP.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// It does not let this user or this connector in; in its own words.
    #[error("the mail server refused the login: {text}")]
    LoginRefused {
        /// What it said.
        text: String,
        /// Whether it asked for that to be shown (`ALERT`).
        alert: bool,
    },
    /// It refused a command, in its own words.
    #[error("the mail server refused {command}: {}", .status.text)]
    Refused {
        /// The command's name.
        command: String,
        /// What it said.
        status: Status,
    },
    /// `host:port` is not one.
    #[error("{0:?} is not an address such as mail.example.com:993")]
    BadAddress(String),
}

/// One connection. After an error it must be dropped.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    reader: ResponseReader,
    tags: u32,
    /// Upper-case names.
    capabilities: Vec<String>,
    alert: Option<String>,
}

impl Connection {
    /// Connects and reads the greeting. `address` is `host:port`.
    ///
    /// # Errors
    /// [`ImapError`].
    pub async fn open(address: &str, tls: Arc<rustls::ClientConfig>) -> Result<Self, ImapError> {
        let (host, name) = server_name(address)?;
        let failed = |e| ImapError::Connect(address.to_owned(), e);
        let connecting = async {
            let stream = TcpStream::connect(&host).await?;
            stream.set_nodelay(true)?;
            if let Err(error) = crate::platform::keep_alive(&stream) {
                tracing::debug!(%error, "the kernel will not watch over the connection");
            }
            TlsConnector::from(tls).connect(name, stream).await
        };
        let stream = timeout(CONNECT, connecting).await.map_err(|_| ImapError::Silent)?.map_err(failed)?;
        let mut connection =
            Self { stream, reader: ResponseReader::default(), tags: 0, capabilities: vec![], alert: None };
        connection.greeting().await?;
        Ok(connection)
    }

    async fn greeting(&mut self) -> Result<(), ImapError> {
        let bytes = self.response(CONNECT).await?;
        match parse(&bytes) {
            Some(Response::Untagged(status)) if status.condition == Condition::Bye => Err(ImapError::Bye(status.text)),
            Some(Response::Untagged(status)) => {
                self.note(&status);
                Ok(())
            }
            _ => Err(ImapError::Bye("it does not speak IMAP".into())),
        }
    }

    /// Whether the server has a capability; upper-case.
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|c| c == capability)
    }

    /// Whether the server has said what it can do; after a login it may say it anew.
    pub fn knows_capabilities(&self) -> bool {
        !self.capabilities.is_empty()
    }

    /// Forgets the capabilities: after a login there are others.
    pub fn forget_capabilities(&mut self) {
        self.capabilities.clear();
    }

    /// What the server wants to be shown to the user (`ALERT`), once.
    pub fn take_alert(&mut self) -> Option<String> {
        self.alert.take()
    }

    /// Sends a command and gives every response to `see` until the answer is there; a refusal is an answer too.
    ///
    /// # Errors
    /// [`ImapError`], never `Refused`.
    pub async fn ask(
        &mut self,
        command: &Command,
        mut see: impl FnMut(&Response<'_>) + Send,
    ) -> Result<Status, ImapError> {
        let tag = self.next_tag();
        let mut line = tag.clone().into_bytes();
        line.push(b' ');
        for part in command.parts() {
            match part {
                Part::Text(text) => line.extend_from_slice(text),
                Part::Literal(bytes) if self.literal_plus(bytes.len()) => {
                    line.extend_from_slice(format!("{{{}+}}\r\n", bytes.len()).as_bytes());
                    self.write(&line).await?;
                    self.write(bytes).await?;
                    line.clear();
                }
                Part::Literal(bytes) => {
                    line.extend_from_slice(format!("{{{}}}\r\n", bytes.len()).as_bytes());
                    self.write(&line).await?;
                    line.clear();
                    if let Some(refused) = self.until(Some(&tag), &mut see).await? {
                        return Ok(refused);
                    }
                    self.write(bytes).await?;
                }
            }
        }
        line.extend_from_slice(b"\r\n");
        self.write(&line).await?;
        loop {
            if let Some(status) = self.until(Some(&tag), &mut see).await? {
                return Ok(status);
            }
        }
    }

    /// As [`Connection::ask`], but a refusal is an error.
    ///
    /// # Errors
    /// [`ImapError`].
    pub async fn tell(
        &mut self,
        command: &Command,
        see: impl FnMut(&Response<'_>) + Send,
    ) -> Result<Status, ImapError> {
        let status = self.ask(command, see).await?;
        match status.condition {
            Condition::Ok | Condition::PreAuth => Ok(status),
            _ => Err(ImapError::Refused { command: command.name().to_owned(), status }),
        }
    }

    /// Sends a line as it is, for the second step of a login or of IDLE.
    ///
    /// # Errors
    /// [`ImapError`].
    pub async fn send_line(&mut self, text: &str) -> Result<(), ImapError> {
        self.write(format!("{text}\r\n").as_bytes()).await
    }

    /// Sends a command of which the answer comes in several steps; gives its tag.
    ///
    /// # Errors
    /// [`ImapError`].
    pub async fn begin(&mut self, text: &str) -> Result<String, ImapError> {
        let tag = self.next_tag();
        self.send_line(&format!("{tag} {text}")).await?;
        Ok(tag)
    }

    /// Reads responses until the server wants more (`None`) or answers `tag`.
    ///
    /// # Errors
    /// [`ImapError`].
    pub async fn until(
        &mut self,
        tag: Option<&str>,
        see: &mut (impl FnMut(&Response<'_>) + Send),
    ) -> Result<Option<Status>, ImapError> {
        loop {
            let bytes = self.response(PATIENCE).await?;
            let Some(response) = parse(&bytes) else {
                tracing::warn!(response = %shown(&bytes), "the mail server sent something that is not understood");
                continue;
            };
            self.watch(&response)?;
            see(&response);
            match response {
                Response::Continue(_) => return Ok(None),
                Response::Tagged(answered, status) if Some(answered) == tag => {
                    self.note(&status);
                    return Ok(Some(status));
                }
                _ => {}
            }
        }
    }

    /// Reads one response, whatever it is, waiting at most `patience`; gives whether there was one. Dropping the future
    /// loses nothing.
    ///
    /// # Errors
    /// [`ImapError`].
    pub async fn overhear(
        &mut self,
        patience: Duration,
        mut see: impl FnMut(&Response<'_>) + Send,
    ) -> Result<bool, ImapError> {
        match self.response(patience).await {
            Ok(bytes) => {
                if let Some(response) = parse(&bytes) {
                    self.watch(&response)?;
                    see(&response);
                }
                Ok(true)
            }
            Err(ImapError::Silent) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn watch(&mut self, response: &Response<'_>) -> Result<(), ImapError> {
        match response {
            Response::Untagged(status) if status.condition == Condition::Bye => {
                return Err(ImapError::Bye(status.text.clone()));
            }
            Response::Untagged(status) => self.note(status),
            Response::Data(Data::Capability(names)) => self.capabilities = names.clone(),
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, status: &Status) {
        if let Some(names) = status.code_arguments("CAPABILITY") {
            self.capabilities = names.split(' ').map(str::to_ascii_uppercase).collect();
        }
        if status.code_arguments("ALERT").is_some() {
            tracing::warn!(alert = %status.text, "the mail server wants the user to know");
            self.alert = Some(status.text.clone());
        }
    }

    fn next_tag(&mut self) -> String {
        self.tags += 1;
        format!("A{}", self.tags)
    }

    /// Whether a literal may be sent without waiting (RFC 7888).
    fn literal_plus(&self, length: usize) -> bool {
        self.has("LITERAL+") || (self.has("LITERAL-") && length <= 4096)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ImapError> {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        Ok(timeout(PATIENCE, writing).await.map_err(|_| ImapError::Silent)??)
    }

    /// The next response. Dropping the future loses nothing: what was read is in the reader.
    async fn response(&mut self, patience: Duration) -> Result<bytes::Bytes, ImapError> {
        loop {
            if let Some(response) = self.reader.take()? {
                return Ok(response);
            }
            self.reader.buffer().reserve(16 * 1024);
            let reading = self.stream.read_buf(self.reader.buffer());
            if timeout(patience, reading).await.map_err(|_| ImapError::Silent)?? == 0 {
                return Err(ImapError::Bye("without a word".into()));
            }
        }
    }
}

/// `host:port` as what to connect to, and the name that the certificate must be for.
pub(crate) fn server_name(address: &str) -> Result<(String, ServerName<'static>), ImapError> {
    let bad = || ImapError::BadAddress(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    port.parse::<u16>().map_err(|_| bad())?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    Ok((address.to_owned(), ServerName::try_from(bare.to_owned()).map_err(|_| bad())?))
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for good in ["mail.example.com:993", "127.0.0.1:10993", "[::1]:993"] {
            assert!(server_name(good).is_ok(), "{good}");
        }
        for bad in ["", "mail.example.com", "mail.example.com:", "mail.example.com:70000", ":993"] {
            assert!(server_name(bad).is_err(), "{bad}");
        }
    }
}
