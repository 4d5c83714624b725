//! A mail program on the real mail server that names itself as it likes.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use mail_rig::MailRig;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub const ALICE: &str = "alice@example.test";
pub const BOB: &str = "bob@example.test";
pub const PASSWORD: &str = "right pw";

/// Longest wait for anything; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that connects, says who it is, and logs in.
pub async fn login(server: &MailRig, user: &str, password: &str, id: Option<&str>) -> Result<Session, Refused> {
    let start = Instant::now();
    let mut session = Session::connect(server).await;
    if let Some(id) = id {
        session.command(&format!("ID ({id})")).await;
    }
    let answer = session.command(&format!("LOGIN {user} \"{password}\"")).await;
    session.took = start.elapsed();
    if answer.starts_with("OK") { Ok(session) } else { Err(Refused { answer, took: start.elapsed() }) }
}

/// A login that was refused.
#[derive(Debug)]
pub struct Refused {
    /// `NO …`.
    pub answer: String,
    pub took: Duration,
}

/// A client's connection.
#[derive(Debug)]
pub struct Session {
    stream: BufReader<TlsStream<tokio::net::TcpStream>>,
    /// How long connecting and logging in took.
    pub took: Duration,
}

impl Session {
    async fn connect(server: &MailRig) -> Self {
        lockstep_server::tls::install_provider();
        let ca = fs::read_to_string(server.certificate()).unwrap();
        let tls = TlsConnector::from(Arc::new(tls_trust::client_config(Some(&ca)).unwrap()));
        let tcp = tokio::net::TcpStream::connect(("127.0.0.1", server.imaps)).await.unwrap();
        let stream = BufReader::new(tls.connect("localhost".try_into().unwrap(), tcp).await.unwrap());
        let mut session = Self { stream, took: Duration::ZERO };
        assert!(session.line().await.unwrap().starts_with("* OK"));
        session
    }

    /// Sends a command; gives its tagged answer.
    pub async fn command(&mut self, command: &str) -> String {
        self.stream.write_all(format!("a {command}\r\n").as_bytes()).await.unwrap();
        loop {
            let line = self.line().await.unwrap_or_else(|| panic!("the connection ended during {command}"));
            if let Some(answer) = line.strip_prefix("a ") {
                return answer.to_owned();
            }
        }
    }

    /// Idles in the inbox.
    pub async fn idle(mut self) -> Self {
        assert!(self.command("SELECT INBOX").await.starts_with("OK"));
        self.stream.write_all(b"a IDLE\r\n").await.unwrap();
        assert!(self.line().await.unwrap().starts_with('+'));
        self
    }

    /// Waits for the end of the connection; `false` when it does not come.
    pub async fn ends_within(&mut self, limit: Duration) -> bool {
        let end = async { while self.line().await.is_some() {} };
        timeout(limit, end).await.is_ok()
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.stream.read_line(&mut line)).await.expect("the mail server says nothing");
        // A connection that is reset is over as well.
        (read.unwrap_or(0) > 0).then(|| line.trim_end().to_owned())
    }
}

pub fn connector(version: &str) -> String {
    format!("\"name\" \"lockstep-connector\" \"version\" \"{version}\"")
}
