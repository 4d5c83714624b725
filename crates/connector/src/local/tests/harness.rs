//! Both servers on ephemeral ports, with a store full of samples.

use super::samples;
use crate::local::{Credentials, LocalContext, StoreHandle, serve_imap, serve_submission};
use mail_store::{Flags, FolderId, RemoteFolder, RemoteMessage, Store};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(super) const USER: &str = "alice@example.test";
pub(super) const PASSWORD: &str = "local \"secret\" \\ 1";

/// Running servers; they stop when this is dropped.
pub(super) struct Servers {
    pub(super) store: StoreHandle,
    pub(super) inbox: FolderId,
    pub(super) imap: u16,
    pub(super) smtp: u16,
    pub(super) notices: watch::Sender<Option<String>>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) dir: tempfile::TempDir,
}

impl Servers {
    pub(super) async fn start() -> Servers {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("mail.sqlite")).unwrap();
        let inbox = fill(&mut store);
        let store = StoreHandle::start(store);
        let (stop, shutdown) = watch::channel(false);
        let (notices, notices_seen) = watch::channel(None);
        let context = LocalContext {
            store: store.clone(),
            credentials: Arc::new(Credentials::new(USER, PASSWORD)),
            notices: notices_seen,
            version: "7.3.0".into(),
        };
        let (imap_listener, smtp_listener) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let imap = imap_listener.local_addr().unwrap().port();
        let smtp = smtp_listener.local_addr().unwrap().port();
        tokio::spawn(serve_imap(imap_listener, context.clone(), shutdown.clone()));
        tokio::spawn(serve_submission(smtp_listener, context, shutdown));
        Servers { store, inbox, imap, smtp, notices, stop, dir }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// INBOX with all samples, as the mail server delivered them, and some folders. The journal is empty.
fn fill(store: &mut Store) -> FolderId {
    let folder = |name: &str, special_use: Option<&str>| RemoteFolder {
        name: name.into(),
        delimiter: "/".into(),
        special_use: special_use.map(Into::into),
        subscribed: true,
        selectable: true,
    };
    let folders = [
        folder("INBOX", None),
        folder("Drafts", Some("\\Drafts")),
        folder("Sent", Some("\\Sent")),
        folder("Trash", Some("\\Trash")),
        folder("Entwürfe/2025 & älter", None),
    ];
    store.apply_remote_folders(&folders, 1_767_000_000).unwrap();
    let inbox = store.folder_by_name("INBOX").unwrap().unwrap().id;
    for (i, (_, body)) in samples::all().iter().enumerate() {
        let flags = if i == 0 { Flags::parse("\\Seen") } else { Flags::new() };
        let remote = RemoteMessage { uid: i as u32 + 101, flags: &flags, date: 1_767_259_800 + i as i64, body };
        store.apply_remote_messages(inbox, &[remote]).unwrap();
    }
    inbox
}

/// Runs a client program to its end and gives what it printed; fails the test if it is not there, fails, or hangs.
pub(super) async fn run(program: &str, package: &str, arguments: &[&str], home: &Path) -> String {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).env("HOME", home).env("LC_ALL", "C.UTF-8").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|e| {
        panic!("{program} is needed for this test and cannot be started ({e}); install the package {package}")
    });
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output())
        .await
        .unwrap_or_else(|_| panic!("{program} hangs"))
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{printed}\n{complaints}", output.status);
    printed
}
