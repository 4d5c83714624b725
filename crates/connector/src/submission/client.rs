//! One connection to the mail server's submission service.
//!
//! | attack | answer |
//! |---|---|
//! | STARTTLS taken out of the offer | without it nothing more is said |
//! | replies sent ahead, before TLS began | refused |
//! | an address that holds another command | [`SubmitError::BadAddress`] |

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::reply::{self, BadReply, Reply};
use crate::{
    settings::MailSettings,
    upstream::connection::{ImapError, server_name},
};

/// How long the server may take for a reply; after a message more (RFC 5321, section 4.5.3.2).
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_AFTER_DATA: Duration = Duration::from_secs(600);
/// How long a reply is awaited from a server that has closed its ears.
const LAST_WORDS: Duration = Duration::from_secs(2);
const CONNECT: Duration = Duration::from_secs(10);

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The server cannot be reached, or the connection broke.
    #[error("the mail server's submission service cannot be used")]
    Io(#[from] std::io::Error),
    /// It stopped answering.
    #[error("the mail server's submission service does not answer")]
    Silent,
    /// It does not speak the protocol.
    #[error(transparent)]
    BadReply(#[from] BadReply),
    /// It offers no TLS, or cheats.
    #[error("the mail server's submission service offers no safe connection")]
    NoTls,
    /// The configured address is not one.
    #[error("the address of the submission service is not understood")]
    BadServer(#[source] ImapError),
    /// It does not let the user in.
    #[error("the mail server refused the login for sending: {}", .0.text())]
    LoginRefused(Reply),
    /// It refused the message (4xx: not now, 5xx: never).
    #[error("the mail server refused {what}: {}", .reply.text())]
    Refused {
        /// The sender, a recipient, or the message.
        what: String,
        /// What it said.
        reply: Reply,
    },
    /// The connection broke before the message's end could be sent.
    #[error("the mail server's submission service ended the connection")]
    Unfinished(#[source] std::io::Error),
    /// An envelope address that cannot be written in a command.
    #[error("{0:?} cannot be an address")]
    BadAddress(String),
}

impl SubmitError {
    /// Whether trying again makes no sense.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Refused { reply, .. } => reply.is_permanent(),
            Self::BadAddress(_) => true,
            _ => false,
        }
    }

    /// Whether this is the mail server's answer, or what makes asking it needless: the connection is not at fault.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::BadAddress(_))
    }

    /// Whether it is certain that the mail server does not have the message.
    pub fn is_certain(&self) -> bool {
        self.is_answer() || matches!(self, Self::Unfinished(_))
    }
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// Empty for the null sender.
    pub sender: &'a str,
    /// At least one.
    pub recipients: &'a [String],
    /// The message holds bytes beyond ASCII.
    pub body8bit: bool,
    /// Addresses or header hold characters beyond ASCII.
    pub smtputf8: bool,
}

/// A connection that is logged in.
#[derive(Debug)]
pub struct Submission {
    wire: Wire<TlsStream<TcpStream>>,
    hello: Reply,
    /// Nothing is left over from the message before.
    whole: bool,
}

