//! Dovecot from the system's packages, IMAP over TLS only, with a private configuration on free loopback ports and without root; and
//! a mail program that names itself as it likes.

use std::{
    fs::{self, File},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub const ALICE: &str = "alice@example.test";
pub const BOB: &str = "bob@example.test";
pub const PASSWORD: &str = "right pw";

/// The account that the mail server runs as when the tests run as root: it comes with Exim's package.
const MAIL_USER: &str = "Debian-exim";

/// Longest wait for anything; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running mail server, stopped when it is dropped.
pub struct Dovecot {
    dir: tempfile::TempDir,
    pub imaps: u16,
    child: Option<Child>,
}

impl Dovecot {
    /// Everything but the start: certificate, accounts, no configuration yet.
    pub fn prepare() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for sub in ["run", "state", "etc", "mail", "home", "log"] {
            fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        let this = Self { dir, imaps: free_port(), child: None };
        let openssl = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout"])
            .arg(this.etc("key.pem"))
            .arg("-out")
            .arg(this.certificate())
            .output()
            .unwrap();
        assert!(openssl.status.success());
        let users = [ALICE, BOB].map(|user| format!("{user}:{{PLAIN}}{PASSWORD}\n"));
        fs::write(this.etc("passwd"), users.concat()).unwrap();
        this
    }

    /// Starts it with these lines of configuration after its own.
    pub fn start(&mut self, lines: &str) {
        fs::write(self.etc("dovecot.conf"), self.configuration(lines)).unwrap();
        if is_root() {
            assert!(Command::new("chown").args(["-R", MAIL_USER]).arg(self.dir.path()).status().unwrap().success());
        }
        let log = File::create(self.dir.path().join("log/start.log")).unwrap();
        let child = as_mail_user("/usr/sbin/dovecot")
            .args(["-F", "-c"])
            .arg(self.etc("dovecot.conf"))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.imaps)).is_err() {
            assert!(start.elapsed() < PATIENCE, "Dovecot does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    pub fn certificate(&self) -> PathBuf {
        self.etc("cert.pem")
    }

    /// `doveadm kick` for this very Dovecot, as `end_sessions` has it.
    pub fn kick(&self) -> String {
        let config = self.etc("dovecot.conf");
        format!("[\"/usr/bin/doveadm\", \"-c\", \"{}\", \"kick\", \"{{user}}\", \"{{address}}\"]", config.display())
    }

    pub fn log(&self) -> String {
        ["log/start.log", "log/dovecot.log"]
            .map(|f| fs::read_to_string(self.dir.path().join(f)).unwrap_or_default())
            .concat()
    }

    /// A client that connects, says who it is, and logs in.
    pub async fn login(&self, user: &str, password: &str, id: Option<&str>) -> Result<Session, Refused> {
        let start = Instant::now();
        let mut session = Session::connect(self).await;
        if let Some(id) = id {
            session.command(&format!("ID ({id})")).await;
        }
        let answer = session.command(&format!("LOGIN {user} \"{password}\"")).await;
        session.took = start.elapsed();
        if answer.starts_with("OK") { Ok(session) } else { Err(Refused { answer, took: start.elapsed() }) }
    }

    fn etc(&self, name: &str) -> PathBuf {
        self.dir.path().join("etc").join(name)
    }

    fn configuration(&self, lines: &str) -> String {
        let d = self.dir.path().display();
        let [user, group, uid, gid] = identity();
        let imaps = self.imaps;
        format!(
            r"base_dir = {d}/run
state_dir = {d}/state
log_path = {d}/log/dovecot.log
protocols = imap
listen = 127.0.0.1
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
first_valid_uid = {uid}
first_valid_gid = {gid}
mail_location = maildir:{d}/mail/%d/%n
mail_max_userip_connections = 100
ssl = required
ssl_cert = <{d}/etc/cert.pem
ssl_key = <{d}/etc/key.pem
auth_mechanisms = plain login
passdb {{
  driver = passwd-file
  args = username_format=%u {d}/etc/passwd
  override_fields = nodelay=y
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={d}/home/%d/%n allow_all_users=no
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
{lines}
"
        )
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // Gone already is as good.
        let _ = Command::new("kill").arg(child.id().to_string()).status();
        let _ = child.wait();
        // Sessions outlive the master.
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).stderr(Stdio::null()).status();
    }
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
    async fn connect(server: &Dovecot) -> Self {
        lockstep_server::tls::install_provider();
        let ca = fs::read_to_string(server.certificate()).unwrap();
        let tls = TlsConnector::from(lockstep_server::mail_login::client_config(Some(&ca)).unwrap());
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

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

fn as_mail_user(program: impl AsRef<Path>) -> Command {
    if !is_root() {
        return Command::new(program.as_ref());
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={MAIL_USER}"), &format!("--regid={MAIL_USER}")]);
    command.args(["--init-groups", "--no-new-privs"]).arg(program.as_ref());
    command
}

fn identity() -> [String; 4] {
    ["-un", "-gn", "-u", "-g"].map(|flag| {
        let mut id = Command::new("id");
        id.arg(flag);
        if is_root() {
            id.arg(MAIL_USER);
        }
        let output = id.output().unwrap();
        assert!(output.status.success(), "the package exim4-daemon-light makes the account {MAIL_USER}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    })
}
