//! A real mail server for the tests: Dovecot (IMAP, LMTP, submission) and Exim from the system's packages, with a
//! private configuration, on free high ports of the loopback address, and without root.
//!
//! A message goes submission (STARTTLS, login) → Exim → LMTP → maildir → IMAP over TLS. The server's "version" is
//! in its greeting, as with most mail servers, so a version probe asks the running program itself.
//!
//! | module | room for |
//! |---|---|
//! | [`client`] | a real mail client: curl |
//! | [`maildir`] | the stored messages themselves, without any server in between |
//! | [`process`] | child processes that never outlive us |
//! | `once` | an Exim that keeps one of each submission |
//! | `config` | what Dovecot and Exim are told |
//! | `account` | the account that they run as |
//!
//! The packages are not installed here; `cargo xtask test` and `cargo xtask demo` do that.

#![forbid(unsafe_code)]

mod account;
pub mod client;
mod config;
pub mod maildir;
mod once;
pub mod process;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use account::as_mail_user;
use anyhow::{Context, Result, ensure};
pub use client::MailClient;
use process::{Background, free_ports, is_root, must, wait_until};

/// The mail domain.
pub const DOMAIN: &str = "example.test";

/// What a mail server is: everything that an administrator would configure.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// What it calls itself in its greeting.
    pub version: String,
    /// Address and password of each account.
    pub accounts: Vec<(String, String)>,
    /// Lines at the end of Dovecot's configuration, such as an auth policy.
    pub dovecot: String,
    /// Lines in the main section of Exim's configuration, such as `acl_smtp_data = acl_data`.
    pub exim_main: String,
    /// Lines at the end of the `begin acl` section of Exim's configuration.
    pub exim_acl: String,
    /// Lines at the start of the `begin routers` section of Exim's configuration.
    pub exim_routers: String,
}

/// A running mail server; stopped when it is dropped.
#[derive(Debug)]
pub struct MailRig {
    dir: PathBuf,
    setup: Setup,
    /// IMAP over TLS.
    pub imaps: u16,
    /// Submission with STARTTLS.
    pub submission: u16,
    lmtp: u16,
    exim: u16,
    running: Option<(Background, Background)>,
}

impl MailRig {
    /// Makes a mail server in `dir` that calls itself `version`, with these accounts (address, password), and
    /// starts it. Other users of the machine must be able to enter the folder above `dir`.
    ///
    /// # Errors
    /// When it does not come up; the error shows its log.
    pub fn start(dir: &Path, version: &str, accounts: &[(String, String)]) -> Result<Self> {
        Self::with(dir, Setup { version: version.into(), accounts: accounts.to_vec(), ..Setup::default() })
    }

    /// As [`MailRig::start`], with a configuration of one's own.
    ///
    /// # Errors
    /// When it does not come up; the error shows its log.
    pub fn with(dir: &Path, setup: Setup) -> Result<Self> {
        let [imaps, submission, lmtp, exim] = free_ports()?;
        let mut rig = Self { dir: dir.into(), setup, imaps, submission, lmtp, exim, running: None };
        rig.write()?;
        rig.power_on()?;
        Ok(rig)
    }

    /// Stops the mail server, changes its configuration, and starts it again with its mail.
    ///
    /// # Errors
    /// When it does not come up again.
    pub fn reconfigure(&mut self, change: impl FnOnce(&mut Setup)) -> Result<()> {
        self.power_off();
        change(&mut self.setup);
        self.write()?;
        self.power_on()
    }

    /// Upgrades (or downgrades) the mail server: stops it, and starts it as another version.
    ///
    /// # Errors
    /// When it does not come up again.
    pub fn become_version(&mut self, version: &str) -> Result<()> {
        self.reconfigure(|setup| setup.version = version.into())
    }

    /// Its folder: `etc`, `log`, `mail` (see [`maildir`]), `spool`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// As [`MailRig::become_version`], without a restart. Sessions that are open stay open where Dovecot was started
    /// with `shutdown_clients = no`; else they end some seconds later.
    ///
    /// # Errors
    /// When Dovecot does not take the new configuration.
    pub fn become_version_under_way(&mut self, version: &str) -> Result<()> {
        self.setup.version = version.into();
        self.write()?;
        self.doveadm(&["reload"]).map(drop)
    }

