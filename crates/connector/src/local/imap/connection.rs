//! One IMAP client's socket: moves bytes between it and the session, and wakes an idle client when something changes.

use super::framing::{Frame, Framer};
use super::session::{Next, Output, Session};
use crate::local::listener::Guest;
use crate::local::room::Room;
use crate::local::{CallError, LocalContext, StoreHandle, stopped};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;

/// A client that has not logged in by then is closed, however busy it is …
const TIME_TO_LOG_IN: Duration = Duration::from_secs(60);
/// … one that has, after this silence (RFC 3501, section 5.4: at least 30 minutes).
const SILENCE: Duration = Duration::from_secs(31 * 60);
/// A client that does not read its answers is closed after this.
const UNREAD: Duration = Duration::from_secs(5 * 60);

struct Connection<R, W> {
    reader: R,
    writer: W,
    framer: Framer,
    session: Option<Box<Session>>,
    store: StoreHandle,
    notices: watch::Receiver<Option<String>>,
    shutdown: watch::Receiver<bool>,
    buffer: Vec<u8>,
    guest: Guest,
    /// When the client must have logged in.
    log_in_by: Instant,
}

/// Why waiting for input ended.
enum Input {
    Frame(Frame),
    /// The client closed its side.
    End,
    Silence,
    Shutdown,
}

/// Serves one client until it leaves.
pub(in crate::local) async fn run(
    (reader, writer): (impl AsyncRead + Unpin + Send, impl AsyncWrite + Unpin + Send),
    context: LocalContext,
    room: Room,
    guest: Guest,
    shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut session = Box::new(Session::new(context.credentials, context.version));
    let mut notices = context.notices;
    let now = notices.borrow_and_update().clone();
    if let Some(text) = now {
        session.alert(&text);
    }
    let greeting = session.greeting();
    let mut connection = Connection {
        reader,
        writer,
        framer: Framer::new(&room),
        session: Some(session),
        store: context.store,
        notices,
        shutdown,
        buffer: vec![0; 16 * 1024],
        guest,
        log_in_by: Instant::now() + TIME_TO_LOG_IN,
    };
    connection.write(&greeting).await?;
    connection.serve().await
}

impl<R: AsyncRead + Unpin + Send, W: AsyncWrite + Unpin + Send> Connection<R, W> {
    async fn serve(&mut self) -> io::Result<()> {
        loop {
            match self.input().await? {
                Input::Frame(Frame::Continue) => self.write(b"+ go ahead\r\n").await?,
                Input::Frame(frame) => {
                    if self.notices.has_changed().unwrap_or(false) {
                        self.show_notice();
                    }
                    self.session()?.begin(frame);
                    if !self.answer().await? {
                        return self.writer.shutdown().await;
                    }
                }
                Input::End => return Ok(()),
                Input::Silence => return self.write(b"* BYE nothing heard for too long\r\n").await,
                Input::Shutdown => return self.write(b"* BYE the connector is stopping or restarting\r\n").await,
            }
        }
    }

    /// Carries out what the session has begun; false when the connection is to be closed.
    async fn answer(&mut self) -> io::Result<bool> {
        loop {
            let Output { bytes, next, pause } = self.step().await?;
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            self.write(&bytes).await?;
            match next {
                Next::More => {}
                Next::Command | Next::Line => return Ok(true),
                Next::Close => return Ok(false),
                Next::Idle => return self.idle().await,
            }
        }
    }

    /// Until the client sends a line, tells it at once what changes; false when the connection is to be closed.
    async fn idle(&mut self) -> io::Result<bool> {
        let mut folder = self.session()?.selected_folder().map(|id| self.store.watch_folder(id));
        loop {
            // Once after the watch began, so that nothing falls between; then after each change.
            let Output { bytes, next, .. } = self.step().await?;
            self.write(&bytes).await?;
            if next == Next::Close {
                return Ok(false);
            }
            let expect = self.session()?.expect();
            if let Some(frame) = self.framer.next(expect) {
                self.session()?.begin(frame);
                let Output { bytes, next, .. } = self.step().await?;
                self.write(&bytes).await?;
                return Ok(next != Next::Close);
            }
            tokio::select! {
                read = self.reader.read(&mut self.buffer) => match read? {
                    0 => return Ok(false),
                    n => self.framer.push(&self.buffer[..n]),
                },
                () = changed(folder.as_mut()) => {}
                Ok(()) = self.notices.changed() => self.show_notice(),
                () = stopped(&mut self.shutdown) => {
                    self.write(b"* BYE the connector is stopping or restarting\r\n").await?;
                    return Ok(false);
                }
            }
        }
    }

    /// Runs one step of the session on the store's thread.
    async fn step(&mut self) -> io::Result<Output> {
        let mut session = self.session.take().ok_or_else(lost)?;
        let now = jiff::Timestamp::now().as_second();
        let (session, output) = self
            .store
            .call(move |store| {
                let output = session.step(store, now);
                Ok((session, output))
            })
            .await
            .map_err(|error: CallError| io::Error::other(error))?;
        if session.is_authenticated() {
            self.guest.logged_in();
        }
        self.session = Some(session);
        Ok(output)
    }

    async fn input(&mut self) -> io::Result<Input> {
        loop {
            let session = self.session()?;
            let (expect, logged_in) = (session.expect(), session.is_authenticated());
            if let Some(frame) = self.framer.next(expect) {
                return Ok(Input::Frame(frame));
            }
            let deadline = if logged_in { Instant::now() + SILENCE } else { self.log_in_by };
            tokio::select! {
                read = self.reader.read(&mut self.buffer) => match read? {
                    0 => return Ok(Input::End),
                    n => self.framer.push(&self.buffer[..n]),
                },
                () = tokio::time::sleep_until(deadline) => return Ok(Input::Silence),
                () = stopped(&mut self.shutdown) => return Ok(Input::Shutdown),
            }
        }
    }

    fn show_notice(&mut self) {
        let text = self.notices.borrow_and_update().clone();
        if let (Some(text), Some(session)) = (text, &mut self.session) {
            session.alert(&text);
        }
    }

    fn session(&mut self) -> io::Result<&mut Session> {
        self.session.as_deref_mut().ok_or_else(lost)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        tokio::time::timeout(UNREAD, self.writer.write_all(bytes)).await?
    }
}

fn lost() -> io::Error {
    io::Error::other("the session was lost with the mail store")
}

/// Ready when the watched folder changes; never without one.
async fn changed(folder: Option<&mut watch::Receiver<u64>>) {
    match folder {
        // An error means that the store is closed; the next step says so.
        Some(folder) => {
            if folder.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}
