//! A real mail server: Dovecot (IMAP, LMTP, submission) and Exim from the system's packages, with a private
//! configuration, on free high ports of the loopback address, and without root.
//!
//! A message goes submission (STARTTLS, login) → Exim → LMTP → maildir → IMAP over TLS. The server's "version" is
//! in its greeting, as with most mail servers, so a version probe asks the running program itself.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    packages::is_root,
    process::{Background, free_port, must, wait_until},
};

/// The mail domain of the story.
pub const DOMAIN: &str = "example.test";

/// A running mail server.
#[derive(Debug)]
pub struct MailRig {
    dir: PathBuf,
    version: String,
    accounts: Vec<(String, String)>,
    /// IMAP over TLS.
    pub imaps: u16,
    /// Submission with STARTTLS.
    pub submission: u16,
    lmtp: u16,
    exim_port: u16,
    running: Option<(Background, Background)>,
}

impl MailRig {
    /// Makes a mail server in `dir` that calls itself `version`, with these accounts (address, password), and
    /// starts it.
    ///
    /// # Errors
    /// When it does not come up; the error shows its log.
    pub fn start(dir: &Path, version: &str, accounts: &[(String, String)]) -> Result<Self> {
        let mut rig = Self {
            dir: dir.into(),
            version: version.into(),
            accounts: accounts.to_vec(),
            imaps: free_port()?,
            submission: free_port()?,
            lmtp: free_port()?,
            exim_port: free_port()?,
            running: None,
        };
        rig.write()?;
        rig.power_on()?;
        Ok(rig)
    }

    /// Upgrades (or downgrades) the mail server: stops it, and starts it as another version.
    ///
    /// # Errors
    /// When it does not come up again.
    pub fn become_version(&mut self, version: &str) -> Result<()> {
        self.power_off();
        self.version = version.into();
        self.write()?;
        self.power_on()
    }