    /// Its certificate, which is its own authority.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("etc/cert.pem")
    }

    /// Dovecot's log: logins, what each client says about itself, and what was done in each session.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log/dovecot.log")).unwrap_or_default()
    }

    /// Exim's main log: what it accepted, delivered and refused.
    pub fn exim_log(&self) -> String {
        fs::read_to_string(self.dir.join("log/exim-mainlog")).unwrap_or_default()
    }

    /// How many messages Exim has accepted and not delivered yet.
    ///
    /// # Errors
    /// When its spool cannot be read.
    pub fn undelivered(&self) -> Result<usize> {
        let input = self.dir.join("spool/input");
        if !input.exists() {
            return Ok(0);
        }
        let names = fs::read_dir(input)?.map(|entry| Ok(entry?.file_name()));
        let names: Vec<_> = names.collect::<Result<_>>()?;
        Ok(names.iter().filter(|name| name.to_string_lossy().ends_with("-H")).count())
    }

    /// How often somebody logged in, by IMAP or submission.
    pub fn logins(&self) -> usize {
        self.log().lines().filter(|line| line.contains("Login: user=")).count()
    }

    /// The password of an account; empty if there is no such account.
    pub fn password(&self, user: &str) -> &str {
        self.setup.accounts.iter().find(|(name, _)| name == user).map_or("", |(_, password)| password)
    }

    /// Changes the password of an account while the mail server runs.
    ///
    /// # Errors
    /// When there is no such account, or its file cannot be written.
    pub fn set_password(&mut self, user: &str, password: &str) -> Result<()> {
        let account = self.setup.accounts.iter_mut().find(|(name, _)| name == user);
        account.with_context(|| format!("no account {user}"))?.1 = password.into();
        self.write_accounts()
    }

    /// Prints the running server's version: what an administrator would configure as the version probe.
    pub fn version_probe(&self) -> String {
        format!(
            "curl -skv --max-time 3 imaps://127.0.0.1:{}/ 2>&1 | sed -n 's/.*Example Mail \\([0-9.]*[0-9]\\).*/\\1/p'",
            self.imaps
        )
    }

    /// Dovecot's tool for administrators with its first arguments, as an administrator would configure it.
    pub fn doveadm_command(&self) -> Vec<String> {
        let command = as_mail_user("doveadm");
        let mut argv = vec![command.get_program().to_string_lossy().into_owned()];
        argv.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
        argv.extend(["-c".into(), self.dir.join("etc/dovecot.conf").display().to_string()]);
        argv
    }

    /// Runs Dovecot's tool for administrators: `who`, `kick`, `reload`, and gives what it prints.
    ///
    /// # Errors
    /// When it fails.
    pub fn doveadm(&self, arguments: &[&str]) -> Result<String> {
        let argv = self.doveadm_command();
        must(Command::new(&argv[0]).args(&argv[1..]).args(arguments).current_dir(&self.dir))
    }

    /// Starts both servers and waits until mail can be read and sent.
    ///
    /// # Errors
    /// When they do not come up.
    pub fn power_on(&mut self) -> Result<()> {
        for program in ["/usr/sbin/dovecot", "/usr/sbin/exim4"] {
            ensure!(Path::new(program).exists(), "{program} is missing; cargo xtask test installs it");
        }
        let mut dovecot = as_mail_user("/usr/sbin/dovecot");
        dovecot.arg("-F").arg("-c").arg(self.dir.join("etc/dovecot.conf")).current_dir(&self.dir);
        let dovecot = Background::start("dovecot", &mut dovecot, &self.dir.join("log/start.log"))?;
        let mut exim = as_mail_user("/usr/sbin/exim4");
        exim.arg("-C").arg(self.dir.join("etc/exim.conf")).args(["-bdf", "-q10s"]).current_dir(&self.dir);
        let exim = Background::start("exim", &mut exim, &self.dir.join("log/exim-start.log"))?;
        let (dovecot, exim) = self.running.insert((dovecot, exim));
        for port in [self.imaps, self.submission, self.lmtp, self.exim] {
            let logs = [self.dir.join("log/dovecot.log"), dovecot.log.clone(), exim.log.clone()];
            wait_until("the mail server", Duration::from_secs(30), || {
                ensure!(dovecot.is_running() && exim.is_running(), "it has ended");
                Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok())
            })
            .with_context(|| format!("port {port}\n{}", logs.map(|log| process::tail(&log)).join("\n")))?;
        }
        Ok(())
    }

    /// Stops both servers.
    pub fn power_off(&mut self) {
        if let Some((mut dovecot, mut exim)) = self.running.take() {
            exim.stop();
            dovecot.stop();
        }
    }

    /// Pulls the plug of both servers, in the middle of whatever they do.
    pub fn cut_power(&mut self) {
        if let Some((mut dovecot, mut exim)) = self.running.take() {
            dovecot.kill();
            exim.kill();
        }
    }

    fn write(&self) -> Result<()> {
        for sub in ["run", "state", "etc", "mail", "home", "spool", "spool/lockstep", "log"] {
            fs::create_dir_all(self.dir.join(sub))?;
        }
        let certificate = self.certificate();
        if !certificate.exists() {
            // Without further options: one that calls itself an authority, as administrators make them.
            let key = self.dir.join("etc/key.pem");
            must(
                Command::new("openssl")
                    .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
                    .args(["-days", "30", "-subj", "/CN=localhost"])
                    .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
                    .arg("-keyout")
                    .arg(&key)
                    .arg("-out")
                    .arg(&certificate),
            )?;
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        }
        self.write_accounts()?;
        fs::write(self.dir.join("etc/dovecot.conf"), self.dovecot_conf()?)?;
        fs::write(self.dir.join("etc/exim.conf"), self.exim_conf()?)?;
        if is_root() {
            must(Command::new("chown").args(["-R", account::MAIL_USER]).arg(&self.dir))?;
        }
        Ok(())
    }

    fn write_accounts(&self) -> Result<()> {
        let line = |(user, password): &(String, String)| format!("{user}:{{PLAIN}}{password}\n");
        let accounts: String = self.setup.accounts.iter().map(line).collect();
        // In place, so that it stays the mail user's file.
        fs::write(self.dir.join("etc/passwd"), accounts).context("the mail server's accounts")
    }
}

#[cfg(test)]
mod tests;
