//! Asks the local updater, by the verbs of [`protocol::ipc`]. It may not be there: then nothing here is an error for
//! the user.

use std::{io, path::PathBuf, time::Duration};

use protocol::ipc::{FrameError, FrameReader, MAX_REPLY, Reply, Request, Status, Verb, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long the updater may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often, and how far apart, the word that this version works is repeated until the updater takes it.
const CONFIRM_TRIES: u32 = 30;
const REFUSALS: u32 = 5;
const CONFIRM_PAUSE: Duration = Duration::from_secs(1);
/// How long to wait for an updater that is not there.
const ABSENT_PAUSE: Duration = Duration::from_secs(60);

/// Why the updater gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpdaterError {
    /// There is no updater on this PC, or it does not run.
    #[error("there is no updater on this computer")]
    Missing,
    /// The connection broke.
    #[error("the updater could not be asked")]
    Io(#[from] io::Error),
    /// It did not answer in time.
    #[error("the updater does not answer")]
    Silent,
    /// What it said is not a reply.
    #[error("the updater's answer is not understood")]
    Frame(#[from] FrameError),
    /// It answered something else, or "no".
    #[error("the updater refused: {0}")]
    Refused(String),
}

/// The updater of one PC.
#[derive(Debug, Clone)]
pub struct UpdaterClient {
    root: PathBuf,
}

impl UpdaterClient {
    /// The updater of the PC whose root directory is `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// How things stand, with a ticket for this user.
    ///
    /// # Errors
    /// [`UpdaterError`].
    pub async fn status(&self) -> Result<Status, UpdaterError> {
        match self.ask(Verb::Status).await? {
            Reply::Status(status) => Ok(*status),
            other => Err(refused(other)),
        }
    }

    /// Makes the updater check in with the site's server now.
    ///
    /// # Errors
    /// [`UpdaterError`].
    pub async fn check_now(&self) -> Result<(), UpdaterError> {
        match self.ask(Verb::CheckNow).await? {
            Reply::Ok { .. } => Ok(()),
            other => Err(refused(other)),
        }
    }

    /// Says that this program works, until the updater counts it, or says for the [`REFUSALS`]th time that it does not (it
    /// counts only the active version's own program), or fails to answer for half a minute. An updater that is not there may
    /// still be starting, as when the computer has just been switched on, so it is looked for again, a minute apart.
    ///
    /// Gives whether it counted.
    pub async fn confirm_healthy(&self) -> bool {
        let mut refusals = 0;
        let mut attempt = 0;
        while attempt < CONFIRM_TRIES {
            attempt += 1;
            match self.ask(Verb::ConfirmHealthy).await {
                Ok(Reply::Ok { detail }) => {
                    tracing::info!(%detail, "told the updater that this version works");
                    return true;
                }
                Ok(other) => {
                    refusals += 1;
                    if refusals == REFUSALS {
                        tracing::info!(reason = %refused(other), "the updater does not count this program");
                        return false;
                    }
                }
                Err(UpdaterError::Missing) => {
                    attempt = 0;
                    tokio::time::sleep(ABSENT_PAUSE).await;
                }
                Err(error) => tracing::debug!(attempt, %error, "cannot tell the updater that this version works"),
            }
            tokio::time::sleep(CONFIRM_PAUSE).await;
        }
        tracing::warn!("the updater could not be told that this version works");
        false
    }

    async fn ask(&self, verb: Verb) -> Result<Reply, UpdaterError> {
        tokio::time::timeout(PATIENCE, self.ask_patiently(verb)).await.map_err(|_| UpdaterError::Silent)?
    }

    async fn ask_patiently(&self, verb: Verb) -> Result<Reply, UpdaterError> {
        let connecting = crate::platform::connect_updater(&self.root).await;
        let mut stream = connecting.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::Unsupported => {
                UpdaterError::Missing
            }
            _ => UpdaterError::Io(e),
        })?;
        stream.write_all(&frame(&Request::new(verb))).await?;
        let mut reader = FrameReader::new(MAX_REPLY);
        let mut buffer = [0; 4096];
        loop {
            if let Some(reply) = reader.next_frame::<Reply>()? {
                return Ok(reply);
            }
            let read = stream.read(&mut buffer).await?;
            if read == 0 {
                return Err(UpdaterError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            reader.push(&buffer[..read]);
        }
    }
}

fn refused(reply: Reply) -> UpdaterError {
    UpdaterError::Refused(match reply {
        Reply::Refused { error } => error,
        _ => "an answer to another question".into(),
    })
}

#[cfg(all(test, unix))]
mod tests {
    use std::path::Path;

    use tokio::net::UnixListener;

    use super::*;

    /// An updater that answers each connection with the next of these lines.
    fn updater(root: &Path, answers: Vec<Vec<u8>>) -> tokio::task::JoinHandle<Vec<Request>> {
        std::fs::create_dir_all(root.join("run/lockstep")).unwrap();
        let listener = UnixListener::bind(root.join("run/lockstep/updater.sock")).unwrap();
        tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 512];
                let read = stream.read(&mut buffer).await.unwrap();
                let mut reader = FrameReader::new(protocol::ipc::MAX_REQUEST);
                reader.push(&buffer[..read]);
                asked.push(reader.next_frame().unwrap().unwrap());
                stream.write_all(&answer).await.unwrap();
            }
            asked
        })
    }

    #[tokio::test]
    async fn an_updater_that_is_not_there_is_looked_for_again() {
        let pc = tempfile::tempdir().unwrap();
        let client = UpdaterClient::new(pc.path());
        assert!(matches!(client.status().await, Err(UpdaterError::Missing)));
        let told = tokio::time::timeout(Duration::from_secs(1), client.confirm_healthy()).await;
        assert!(told.is_err(), "it may still be starting");
    }

    #[tokio::test]
    async fn its_status_is_read() {
        let pc = tempfile::tempdir().unwrap();
        let status = Status {
            updater: "0.1.0".parse().unwrap(),
            device: Some("d1".into()),
            server: "https://site".into(),
            products: Default::default(),
            why: Default::default(),
            ticket: None,
            problem: None,
            last_contact: None,
            decisions: Default::default(),
            pc: Default::default(),
            history: vec![],
        };
        let asked = updater(pc.path(), vec![frame(&Reply::Status(Box::new(status.clone())))]);
        assert_eq!(UpdaterClient::new(pc.path()).status().await.unwrap(), status);
        assert_eq!(asked.await.unwrap(), [Request::new(Verb::Status)]);
    }

    #[tokio::test]
    async fn the_word_that_it_works_is_repeated_until_it_counts() {
        let pc = tempfile::tempdir().unwrap();
        let no = frame(&Reply::Refused { error: "not yet".into() });
        let yes = frame(&Reply::Ok { detail: "confirmed".into() });
        let asked = updater(pc.path(), vec![no, yes]);
        UpdaterClient::new(pc.path()).confirm_healthy().await;
        assert_eq!(asked.await.unwrap(), [Request::new(Verb::ConfirmHealthy); 2]);
    }

    #[tokio::test]
    async fn garbage_and_endless_answers_are_errors() {
        let pc = tempfile::tempdir().unwrap();
        let _asked = updater(pc.path(), vec![b"hello\n".to_vec(), vec![b'x'; MAX_REPLY + 1]]);
        let client = UpdaterClient::new(pc.path());
        assert!(matches!(client.status().await, Err(UpdaterError::Frame(_))));
        assert!(matches!(client.status().await, Err(UpdaterError::Frame(_))));
    }
}