impl Submission {
    /// Connects, secures the connection and logs in.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn open(settings: &MailSettings) -> Result<Self, SubmitError> {
        let (host, name) = server_name(&settings.server.submission).map_err(SubmitError::BadServer)?;
        let stream = timeout(CONNECT, TcpStream::connect(&host)).await.map_err(|_| SubmitError::Silent)??;
        stream.set_nodelay(true)?;
        let tls = TlsConnector::from(Arc::clone(&settings.tls));
        let secured =
            |stream| async { timeout(CONNECT, tls.connect(name, stream)).await.map_err(|_| SubmitError::Silent) };
        let wire = if settings.server.submission_starttls {
            let mut plain = Wire::new(stream);
            plain.greeting().await?;
            let hello = plain.hello().await?;
            // RFC 3207: without TLS nothing more is said, and nothing said before it counts after it.
            if hello.extension("STARTTLS").is_none() || !plain.ask("STARTTLS", PATIENCE).await?.is_positive() {
                return Err(SubmitError::NoTls);
            }
            Wire::new(secured(plain.into_stream()?).await??)
        } else {
            let mut wire = Wire::new(secured(stream).await??);
            wire.greeting().await?;
            wire
        };
        let mut wire = wire;
        let hello = wire.hello().await?;
        let mut submission = Self { wire, hello, whole: true };
        submission.login(settings).await?;
        Ok(submission)
    }

    async fn login(&mut self, settings: &MailSettings) -> Result<(), SubmitError> {
        let mechanisms = self.hello.extension("AUTH").unwrap_or_default().to_ascii_uppercase();
        let has = |name: &str| mechanisms.split(' ').any(|mechanism| mechanism == name);
        let reply = if has("LOGIN") && !has("PLAIN") {
            self.wire.ask("AUTH LOGIN", PATIENCE).await?;
            self.wire.ask(&STANDARD.encode(&settings.user), PATIENCE).await?;
            self.wire.ask(&STANDARD.encode(&settings.password), PATIENCE).await?
        } else {
            // PLAIN (RFC 4616): authorization id (empty), user, password.
            let secret = STANDARD.encode(format!("\0{}\0{}", settings.user, settings.password));
            self.wire.ask(&format!("AUTH PLAIN {secret}"), PATIENCE).await?
        };
        if reply.code == 235 { Ok(()) } else { Err(SubmitError::LoginRefused(reply)) }
    }

    /// Sends one message, all but its end. Until [`Submission::finish`] the server cannot have taken it. Gives the
    /// recipients that the server refused for good, with the reason; there is at least one other.
    ///
    /// # Errors
    /// [`SubmitError`]; after `Refused` and `BadAddress` the connection can be used for the next message if it
    /// [is whole](Submission::is_whole).
    pub async fn begin(
        &mut self,
        envelope: Envelope<'_>,
        message: &[u8],
    ) -> Result<Vec<(String, String)>, SubmitError> {
        for address in envelope.recipients.iter().map(String::as_str).chain([envelope.sender]) {
            checked(address)?;
        }
        let begun = self.transaction(envelope, message).await;
        self.after_a_refusal(begun).await
    }

    /// Sends the message's end; gives what the server said when it took the message.
    ///
    /// # Errors
    /// [`SubmitError`]; see [`SubmitError::is_certain`].
    pub async fn finish(&mut self) -> Result<String, SubmitError> {
        let finished = self.end().await;
        self.after_a_refusal(finished).await
    }

    /// Whether the connection can be used for another message.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// A refusal counts even if the server closes the connection with it.
    async fn after_a_refusal<T>(&mut self, outcome: Result<T, SubmitError>) -> Result<T, SubmitError> {
        if let Err(SubmitError::Refused { .. }) = &outcome {
            self.whole = self.wire.ask("RSET", PATIENCE).await.is_ok_and(|reply| reply.is_positive());
        }
        outcome
    }

    async fn transaction(
        &mut self,
        envelope: Envelope<'_>,
        message: &[u8],
    ) -> Result<Vec<(String, String)>, SubmitError> {
        let mut parameters = String::new();
        if self.hello.extension("SIZE").is_some() {
            parameters.push_str(&format!(" SIZE={}", message.len()));
        }
        if envelope.body8bit && self.hello.extension("8BITMIME").is_some() {
            parameters.push_str(" BODY=8BITMIME");
        }
        if envelope.smtputf8 && self.hello.extension("SMTPUTF8").is_some() {
            parameters.push_str(" SMTPUTF8");
        }
        let reply = self.wire.ask(&format!("MAIL FROM:<{}>{parameters}", envelope.sender), PATIENCE).await?;
        accepted(&reply, "the sender")?;

        let mut refused = Vec::new();
        let mut last = None;
        for recipient in envelope.recipients {
            let reply = self.wire.ask(&format!("RCPT TO:<{recipient}>"), PATIENCE).await?;
            if reply.is_positive() {
                continue;
            }
            // Not now, for one of many: nobody gets it now, since a second try for one would be a second message for all.
            if !reply.is_permanent() {
                return Err(SubmitError::Refused { what: format!("the recipient {recipient}"), reply });
            }
            refused.push((recipient.clone(), reply.text()));
            last = Some((recipient, reply));
        }
        if let Some((recipient, reply)) = last.filter(|_| refused.len() == envelope.recipients.len()) {
            return Err(SubmitError::Refused { what: format!("the recipient {recipient}"), reply });
        }
        accepted(&self.wire.ask("DATA", PATIENCE).await?, "the message")?;
        if let Err(error) = self.wire.write(&reply::lines(message)).await {
            // A server that refuses a message before it has all of it says so and closes.
            match self.wire.reply(LAST_WORDS).await {
                Ok(reply) => accepted(&reply, "the message")?,
                Err(_) => return Err(error),
            }
            return Err(error);
        }
        Ok(refused)
    }

    async fn end(&mut self) -> Result<String, SubmitError> {
        // All before it is with the operating system, and these few bytes go as one piece or not at all.
        self.wire.write(reply::END).await.map_err(|error| match error {
            SubmitError::Io(error) => SubmitError::Unfinished(error),
            other => other,
        })?;
        let reply = self.wire.reply(PATIENCE_AFTER_DATA).await?;
        accepted(&reply, "the message")?;
        Ok(reply.text())
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        if let Err(error) = self.wire.ask("QUIT", Duration::from_secs(5)).await {
            tracing::debug!(%error, "the submission service did not say goodbye");
        }
    }
}

