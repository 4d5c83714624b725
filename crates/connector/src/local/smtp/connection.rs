//! One submission client's socket: lines to the session, messages to the outbox.

use super::data::{DataError, DataReader};
use super::headers;
use super::session::{Action, Envelope, MAX_MESSAGE, Session};
use crate::local::listener::Guest;
use crate::local::room::{Room, Taken};
use crate::local::{CallError, LocalContext, StoreHandle, stopped};
use mail_store::NewOutgoing;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;

/// Longest command line; RFC 4954 wants room for AUTH.
const MAX_LINE: usize = 4096;
/// A client that has not logged in by then is closed, however busy it is.
const TIME_TO_LOG_IN: Duration = Duration::from_secs(60);
/// A message takes its part of the allowance of all connections in steps of this many bytes.
const ROOM_STEP: usize = 1024 * 1024;
/// Silence after which a client is closed (RFC 5321, section 4.5.3.2.7).
const SILENCE: Duration = Duration::from_secs(5 * 60);

struct Connection<S> {
    stream: S,
    session: Session,
    store: StoreHandle,
    shutdown: watch::Receiver<bool>,
    /// Bytes received and not yet used.
    input: Vec<u8>,
    room: Room,
    guest: Guest,
    /// When the client must have logged in.
    log_in_by: Instant,
}

/// Serves one client until it leaves.
pub(in crate::local) async fn run(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    context: LocalContext,
    room: Room,
    guest: Guest,
    shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let session = Session::new(context.credentials, context.version);
    let greeting = session.greeting();
    let mut connection = Connection {
        stream,
        session,
        store: context.store,
        shutdown,
        input: Vec::new(),
        room,
        guest,
        log_in_by: Instant::now() + TIME_TO_LOG_IN,
    };
    connection.write(&greeting).await?;
    connection.serve().await
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    async fn serve(&mut self) -> io::Result<()> {
        loop {
            let action = match self.next_line() {
                Some(Ok(line)) => self.session.line(&line),
                Some(Err(())) => self.session.bad_line(),
                None => {
                    if !self.read().await? {
                        return Ok(());
                    }
                    continue;
                }
            };
            if self.session.is_authenticated() {
                self.guest.logged_in();
            }
            match action {
                Action::Reply(reply) => self.write(&format!("{reply}\r\n")).await?,
                Action::Pause(pause, reply) => {
                    tokio::time::sleep(pause).await;
                    self.write(&format!("{reply}\r\n")).await?;
                }
                Action::PauseAndClose(pause, reply) => {
                    tokio::time::sleep(pause).await;
                    self.write(&format!("{reply}\r\n")).await?;
                    return self.stream.shutdown().await;
                }
                Action::Close(reply) => {
                    self.write(&format!("{reply}\r\n")).await?;
                    return self.stream.shutdown().await;
                }
                Action::Data(reply) => {
                    self.write(&format!("{reply}\r\n")).await?;
                    let mut taken = self.room.nothing();
                    let Some(message) = self.message(&mut taken).await? else { return Ok(()) };
                    let envelope = self.session.take_mail();
                    let reply = self.accept(envelope, message).await;
                    drop(taken);
                    self.write(&format!("{reply}\r\n")).await?;
                }
            }
        }
    }

    /// The next line without its CRLF; an error for a line that is none; `None` if more bytes are needed.
    fn next_line(&mut self) -> Option<Result<Vec<u8>, ()>> {
        let Some(end) = self.input.iter().position(|&b| b == b'\n') else {
            if self.input.len() > MAX_LINE {
                self.input.clear();
                return Some(Err(()));
            }
            return None;
        };
        let rest = self.input.split_off(end + 1);
        let line = std::mem::replace(&mut self.input, rest);
        let fine = line.strip_suffix(b"\r\n").filter(|l| l.len() <= MAX_LINE && !l.contains(&b'\r') && !l.contains(&0));
        Some(fine.map(<[u8]>::to_vec).ok_or(()))
    }

    /// Reads up to the end of data; `None` if the client left before: then nothing was accepted.
    async fn message(&mut self, taken: &mut Taken) -> io::Result<Option<Result<Vec<u8>, DataError>>> {
        let mut reader = DataReader::new(MAX_MESSAGE);
        loop {
            let (used, message) = reader.push(&self.input);
            self.input.drain(..used);
            let steps = reader.kept() / ROOM_STEP;
            if steps > 0 && !taken.grow_to(steps * ROOM_STEP) {
                reader.give_up(DataError::NoRoom);
                taken.give_back();
            }
            if message.is_some() {
                return Ok(message);
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// Makes the message durable, then says so.
    async fn accept(&mut self, envelope: Envelope, message: Result<Vec<u8>, DataError>) -> String {
        let message = match message {
            Ok(message) => message,
            Err(DataError::TooBig) => return "552 5.3.4 messages can have up to 64 MiB".into(),
            Err(DataError::NoRoom) => {
                return "452 4.3.1 too many big messages are under way at the same time; try again in a moment".into();
            }
            Err(DataError::BareLineEnd) => return "550 5.6.11 the message has a CR or LF on its own".into(),
        };
        let now = jiff::Timestamp::now().as_second();
        let message = headers::complete(message, &envelope.sender, now, rand::random());
        let queued = self.store.call(move |store| {
            let Envelope { sender, recipients, body8bit, smtputf8 } = &envelope;
            let new = NewOutgoing { sender, recipients, message: &message, body8bit: *body8bit, smtputf8: *smtputf8 };
            store.queue(&new, now)
        });
        match queued.await {
            Ok(id) => format!("250 2.0.0 queued as {id}"),
            Err(CallError::Store(error)) if error.is_disk_full() => {
                "452 4.3.1 the disk of this PC is full: the message was not accepted".into()
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot queue a message");
                "451 4.3.0 the mail store failed: the message was not accepted".into()
            }
        }
    }

    /// Reads more; false if the client is gone or has to go.
    async fn read(&mut self) -> io::Result<bool> {
        // Else a long message would be read 64 bytes at a time.
        self.input.reserve(16 * 1024);
        let silence = Instant::now() + SILENCE;
        let deadline = if self.session.is_authenticated() { silence } else { self.log_in_by };
        let farewell = tokio::select! {
            read = self.stream.read_buf(&mut self.input) => return Ok(read? > 0),
            () = tokio::time::sleep_until(deadline) => "421 4.4.2 nothing heard for too long\r\n",
            () = stopped(&mut self.shutdown) => "421 4.3.2 the connector is stopping or restarting\r\n",
        };
        self.write(farewell).await?;
        Ok(false)
    }

    async fn write(&mut self, text: &str) -> io::Result<()> {
        tokio::time::timeout(SILENCE, self.stream.write_all(text.as_bytes())).await?
    }
}
