//! A PC: a root directory, a name, a user with an own number, and what runs there.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use elevation_rig::Elevation;
use serde_json::Value;

use super::site::Site;
use crate::{
    mail_client::MailClient,
    process::{Background, must, run, wait_until},
};

/// A PC and its user.
#[derive(Debug)]
pub struct Pc {
    /// Its name.
    pub name: String,
    /// The mail account of its user.
    pub user: String,
    root: PathBuf,
    uid: u32,
    updater: Option<Background>,
    connector: Option<Background>,
    program: PathBuf,
    mail_program: Option<MailClient>,
    elevation: Option<(Arc<Elevation>, String)>,
}

impl Pc {
    /// A new PC in `dir`, whose user has number `uid` and this mail account.
    ///
    /// # Errors
    /// When its folders cannot be made.
    pub fn new(dir: &Path, name: &str, uid: u32, user: &str) -> Result<Self> {
        let root = dir.join(name);
        for sub in ["etc", "home", "opt", "run", "var"] {
            fs::create_dir_all(root.join(sub))?;
        }
        fs::write(root.join("etc/hostname"), format!("{name}\n"))?;
        let pc = Self {
            name: name.into(),
            user: user.into(),
            root,
            uid,
            updater: None,
            connector: None,
            program: PathBuf::new(),
            mail_program: None,
            elevation: None,
        };
        pc.add_home(uid)?;
        Ok(pc)
    }

