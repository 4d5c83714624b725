//! Whether this program can run here. The updater asks it, as a user without rights, before and after it makes a version the
//! active one; the answer decides whether the version stays.
//!
//! It does what a start does that no user has to be there for: it makes a mail store as the version before had it, migrates it,
//! lets the local servers serve it, and logs in as a mail program would.
//!
//! | attack | answer |
//! |---|---|
//! | a user fills `/tmp`, so that a good version looks broken | nothing is written to any disk: the store is in memory |
//! | a user takes every port, or all but two, for the same reason or to hide a broken version | the servers are spoken to through memory: no port is needed |
//! | a user keeps the computer busy | no step has a limit of its own: the updater's, which counts as late and not as broken, is the only one |

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::STANDARD};
use mail_store::{Flags, Schema, Store};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, duplex},
    sync::watch,
};

use crate::local::{self, Credentials, LocalContext, StoreHandle};

const USER: &str = "self-check@localhost";
const PASSWORD: &str = "self-check";
const MESSAGE: &[u8] = b"From: self-check@localhost\r\nSubject: self-check\r\n\r\nIt works.\r\n";
/// Bytes on their way between client and server.
const PIPE: usize = 64 * 1024;

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

/// Tries everything that a start needs: it writes no file, reaches no other computer, and needs no environment.
///
/// # Errors
/// [`SelfCheckError`].
pub fn run(version: &str) -> Result<(), SelfCheckError> {
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

async fn servers(store: Store, version: &str) -> Result<(), SelfCheckError> {
    let (_nothing_to_tell, notices) = watch::channel(None);
    let (_never_stopped, stopping) = watch::channel(false);
    let context = LocalContext {
        store: StoreHandle::start(store),
        credentials: Arc::new(Credentials::new(USER, PASSWORD)),
        notices,
        version: version.into(),
    };

    let login = format!("1 LOGIN {USER} {PASSWORD}\r\n");
    let mut steps = vec![("", "* OK"), (&login, "1 OK"), ("2 SELECT INBOX\r\n", "* 1 EXISTS"), ("", "2 OK")];
    steps.extend([("3 LOGOUT\r\n", "* BYE"), ("", "3 OK")]);
    let (ours, theirs) = duplex(PIPE);
    let server = local::serve_imap_client(theirs, context.clone(), stopping.clone());
    tried("IMAP", tokio::try_join!(server, talk(ours, &steps)))?;

    let login = format!("AUTH PLAIN {}\r\n", STANDARD.encode(format!("\0{USER}\0{PASSWORD}")));
    let steps = [("", "220"), ("EHLO localhost\r\n", "250 "), (&login, "235"), ("QUIT\r\n", "221")];
    let (ours, theirs) = duplex(PIPE);
    let server = local::serve_submission_client(theirs, context, stopping);
    tried("submission", tokio::try_join!(server, talk(ours, &steps)))
}

/// Sends, and waits each time for a line that begins like this; one that refuses ends it.
async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin, steps: &[(&str, &str)]) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    for (send, wanted) in steps {
        stream.write_all(send.as_bytes()).await?;
        let mut line = String::new();
        while !line.starts_with(wanted) {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Err(io::Error::other(format!("it ended before {wanted:?}")));
            }
            if !line.starts_with(wanted) && is_refusal(&line) {
                return Err(io::Error::other(format!("it says {line:?} instead of {wanted:?}")));
            }
        }
    }
    Ok(())
}

/// Tagged `NO` and `BAD`, `BYE` (RFC 3501, section 7.1), and replies of 400 and above (RFC 5321, section 4.2.1).
fn is_refusal(line: &str) -> bool {
    let mut words = line.split(' ');
    match (words.next(), words.next()) {
        (Some("*"), Some(word)) => word == "BYE",
        (_, Some("NO" | "BAD")) => true,
        _ => line.starts_with(['4', '5']),
    }
}

fn tried(server: &'static str, outcome: io::Result<((), ())>) -> Result<(), SelfCheckError> {
    outcome.map(drop).map_err(|error| SelfCheckError::Server { server, why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_build_passes_and_a_bad_version_does_not() {
        for version in ["7.1.0", "7.2.0", "7.3.0", "0.1.0"] {
            run(version).unwrap();
        }
        assert!(run("seven").is_err());
    }

    #[tokio::test]
    async fn a_server_that_refuses_or_leaves_is_broken() {
        for (says, words) in [
            (&b"* OK hello\r\n1 NO no\r\n"[..], "instead of \"1 OK\""),
            (b"* OK hello\r\n* BYE\r\n", "ended before \"1 OK\""),
            (b"* OK hello\r\n* BYE now\r\n", "instead of \"1 OK\""),
            (b"535 5.7.8 wrong\r\n", "instead of \"* OK\""),
        ] {
            let (ours, mut theirs) = duplex(PIPE);
            theirs.write_all(says).await.unwrap();
            theirs.shutdown().await.unwrap();
            let said = talk(ours, &[("", "* OK"), ("1 LOGIN a b\r\n", "1 OK")]).await.unwrap_err();
            assert!(said.to_string().contains(words), "{said}");
        }
    }
}
