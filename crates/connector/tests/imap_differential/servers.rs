//! The two servers: ours, and a real Dovecot's `imap` program, logged in beforehand.

use super::client::Client;
use lockstep_connector::local::{Credentials, LocalContext, StoreHandle, serve_imap};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Our server on an ephemeral port, with an empty mailbox.
pub struct Ours {
    runtime: tokio::runtime::Runtime,
    port: u16,
    _stop: watch::Sender<bool>,
    _notices: watch::Sender<Option<String>>,
    _dir: tempfile::TempDir,
}

impl Ours {
    pub fn start() -> Ours {
        let dir = tempfile::tempdir().unwrap();
        let store = StoreHandle::open(&dir.path().join("mail.sqlite")).unwrap();
        let (stop, shutdown) = watch::channel(false);
        let (notices, seen) = watch::channel(None);
        let credentials = Arc::new(Credentials::new("alice", "pw"));
        let context = LocalContext { store, credentials, notices: seen, version: "7.3.0".into() };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(serve_imap(listener, context, shutdown));
        Ours { runtime, port, _stop: stop, _notices: notices, _dir: dir }
    }

    /// A client that has logged in.
    pub fn client(&self) -> Client {
        let _in_runtime = self.runtime.enter();
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut client = Client::new(Box::new(stream.try_clone().unwrap()), Box::new(stream));
        let answer = client.run(&super::client::text("LOGIN alice pw"));
        assert_eq!(answer.verdict(), "OK", "{answer:?}");
        client
    }
}

/// A Dovecot user's mailbox; each client is a process of its own on it.
pub struct Dovecot {
    dir: tempfile::TempDir,
    processes: Vec<Child>,
}

const UID: &str = "60017";

impl Dovecot {
    pub fn start() -> Dovecot {
        let dir = tempfile::tempdir().unwrap();
        let d = dir.path().display();
        // Keywords as long as ours; a delimiter as ours.
        let configuration = format!(
            "mail_location = sdbox:{d}/mail\nbase_dir = {d}/run\nlog_path = {d}/log\nstats_writer_socket_path =\n\
             mail_max_keyword_length = 128\nprotocols = imap\nnamespace inbox {{\n  inbox = yes\n  separator = /\n}}\n"
        );
        std::fs::write(dir.path().join("dovecot.conf"), configuration).unwrap();
        for sub in ["run", "mail", "home"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        if is_root() {
            let chown = Command::new("chown").args(["-R", &format!("{UID}:{UID}")]).arg(dir.path()).status().unwrap();
            assert!(chown.success());
        }
        Dovecot { dir, processes: Vec::new() }
    }

    pub fn client(&mut self) -> Client {
        let program = "/usr/lib/dovecot/imap";
        assert!(Path::new(program).exists(), "{program} is needed for this test; install the package dovecot-imapd");
        let mut command = Command::new(program);
        if is_root() {
            command = Command::new("setpriv");
            command.args(["--reuid", UID, "--regid", UID, "--clear-groups", program]);
        }
        let mut child = command
            .arg("-c")
            .arg(self.dir.path().join("dovecot.conf"))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("TZ", "UTC")
            .env("USER", "alice")
            .env("HOME", self.dir.path().join("home"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(self.dir.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let client = Client::new(Box::new(child.stdout.take().unwrap()), Box::new(child.stdin.take().unwrap()));
        self.processes.push(child);
        client
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        for child in &mut self.processes {
            // It may have ended with its standard input.
            let _ = child.kill();
            child.wait().unwrap();
        }
    }
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}