    fn add_home(&self, uid: u32) -> Result<()> {
        let home = self.home(uid);
        fs::create_dir_all(&home)?;
        chown(&home, Some(uid), Some(uid))?;
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).map_err(Into::into)
    }

    /// A second user of the same PC: same root directory, another number and account, and no updater of its own.
    ///
    /// # Errors
    /// When the user's home cannot be made.
    pub fn second_user(&self, uid: u32, user: &str) -> Result<Self> {
        self.add_home(uid)?;
        Ok(Self {
            name: self.name.clone(),
            user: user.into(),
            root: self.root.clone(),
            uid,
            updater: None,
            connector: None,
            program: PathBuf::new(),
            mail_program: None,
            elevation: None,
        })
    }

    /// From now on its user is this person, who can ask for an administrator's rights.
    pub fn elevate_with(&mut self, elevation: &Arc<Elevation>, person: &str) {
        self.elevation = Some((Arc::clone(elevation), person.into()));
    }

    /// How often its user was asked for the administrator's password.
    ///
    /// # Errors
    /// When nobody can be asked on this PC.
    pub fn times_asked(&self) -> Result<usize> {
        let (elevation, person) = self.elevation.as_ref().with_context(|| format!("{}: who is asked?", self.name))?;
        Ok(elevation.asked(person)?.len())
    }

    /// Whether there is an updater.
    pub fn has_updater(&self) -> bool {
        self.root.join("opt/lockstep/updater/current").exists()
    }

    /// Whether its user is signed in.
    pub fn is_on(&self) -> bool {
        self.connector.is_some()
    }

    /// The ends of its logs.
    pub fn logs(&self) -> String {
        let logs = [self.home(self.uid).join("connector.log"), self.root.join("updater.log")];
        logs.map(|log| format!("{}:\n{}", log.display(), crate::process::tail(&log))).join("\n")
    }

    /// The schema number of the user's mailbox.
    ///
    /// # Errors
    /// When there is no mailbox.
    pub fn mailbox_schema(&self) -> Result<u32> {
        let script = "import sqlite3, sys; \
                      print(sqlite3.connect(sys.argv[1]).execute('PRAGMA user_version').fetchone()[0])";
        let number = must(self.as_user(Path::new("/usr/bin/python3")).args(["-c", script]).arg(self.mailbox()))?;
        Ok(number.trim().parse()?)
    }

    fn mailbox(&self) -> PathBuf {
        self.data().join("mail.sqlite")
    }

    /// Its root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn home(&self, uid: u32) -> PathBuf {
        self.root.join(format!("home/{uid}"))
    }

    /// Where its user's connector keeps mail and state.
    pub fn data(&self) -> PathBuf {
        self.home(self.uid).join("connector")
    }

    /// The administrator installs the updater from the integration page, once, and it starts.
    ///
    /// # Errors
    /// When the page does not offer it or it does not install.
    pub fn install_updater(&mut self, site: &Site, version: &str) -> Result<()> {
        let file = format!("lockstep-updater-{version}-linux-x86_64.tar.gz");
        let downloads = self.root.join("root-downloads");
        let folder = site.install_from_page(&file, &downloads)?;
        must(Command::new(folder.join("bin/lockstep-updater")).args(["install", "--root"]).arg(&self.root))?;
        self.start_updater()
    }

    /// The service starts, as at power-on.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_updater(&mut self) -> Result<()> {
        let mut command = self.updater_command();
        self.updater = Some(Background::start("lockstep-updater", &mut command, &self.root.join("updater.log"))?);
        Ok(())
    }

    /// The command that runs the service.
    pub fn updater_command(&self) -> Command {
        let mut command = Command::new(self.root.join("opt/lockstep/updater/current/bin/lockstep-updater"));
        command.args(["run", "--root"]).arg(&self.root).env_clear().env("PATH", "/usr/bin:/bin");
        // As in its systemd unit.
        command.env("MALLOC_ARENA_MAX", "1");
        command.env("MALLOC_MMAP_THRESHOLD_", "65536").env("MALLOC_TRIM_THRESHOLD_", "65536");
        command
    }

    /// The service's process id.
    pub fn updater_id(&self) -> Option<u32> {
        self.updater.as_ref().map(Background::id)
    }

    /// Kills the service with SIGKILL, and says whether it was running.
    pub fn kill_updater(&mut self) -> bool {
        let Some(mut updater) = self.updater.take() else { return false };
        let running = updater.is_running();
        updater.kill();
        running
    }

    /// The user installs the connector for themselves, without an administrator: unpacked into the home directory.
    ///
    /// # Errors
    /// When the page does not offer it.
    pub fn install_connector_without_updater(&mut self, site: &Site, version: &str) -> Result<()> {
        let file = format!("lockstep-connector-{version}-linux-x86_64.tar.gz");
        let downloads = self.home(self.uid).join("apps");
        let folder = site.install_from_page(&file, &downloads)?;
        must(Command::new("chown").arg("-R").arg(format!("{0}:{0}", self.uid)).arg(&downloads))?;
        self.program = folder.join("bin/lockstep-connector");
        Ok(())
    }

    /// The user installs the connector again from the integration page, with the administrator's password.
    ///
    /// # Errors
    /// What the installer says.
    pub fn reinstall_connector(&mut self, site: &Site, version: &str) -> Result<()> {
        let running = self.program.clone();
        self.install_connector_without_updater(site, version)?;
        let fresh = std::mem::replace(&mut self.program, running);
        let mut install = self.as_user(&fresh);
        install.args(["install", "--root"]).arg(&self.root);
        if let Some((elevation, _)) = &self.elevation {
            install.args(["--elevation", &elevation.command().join(" ")]);
        }
        must(&mut install).with_context(|| self.logs()).map(drop)
    }

    /// Waits until the connector's installer has brought the updater, starts its service as the system would, and goes on
    /// with the connector that is installed for the machine.
    ///
    /// # Errors
    /// When it does not come.
    pub fn updater_comes_with_the_connector(&mut self) -> Result<()> {
        wait_until(&format!("{}: an updater", self.name), Duration::from_secs(60), || {
            Ok((self.has_updater() && self.active_version().is_some()).then_some(()))
        })
        .with_context(|| self.logs())?;
        self.start_updater()?;
        self.use_installed_connector();
        Ok(())
    }

    /// What the updater says about the connector, to the user of this PC.
    ///
    /// # Errors
    /// When the service does not answer.
    pub fn updater_words(&self) -> Result<String> {
        let status = self.updater_status()?;
        let words = [&status["products"]["connector"]["detail"], &status["problem"]];
        let mut words: Vec<&str> = words.into_iter().filter_map(Value::as_str).collect();
        words.dedup();
        Ok(words.join("; "))
    }

    /// Waits until the updater has installed the connector for everybody.
    ///
    /// # Errors
    /// When it does not; the error shows the updater's log.
    pub fn wait_for_connector(&mut self, version: &str) -> Result<()> {
        let current = self.root.join("opt/lockstep/connector/current");
        wait_until(&format!("{}: connector {version}", self.name), Duration::from_secs(40), || {
            Ok(fs::read_link(&current)?.ends_with(version).then_some(()))
        })
        .with_context(|| crate::process::tail(&self.root.join("updater.log")))?;
        self.use_installed_connector();
        Ok(())
    }

    /// Uses the connector that the updater has installed.
    pub fn use_installed_connector(&mut self) {
        self.program = self.root.join("opt/lockstep/connector/current/bin/lockstep-connector");
    }

    /// The user sets the connector up with the mail account's password, and the mail program with what it says.
    ///
    /// # Errors
    /// What the connector says.
    pub fn set_up(&mut self, password: &str) -> Result<()> {
        let secret = self.home(self.uid).join("password");
        fs::write(&secret, password)?;
        let input = fs::File::open(&secret)?;
        fs::remove_file(&secret)?;
        let mut command = self.as_user(&self.program);
        command.args([
            "setup",
            "--user",
            &self.user,
            "--password-stdin",
            "--imap-port",
            "0",
            "--smtp-port",
            "0",
            "--json",
        ]);
        if let Some((elevation, _)) = &self.elevation {
            command.args(["--elevation", &elevation.command().join(" ")]);
        }
        let output = command.args(self.places()).stdin(input).output()?;
        ensure!(output.status.success(), "setup: {}", String::from_utf8_lossy(&output.stderr));
        let settings: Value = serde_json::from_slice(&output.stdout)?;
        let port = |name: &str| -> Result<u16> {
            Ok(u16::try_from(settings[name].as_u64().with_context(|| format!("no {name} in {settings}"))?)?)
        };
        let local_password = settings["password"].as_str().context("no local password")?;
        self.mail_program = Some(MailClient::local(port("imap_port")?, port("smtp_port")?, &self.user, local_password));
        Ok(())
    }

    /// The user signs in, and the connector starts: under the launcher where the updater has installed it.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn sign_in(&mut self) -> Result<()> {
        let launcher = self.root.join("opt/lockstep/updater/current/bin/lockstep-launcher");
        let installed = self.program.starts_with(self.root.join("opt"));
        let mut command = if installed {
            let mut command = self.as_user(&launcher);
            command.arg("--root").arg(&self.root).args(["connector", "--"]);
            command
        } else {
            self.as_user(&self.program)
        };
        command.arg("run").args(self.places());
        let log = self.home(self.uid).join("connector.log");
        self.connector = Some(Background::start("lockstep-connector", &mut command, &log)?);
        let status = || Ok(self.status()?["running"].as_bool().filter(|r| *r));
        wait_until(&format!("{}: the connector", self.name), Duration::from_secs(15), status)
            .with_context(|| crate::process::tail(&log))?;
        Ok(())
    }

    /// Everything is switched off.
    pub fn power_off(&mut self) {
        self.connector = None;
        self.updater = None;
    }

    /// `lockstep-connector status --json`.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn status(&self) -> Result<Value> {
        let mut command = self.as_user(&self.program);
        let output = run(command.args(["status", "--json"]).args(self.places()))?;
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Its connector's version and gate.
    ///
    /// # Errors
    /// As [`Pc::status`].
    pub fn words(&self) -> Result<String> {
        Ok(words(&self.status()?))
    }

    /// Waits until the connector is at this gate, running this version, and says since when.
    ///
    /// # Errors
    /// When it does not come to that; the error shows its log.
    pub fn wait_for_gate(&self, gate: &str, version: &str, limit: Duration) -> Result<jiff::Timestamp> {
        let what = format!("{}: connector {version} {gate}", self.name);
        at_gate(&what, gate, version, limit, || self.status()).with_context(|| self.logs())
    }

    /// The user's mail program, connected to the connector on this PC.
    ///
    /// # Errors
    /// When the connector has not been set up.
    pub fn mail_program(&self) -> Result<&MailClient> {
        self.mail_program.as_ref().with_context(|| format!("{}: the connector has not been set up", self.name))
    }

    /// `lockstep-updater status --json`, asked by the PC's user.
    ///
    /// # Errors
    /// When the service does not answer.
    pub fn updater_status(&self) -> Result<Value> {
        let program = self.root.join("opt/lockstep/updater/current/bin/lockstep-updater");
        let text = must(self.as_user(&program).args(["status", "--json", "--root"]).arg(&self.root))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The PC's user types `lockstep-updater check`.
    ///
    /// # Errors
    /// When the service does not answer, or has been asked too often.
    pub fn check_now(&self) -> Result<()> {
        let program = self.root.join("opt/lockstep/updater/current/bin/lockstep-updater");
        // Asking is what is wanted; what comes of it is for the story to look at, and may be bad news.
        let output = self.as_user(&program).args(["check", "--wait", "1", "--root"]).arg(&self.root).output()?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        anyhow::ensure!(!words.contains("not running") && !words.contains("too often"), "{words}");
        Ok(())
    }

    /// The version that a fresh start would run.
    pub fn active_version(&self) -> Option<String> {
        let link = fs::read_link(self.root.join("opt/lockstep/connector/current")).ok()?;
        Some(link.file_name()?.to_string_lossy().into_owned())
    }

    /// The versions that lie complete on this PC.
    pub fn versions(&self) -> Vec<String> {
        let dir = fs::read_dir(self.root.join("opt/lockstep/connector/versions"));
        let mut names: Vec<String> =
            dir.into_iter().flatten().flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn places(&self) -> [std::ffi::OsString; 4] {
        ["--root".into(), self.root.clone().into(), "--data".into(), self.data().into()]
    }

    /// A command as this PC's user, with nothing of our own environment.
    pub fn as_user(&self, program: &Path) -> Command {
        let home = self.home(self.uid);
        let mut words = match self.elevation.as_ref().map(|(elevation, person)| elevation.prefix(person)) {
            Some(Ok(words)) => words,
            // Where there is nothing to gain, nothing can be gained.
            _ => {
                let id = self.uid.to_string();
                ["setpriv", &format!("--reuid={id}"), &format!("--regid={id}"), "--clear-groups", "--no-new-privs"]
                    .map(String::from)
                    .into()
            }
        };
        let mut command = Command::new(words.remove(0));
        command.args(words).arg(program).env_clear().env("HOME", &home).env("PATH", "/usr/bin:/bin").current_dir(home);
        command
    }
}

/// A connector's version and gate, from its status.
pub(super) fn words(status: &Value) -> String {
    format!("{} {}", status["version"].as_str().unwrap_or("?"), status["gate"].as_str().unwrap_or("?"))
}

/// Waits until a connector's status says this gate and version, and gives since when.
pub(super) fn at_gate(
    what: &str,
    gate: &str,
    version: &str,
    limit: Duration,
    status: impl Fn() -> Result<Value>,
) -> Result<jiff::Timestamp> {
    let since = wait_until(what, limit, || {
        let status = status()?;
        let there = status["running"] == true && status["gate"] == gate && status["version"] == version;
        Ok(there.then(|| status["since"].as_str().unwrap_or_default().to_owned()))
    })?;
    Ok(since.parse()?)
}