fn accepted(reply: &Reply, what: &str) -> Result<(), SubmitError> {
    if reply.is_positive() {
        return Ok(());
    }
    Err(SubmitError::Refused { what: what.to_owned(), reply: reply.clone() })
}

/// An address that ends neither its brackets nor its line.
fn checked(address: &str) -> Result<(), SubmitError> {
    let bad = address.len() > 512 || address.chars().any(|c| c.is_control() || matches!(c, '<' | '>' | ' '));
    if bad { Err(SubmitError::BadAddress(address.chars().take(100).collect())) } else { Ok(()) }
}

#[derive(Debug)]
struct Wire<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    fn into_stream(self) -> Result<S, SubmitError> {
        if self.buffer.is_empty() { Ok(self.stream) } else { Err(SubmitError::NoTls) }
    }

    async fn greeting(&mut self) -> Result<(), SubmitError> {
        let reply = self.reply(PATIENCE).await?;
        accepted(&reply, "the connection")
    }

    async fn hello(&mut self) -> Result<Reply, SubmitError> {
        // RFC 5321, section 4.1.3: an address literal where the client has no name of its own.
        let reply = self.ask("EHLO [127.0.0.1]", PATIENCE).await?;
        accepted(&reply, "the greeting")?;
        Ok(reply)
    }

    async fn ask(&mut self, line: &str, patience: Duration) -> Result<Reply, SubmitError> {
        self.write(format!("{line}\r\n").as_bytes()).await?;
        self.reply(patience).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), SubmitError> {
        // A large message may take long; each piece must make progress.
        for piece in bytes.chunks(64 * 1024) {
            let writing = self.stream.write_all(piece);
            timeout(PATIENCE, writing).await.map_err(|_| SubmitError::Silent)??;
        }
        timeout(PATIENCE, self.stream.flush()).await.map_err(|_| SubmitError::Silent)??;
        Ok(())
    }

    async fn reply(&mut self, patience: Duration) -> Result<Reply, SubmitError> {
        loop {
            if let Some((reply, length)) = reply::parse(&self.buffer)? {
                self.buffer.drain(..length);
                return Ok(reply);
            }
            let read = timeout(patience, self.stream.read_buf(&mut self.buffer)).await;
            if read.map_err(|_| SubmitError::Silent)?? == 0 {
                return Err(SubmitError::Io(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_cannot_hold_a_command() {
        assert!(checked("alice@example.test").is_ok());
        assert!(checked("").is_ok(), "the null sender");
        for bad in ["a@b>\r\nRCPT TO:<c@d", "a b@c", "a<b", &"x".repeat(600)] {
            assert!(matches!(checked(bad), Err(SubmitError::BadAddress(_))), "{bad}");
        }
    }
}