    /// Its certificate, which is its own authority.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("etc/cert.pem")
    }

    /// Dovecot's log: logins, and what was done in each session.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log/dovecot.log")).unwrap_or_default()
    }

    /// The password of an account.
    pub fn password(&self, user: &str) -> &str {
        self.accounts.iter().find(|(name, _)| name == user).map_or("", |(_, password)| password)
    }

    /// Prints the running server's version: what an administrator would configure as the version probe.
    pub fn version_probe(&self) -> String {
        format!(
            "curl -skv --max-time 3 imaps://127.0.0.1:{}/ 2>&1 | sed -n 's/.*Example Mail \\([0-9.]*[0-9]\\).*/\\1/p'",
            self.imaps
        )
    }

    /// Stops both servers.
    pub fn power_off(&mut self) {
        if let Some((mut dovecot, mut exim)) = self.running.take() {
            exim.stop();
            dovecot.stop();
        }
    }

    /// Starts both servers and waits until mail can be read and sent.
    ///
    /// # Errors
    /// When they do not come up.
    pub fn power_on(&mut self) -> Result<()> {
        let config = self.dir.join("etc/dovecot.conf");
        let mut dovecot = as_mail_user("/usr/sbin/dovecot");
        dovecot.arg("-F").arg("-c").arg(&config).current_dir(&self.dir);
        let dovecot = Background::start("dovecot", &mut dovecot, &self.dir.join("log/start.log"))?;
        let mut exim = as_mail_user("/usr/sbin/exim4");
        exim.arg("-C").arg(self.dir.join("etc/exim.conf")).args(["-bdf", "-q30s"]).current_dir(&self.dir);
        let exim = Background::start("exim", &mut exim, &self.dir.join("log/exim-start.log"))?;
        self.running = Some((dovecot, exim));
        for port in [self.imaps, self.submission, self.lmtp, self.exim_port] {
            wait_until("the mail server", Duration::from_secs(20), || {
                Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok())
            })
            .with_context(|| format!("port {port}\n{}", self.log()))?;
        }
        Ok(())
    }

    fn write(&self) -> Result<()> {
        for sub in ["run", "state", "etc", "mail", "home", "spool", "log"] {
            fs::create_dir_all(self.dir.join(sub))?;
        }
        let certificate = self.certificate();
        if !certificate.exists() {
            let key = self.dir.join("etc/key.pem");
            must(
                Command::new("openssl")
                    .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
                    .args(["-days", "30", "-subj", "/CN=localhost"])
                    .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
                    .args(["-addext", "basicConstraints=critical,CA:FALSE"])
                    .arg("-keyout")
                    .arg(&key)
                    .arg("-out")
                    .arg(&certificate),
            )?;
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        }
        let users: String =
            self.accounts.iter().map(|(user, password)| format!("{user}:{{PLAIN}}{password}\n")).collect();
        fs::write(self.dir.join("etc/passwd"), users)?;
        fs::write(self.dir.join("etc/dovecot.conf"), self.dovecot_conf()?)?;
        fs::write(self.dir.join("etc/exim.conf"), self.exim_conf()?)?;
        if is_root() {
            must(Command::new("chown").arg("-R").arg(MAIL_USER).arg(&self.dir))?;
        }
        Ok(())
    }

    fn dovecot_conf(&self) -> Result<String> {
        let d = self.dir.display();
        let Identity { user, group, uid, gid } = Identity::of_mail()?;
        let Self { version, imaps, submission, lmtp, exim_port, .. } = self;
        Ok(format!(
            r#"base_dir = {d}/run
state_dir = {d}/state
log_path = {d}/log/dovecot.log
log_timestamp = "%Y-%m-%d %H:%M:%S "
protocols = imap lmtp submission
listen = 127.0.0.1
login_greeting = Example Mail {version} ready.
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
auth_failure_delay = 1 secs
imap_id_retain = yes
mail_plugins = notify mail_log
plugin {{
  mail_log_events = delete expunge copy save append flag_change mailbox_create mailbox_delete mailbox_rename
}}
protocol imap {{
  mail_plugins = $mail_plugins
}}
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
  mailbox Trash {{
    auto = subscribe
    special_use = \Trash
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
submission_relay_port = {exim_port}
submission_relay_trusted = yes
"#
        ))
    }

    fn exim_conf(&self) -> Result<String> {
        let d = self.dir.display();
        let Identity { group, uid, gid, .. } = Identity::of_mail()?;
        let Self { lmtp, exim_port, .. } = self;
        Ok(format!(
            r"primary_hostname = localhost
spool_directory = {d}/spool
log_file_path = {d}/log/exim-%slog
pid_file_path = {d}/run/exim.pid
admin_groups = {group}
exim_user = {uid}
exim_group = {gid}
never_users =
local_interfaces = 127.0.0.1
daemon_smtp_ports = {exim_port}
domainlist local_domains = {DOMAIN}
acl_smtp_rcpt = acl_rcpt
deliver_drop_privilege = true
keep_environment =
tls_advertise_hosts =
host_lookup =
begin acl
acl_rcpt:
  accept domains = +local_domains
         hosts = 127.0.0.1
  deny message = relay not permitted
begin routers
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
        ))
    }
}

/// The account that the mail server runs as when we are root: it comes with Exim's package.
const MAIL_USER: &str = "Debian-exim";

struct Identity {
    user: String,
    group: String,
    uid: String,
    gid: String,
}

impl Identity {
    fn of_mail() -> Result<Self> {
        let id = |flag: &str| -> Result<String> {
            let mut command = Command::new("id");
            command.arg(flag);
            if is_root() {
                command.arg(MAIL_USER);
            }
            Ok(must(&mut command)?.trim().to_owned())
        };
        Ok(Self { user: id("-un")?, group: id("-gn")?, uid: id("-u")?, gid: id("-g")? })
    }
}

fn as_mail_user(program: &str) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([
        &format!("--reuid={MAIL_USER}"),
        &format!("--regid={MAIL_USER}"),
        "--init-groups",
        "--no-new-privs",
        program,
    ]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail_client::MailClient;

    #[test]
    fn mail_goes_through_and_the_greeting_tells_the_version() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let users = ["ann", "ben"].map(|n| (format!("{n}@{DOMAIN}"), format!("{n}-secret")));
        let mut rig = MailRig::start(&dir.path().join("mail"), "7.2.0", &users).unwrap();
        let probe = |rig: &MailRig| must(Command::new("sh").arg("-c").arg(rig.version_probe())).unwrap();
        assert_eq!(probe(&rig).trim(), "7.2.0");
        let ann = MailClient::direct(&rig, &users[0].0);
        let ben = MailClient::direct(&rig, &users[1].0);
        ann.send(&users[1].0, "hello", "How are you?").unwrap();
        ben.wait_for("INBOX", "hello", Duration::from_secs(10)).unwrap();
        rig.become_version("7.3.0").unwrap();
        assert_eq!(probe(&rig).trim(), "7.3.0");
        assert!(ben.can_log_in());
        assert_eq!(ben.count("INBOX", "hello").unwrap(), 1);
    }
}
