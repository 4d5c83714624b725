//! Whether this program can run here. The updater asks it, as a user without rights, before and after it makes a version the
//! active one; the answer decides whether the version stays.
//!
//! It does what a start does that no user has to be there for: it makes a mail store as the version before had it, migrates it,
//! starts the local servers on it, and logs in as a mail program would.
//!
//! | attack | answer |
//! |---|---|
//! | a user fills `/tmp`, so that a good version looks broken | nothing is written to any disk: the store is in memory |
//! | a user takes every port, for the same reason | then the servers are not tried, and the rest counts; it is said in words |
//! | a user connects to the servers while they are up | they hold one made-up message, and are gone within a second |

use std::{
    io,
    net::Ipv4Addr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use mail_store::{Flags, Schema, Store};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use crate::local::{self, Credentials, LocalContext, StoreHandle};

const USER: &str = "self-check@localhost";
const PASSWORD: &str = "self-check";
const MESSAGE: &[u8] = b"From: self-check@localhost\r\nSubject: self-check\r\n\r\nIt works.\r\n";
/// A dialogue with one's own server takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why it cannot.
#[derive(Debug, thiserror::Error)]
pub enum SelfCheckError {
    /// SQLite or its schema.
    #[error("the mail store cannot be made or migrated")]
    Store(#[from] mail_store::Error),
    /// The migration lost something.
    #[error("the mail store was migrated to {found:?} instead of {wanted:?}, or its message is gone")]
    Migrated {
        /// What came of it.
        found: Schema,
        /// What should have.
        wanted: Schema,
    },
    /// The system's authorities or the TLS library.
    #[error("TLS cannot be set up")]
    Tls(#[from] tls_trust::TlsTrustError),
    /// The program's own version.
    #[error(transparent)]
    Version(#[from] protocol::product::BadVersion),
    /// The runtime.
    #[error("the runtime cannot be started")]
    Runtime(#[source] io::Error),
    /// A local server.
    #[error("the local {server} server does not work: {why}")]
    Server {
        /// Which one.
        server: &'static str,
        /// In words.
        why: String,
    },
}

/// How much could be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// Everything.
    All,
    /// Not the local servers: this computer has no port to spare.
    WithoutServers,
}

/// Tries everything that a start needs: it writes no file, reaches no other computer, and needs no environment.
///
/// # Errors
/// [`SelfCheckError`].
pub fn run(version: &str) -> Result<Tried, SelfCheckError> {
    let limit = crate::opening::schema_of(&protocol::product::parse_version(version)?);
    let store = migrated(limit)?;
    tls_trust::check()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SelfCheckError::Runtime)?;
    runtime.block_on(servers(store, version))
}

/// A store with one message, made by the version before and migrated by this one.
fn migrated(wanted: Schema) -> Result<Store, SelfCheckError> {
    let before = match wanted {
        Schema::One | Schema::Two => Schema::One,
        Schema::Three => Schema::Two,
    };
    // Nowhere but in memory, and there for as long as somebody has it open (SQLite, "In-Memory Databases").
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = format!("file:lockstep-self-check-{number}?mode=memory&cache=shared");
    let mut old = Store::open_limited(Path::new(&path), before, &mut |_| {})?;
    let inbox = old.folders()?.first().map(|folder| folder.id);
    let Some(inbox) = inbox else { return Err(SelfCheckError::Migrated { found: before, wanted }) };
    old.append(inbox, MESSAGE, &Flags::default(), 0, 0)?;
    let new = Store::open_limited(Path::new(&path), wanted, &mut |_| {})?;
    let found = new.schema();
    if found != wanted || new.messages(inbox)?.len() != 1 {
        return Err(SelfCheckError::Migrated { found, wanted });
    }
    Ok(new)
}

async fn servers(store: Store, version: &str) -> Result<Tried, SelfCheckError> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (imap, smtp) = match (bind().await, bind().await) {
        (Ok(imap), Ok(smtp)) => (imap, smtp),
        (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::AddrInUse => {
            return Ok(Tried::WithoutServers);
        }
        (Err(error), _) | (_, Err(error)) => return Err(broken("IMAP")(error)),
    };
    let to_imap = imap.local_addr().map_err(broken("IMAP"))?;
    let to_smtp = smtp.local_addr().map_err(broken("submission"))?;
    let (_nothing_to_tell, notices) = watch::channel(None);
    let (stop, stopping) = watch::channel(false);
    let context = LocalContext {
        store: StoreHandle::start(store),
        credentials: Arc::new(Credentials::new(USER, PASSWORD)),
        notices,
        version: version.into(),
    };
    let imap = tokio::spawn(local::serve_imap(imap, context.clone(), stopping.clone()));
    let smtp = tokio::spawn(local::serve_submission(smtp, context, stopping));

    let login = format!("1 LOGIN {USER} {PASSWORD}\r\n");
    let steps = [("", "* OK"), (&login, "1 OK"), ("2 SELECT INBOX\r\n", "* 1 EXISTS"), ("", "2 OK")];
    talk(to_imap, &steps).await.map_err(broken("IMAP"))?;
    let login = format!("AUTH PLAIN {}\r\n", STANDARD.encode(format!("\0{USER}\0{PASSWORD}")));
    let steps = [("", "220"), ("EHLO localhost\r\n", "250 "), (&login, "235"), ("QUIT\r\n", "221")];
    talk(to_smtp, &steps).await.map_err(broken("submission"))?;

    stop.send_replace(true);
    for (server, ending) in [("IMAP", imap), ("submission", smtp)] {
        let ended = timeout(PATIENCE, ending).await.map_err(|e| broken(server)(e.into()))?;
        ended.map_err(|e| broken(server)(e.into()))?.map_err(|e| broken(server)(io::Error::other(e)))?;
    }
    Ok(Tried::All)
}

/// Sends, and waits each time for a line that begins like this.
async fn talk(to: std::net::SocketAddr, steps: &[(&str, &str)]) -> io::Result<()> {
    let dialogue = async {
        let mut stream = BufReader::new(TcpStream::connect(to).await?);
        for (send, wanted) in steps {
            stream.write_all(send.as_bytes()).await?;
            let mut line = String::new();
            while !line.starts_with(wanted) {
                line.clear();
                if stream.read_line(&mut line).await? == 0 {
                    return Err(io::Error::other(format!("it ended before {wanted:?}")));
                }
            }
        }
        Ok(())
    };
    timeout(PATIENCE, dialogue).await?
}

fn broken(server: &'static str) -> impl FnOnce(io::Error) -> SelfCheckError {
    move |error| SelfCheckError::Server { server, why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_build_passes_and_a_bad_version_does_not() {
        for version in ["7.1.0", "7.2.0", "7.3.0", "0.1.0"] {
            assert_eq!(run(version).unwrap(), Tried::All, "{version}");
        }
        assert!(run("seven").is_err());
    }

    #[tokio::test]
    async fn a_server_that_says_something_else_or_nothing_is_broken() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let to = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"* OK hello\r\n1 NO\r\n").await.unwrap();
        });
        let said = talk(to, &[("", "* OK"), ("1 LOGIN a b\r\n", "1 OK")]).await.unwrap_err();
        assert!(said.to_string().contains("ended before \"1 OK\"") || said.kind() == io::ErrorKind::ConnectionReset);
    }
}
