//! Dovecot (IMAP, LMTP, submission) and Exim from the system's packages, with a private configuration, on free ports of
//! the loopback address, and without root: message → submission → Exim → LMTP → maildir → IMAP.

use std::{
    fs::{self, File},
    io::Write,
    net::{TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use protocol::message::MailServer;

pub const ALICE: &str = "alice@example.test";
pub const BOB: &str = "bob@example.test";

/// The account that the mail server runs as when the tests run as root: it comes with Exim's package.
const MAIL_USER: &str = "Debian-exim";

/// A running mail server, stopped when it is dropped.
pub struct MailRig {
    pub dir: tempfile::TempDir,
    imaps: u16,
    submission: u16,
    lmtp: u16,
    exim: u16,
    dovecot_lines: &'static str,
    programs: Vec<Child>,
}

impl MailRig {
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// With more lines at the end of Dovecot's configuration.
    pub fn start_with(dovecot_lines: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let [imaps, submission, lmtp, exim] = free_ports();
        let mut rig = Self { dir, imaps, submission, lmtp, exim, dovecot_lines, programs: vec![] };
        rig.write();
        rig.power_on();
        rig
    }

    pub fn mail_server(&self) -> MailServer {
        MailServer {
            imap: format!("localhost:{}", self.imaps),
            submission: format!("localhost:{}", self.submission),
            submission_starttls: true,
            certificate: Some(fs::read_to_string(self.etc("cert.pem")).unwrap()),
            webmail: None,
        }
    }

    pub fn password(&self, user: &str) -> &'static str {
        if user == ALICE { "alice \"pw\" \\ é" } else { "bob-pw" }
    }

    /// Dovecot's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log/dovecot.log")).unwrap_or_default()
    }

    /// How often somebody logged in.
    pub fn logins(&self) -> usize {
        self.log().lines().filter(|line| line.contains("Login: user=")).count()
    }

    /// How often Exim has dropped a message for one recipient because it had it already.
    pub fn suppressed(&self) -> usize {
        let log = fs::read_to_string(self.dir.path().join("log/exim-mainlog")).unwrap_or_default();
        log.lines().filter(|line| line.contains("R=lockstep_again")).count()
    }

    pub fn power_on(&mut self) {
        let (config, exim) = (self.etc("dovecot.conf"), self.etc("exim.conf"));
        self.spawn("/usr/sbin/dovecot", &["-F", "-c", config.to_str().unwrap()]);
        self.spawn("/usr/sbin/exim4", &["-C", exim.to_str().unwrap(), "-bdf", "-q10s"]);
        for port in [self.imaps, self.submission, self.lmtp, self.exim] {
            let start = Instant::now();
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                assert!(start.elapsed() < Duration::from_secs(20), "the mail server does not start:\n{}", self.log());
                std::thread::sleep(Duration::from_millis(30));
            }
        }
    }

    pub fn power_off(&mut self) {
        for child in &mut self.programs {
            // Gone already is as good.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
        }
        for mut child in self.programs.drain(..) {
            let _ = child.wait();
            // Dovecot's sessions outlive it; a machine that is switched off has none.
            let _ =
                Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).stderr(Stdio::null()).status();
        }
    }

    /// curl as a mail program of the user: one IMAP command in a folder; gives the untagged answers.
    pub fn imap(&self, user: &str, folder: &str, command: &str) -> String {
        let url = format!("imaps://localhost:{}/{folder}", self.imaps);
        self.curl(user, &[&url, "-X", command])
    }

    /// How many messages of the user's folder match.
    pub fn count(&self, user: &str, folder: &str, criteria: &str) -> usize {
        self.search(user, folder, criteria).len()
    }

    pub fn search(&self, user: &str, folder: &str, criteria: &str) -> Vec<String> {
        let found = self.imap(user, folder, &format!("UID SEARCH {criteria}"));
        let line = found.lines().find(|line| line.starts_with("* SEARCH")).unwrap_or_default();
        line.split_whitespace().skip(2).map(str::to_owned).collect()
    }

    /// Another mail program puts a message into a folder.
    pub fn append(&self, user: &str, folder: &str, message: &[u8]) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(message).unwrap();
        let url = format!("imaps://localhost:{}/{folder}", self.imaps);
        self.curl(user, &["-T", file.path().to_str().unwrap(), &url]);
    }

    fn curl(&self, user: &str, arguments: &[&str]) -> String {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "20", "--cacert"]).arg(self.etc("cert.pem"));
        curl.args(["--user", &format!("{user}:{}", self.password(user))]).args(arguments);
        let output = curl.output().unwrap();
        assert!(output.status.success(), "{curl:?}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn etc(&self, name: &str) -> PathBuf {
        self.dir.path().join("etc").join(name)
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) {
        let log = File::options().create(true).append(true).open(self.dir.path().join("log/start.log")).unwrap();
        let mut command = Command::new(program);
        if is_root() {
            command = Command::new("setpriv");
            command.args([&format!("--reuid={MAIL_USER}"), &format!("--regid={MAIL_USER}")]);
            command.args(["--init-groups", "--no-new-privs", program]);
        }
        let child = command
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        self.programs.push(child);
    }

    fn write(&self) {
        for sub in ["run", "state", "etc", "mail", "home", "spool", "spool/lockstep", "log"] {
            fs::create_dir_all(self.dir.path().join(sub)).unwrap();
        }
        let openssl = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .arg("-keyout")
            .arg(self.etc("key.pem"))
            .arg("-out")
            .arg(self.etc("cert.pem"))
            .output()
            .unwrap();
        assert!(openssl.status.success());
        let users = [ALICE, BOB].map(|user| format!("{user}:{{PLAIN}}{}\n", self.password(user)));
        fs::write(self.etc("passwd"), users.concat()).unwrap();
        fs::write(self.etc("dovecot.conf"), self.dovecot_conf()).unwrap();
        fs::write(self.etc("exim.conf"), self.exim_conf()).unwrap();
        if is_root() {
            assert!(Command::new("chown").args(["-R", MAIL_USER]).arg(self.dir.path()).status().unwrap().success());
        }
    }

    fn dovecot_conf(&self) -> String {
        let d = self.dir.path().display();
        let [user, group, uid, gid] = identity();
        let Self { imaps, submission, lmtp, exim, dovecot_lines, .. } = self;
        format!(
            r#"base_dir = {d}/run
state_dir = {d}/state
log_path = {d}/log/dovecot.log
protocols = imap lmtp submission
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
hostname = localhost
auth_mechanisms = plain login
auth_failure_delay = 0
imap_id_retain = yes
imap_id_log = *
passdb {{
  driver = passwd-file
  args = username_format=%u {d}/etc/passwd
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={d}/home/%d/%n allow_all_users=no
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Drafts {{
    auto = subscribe
    special_use = \Drafts
  }}
  mailbox Sent {{
    auto = subscribe
    special_use = \Sent
  }}
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
service submission-login {{
  chroot =
  inet_listener submission {{
    port = {submission}
  }}
  inet_listener submissions {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
submission_relay_host = 127.0.0.1
submission_relay_port = {exim}
submission_relay_trusted = yes
{dovecot_lines}
"#
        )
    }

    fn exim_conf(&self) -> String {
        let d = self.dir.path().display();
        let [_, group, uid, gid] = identity();
        let Self { lmtp, exim, .. } = self;
        format!(
            r"primary_hostname = localhost
spool_directory = {d}/spool
log_file_path = {d}/log/exim-%slog
pid_file_path = {d}/run/exim.pid
admin_groups = {group}
exim_user = {uid}
exim_group = {gid}
never_users =
local_interfaces = 127.0.0.1
daemon_smtp_ports = {exim}
domainlist local_domains = example.test
acl_smtp_rcpt = acl_rcpt
acl_smtp_data = acl_data
deliver_drop_privilege = true
keep_environment =
tls_advertise_hosts =
host_lookup =
LOCKSTEP_CLAIM = $spool_directory/lockstep/$acl_m_lockstep
begin acl
acl_data:
  warn hosts = 127.0.0.1
       condition = ${{if def:h_X-Lockstep-Submission:}}
       set acl_m_lockstep = ${{sha256:${{sender_address}}/$h_X-Lockstep-Submission:}}
  warn remove_header = X-Lockstep-Submission
  accept
acl_rcpt:
  accept domains = +local_domains
         hosts = 127.0.0.1
  deny message = relay not permitted
begin routers
lockstep_again:
  driver = redirect
  no_verify
  condition = ${{if def:acl_m_lockstep}}
  condition = ${{run{{/bin/ln -sT $message_exim_id LOCKSTEP_CLAIM}}{{no}}{{\
              ${{run{{/bin/readlink -n LOCKSTEP_CLAIM}}{{${{if eq{{$value}}{{$message_exim_id}}{{no}}{{yes}}}}}}{{no}}}}}}}}
  data = :blackhole:
dovecot:
  driver = manualroute
  domains = +local_domains
  route_list = * 127.0.0.1
  self = send
  transport = lmtp
begin transports
lmtp:
  driver = smtp
  protocol = lmtp
  port = {lmtp}
begin retry
* * F,2h,1s
begin authenticators
"
        )
    }
}

impl Drop for MailRig {
    fn drop(&mut self) {
        self.power_off();
    }
}

/// Ports that were free a moment ago.
fn free_ports<const N: usize>() -> [u16; N] {
    let held: Vec<TcpListener> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    std::array::from_fn(|i| held[i].local_addr().unwrap().port())
}

pub fn is_root() -> bool {
    rustix::process::getuid().is_root()
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
