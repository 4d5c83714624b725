//! A PC with Windows: a network and a host name of its own, and the vendor's real programs, under Wine.
//!
//! It offers what the [Linux PC](crate::story::pc::Pc) offers, under the same names.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use wine_rig::Asked;

use crate::{
    dist::windows::Shipped,
    mail_client::MailClient,
    process::{Background, must, tail, wait_until},
    programs::NEW,
    story::{
        pc::{at_gate, words},
        site::Site,
    },
};

/// Where Windows keeps what is installed for everybody.
const PROGRAMS: &str = r"C:\Program Files\Lockstep";
/// What starts when somebody signs in.
const RUN: &str = r"Software\Microsoft\Windows\CurrentVersion\Run";
/// What is listed as installed.
const UNINSTALL: &str = r"HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall";
/// Where the administrator puts things: nobody else can write there.
const DEPLOY: &str = r"C:\deploy";
/// Where what somebody downloads lies: anybody can write there.
const DOWNLOADS: &str = r"C:\users\Public\Downloads";
/// Where a user has unpacked a connector of their own.
const OWN: &str = r"C:\users\Public\lockstep-connector";
/// How the installer is to be started.
const ORDER: &str = r#""install" "--root" "/""#;
/// Longer than an installation takes on a slow machine.
const LONG: Duration = Duration::from_secs(60);

/// A PC and its user.
#[derive(Debug)]
pub struct Pc {
    /// Its name.
    pub name: String,
    /// The mail account of its user.
    pub user: String,
    /// The PC itself.
    pub pc: wine_rig::Pc,
    connector: Option<Background>,
    mail_program: Option<MailClient>,
}

impl Pc {
    /// A new PC that reaches the site's ports and nothing else, switched on.
    ///
    /// # Errors
    /// When Wine does not start.
    pub fn new(name: &str, user: &str, site: &Site) -> Result<Self> {
        let mut pc = wine_rig::Pc::apart(name)?;
        for port in site.ports()? {
            pc.plug(port)?;
        }
        pc.power_on()?;
        for folder in [DEPLOY, DOWNLOADS] {
            fs::create_dir_all(pc.path(folder))?;
        }
        Ok(Self { name: name.into(), user: user.into(), pc, connector: None, mail_program: None })
    }

    /// Downloads what the integration page offers people on Windows, over the PC's own network, and unpacks it on drive C:.
    /// Gives the folder: the vendor's MSI, and the site's files beside it.
    ///
    /// # Errors
    /// When the page does not offer it.
    pub fn download(&self, site: &Site, version: &str) -> Result<PathBuf> {
        let (downloads, certificate) = (self.pc.path(DOWNLOADS), site.certificate()?);
        let get = |path: &str, to: &Path| {
            let mut curl = self.pc.command("curl");
            curl.args(["-sSf", "--max-time", "120", "--user-agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"]);
            must(curl.arg("--cacert").arg(&certificate).arg("-o").arg(to).arg(format!("{}{path}", site.url())))
        };
        let (page, name) = (downloads.join("integration.html"), format!("lockstep-connector-{version}"));
        get("/integration", &page)?;
        let html = fs::read_to_string(&page)?;
        let file = format!("{name}-windows-x86_64.zip");
        ensure!(html.contains(&file), "the integration page does not offer {file}:\n{html}");
        let archive = downloads.join(&file);
        get(&format!("/integration/{file}"), &archive)?;
        must(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&archive).arg(&downloads))?;
        Ok(downloads.join(name))
    }

    /// Copies a download to where only an administrator can write, as a share for deployment is. Gives the folder there.
    ///
    /// # Errors
    /// From the disk.
    pub fn for_administrators(&self, download: &Path) -> Result<PathBuf> {
        for file in fs::read_dir(download)? {
            let from = file?.path();
            fs::copy(&from, self.pc.path(DEPLOY).join(from.file_name().unwrap_or_default()))?;
        }
        Ok(self.pc.path(DEPLOY))
    }

    /// An administrator installs the connector's MSI without being there, with these properties: nothing is asked.
    ///
    /// # Errors
    /// What Windows Installer says; the error shows the end of its log.
    pub fn install(&self, folder: &Path, version: &str, properties: &[(&str, &Path)]) -> Result<()> {
        let msi = folder.join(format!("lockstep-connector-{version}-x64.msi"));
        let log = self.pc.path(DEPLOY).join("msiexec.log");
        let mut words = format!("/i \"{}\" /qn /norestart /l*v {}", self.pc.windows(&msi), self.pc.windows(&log));
        for (property, file) in properties {
            words.push_str(&format!(" {property}=\"{}\"", self.pc.windows(file)));
        }
        let code = self.pc.msiexec(&words)?;
        ensure!(code == 0, "{}: msiexec {words} ended with {code}:\n{}", self.name, utf16(&log));
        Ok(())
    }

    /// The user takes the connector for themselves, without an administrator: the program alone, and what the page's download says
    /// about the site.
    ///
    /// # Errors
    /// When the page offers no download.
    pub fn install_connector_without_updater(&self, shipped: &Shipped, site: &Site) -> Result<()> {
        let (download, folder) = (self.download(site, &shipped.connector)?, self.pc.path(OWN));
        fs::create_dir_all(folder.join("bin"))?;
        fs::copy(shipped.programs.join("lockstep-connector.exe"), folder.join("bin/lockstep-connector.exe"))?;
        for file in ["site.json", "root.json"] {
            fs::copy(download.join(file), folder.join(file))?;
        }
        Ok(())
    }

    /// What Windows lists as installed programs.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub fn listed(&self) -> Result<Vec<String>> {
        let keys = self.pc.registry(UNINSTALL)?;
        let name = |key: &wine_rig::Key| match key.get("DisplayName") {
            Some(wine_rig::Value::Text(name)) => Some(name.clone()),
            _ => None,
        };
        Ok(keys.values().filter_map(name).collect())
    }

    /// Whether there is an updater.
    pub fn has_updater(&self) -> bool {
        self.active("updater").is_some()
    }

    /// The connector that a fresh start would run.
    pub fn active_version(&self) -> Option<String> {
        self.active("connector")
    }

    fn active(&self, product: &str) -> Option<String> {
        let pointer = fs::read_to_string(self.pc.path(&format!(r"{PROGRAMS}\{product}\current"))).ok()?;
        pointer.strip_suffix('\n').map(str::to_owned)
    }

    /// The connectors that lie complete on this PC.
    pub fn versions(&self) -> Vec<String> {
        let dir = fs::read_dir(self.pc.path(&format!(r"{PROGRAMS}\connector\versions")));
        let names = dir.into_iter().flatten().flatten().map(|e| e.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }

    fn updater(&self) -> Result<String> {
        let version = self.active("updater").with_context(|| format!("{} has no updater", self.name))?;
        Ok(format!(r"{PROGRAMS}\updater\versions\{version}\bin\lockstep-updater.exe"))
    }

    /// `lockstep-updater status --json`, asked by the PC's user.
    ///
    /// # Errors
    /// When the service does not answer.
    pub fn updater_status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.pc.must(&self.updater()?, &["status", "--json"])?)?)
    }

    /// Waits until the updater has installed the connector for everybody.
    ///
    /// # Errors
    /// When it does not; the error shows the updater's status.
    pub fn wait_for_connector(&self, version: &str) -> Result<()> {
        wait_until(&format!("{}: connector {version}", self.name), LONG, || {
            Ok((self.active_version().as_deref() == Some(version)).then_some(()))
        })
        .with_context(|| self.logs())
    }

    /// The user sets the connector up with the mail account's password, and the mail program with what it says.
    ///
    /// # Errors
    /// What the connector says.
    pub fn set_up(&mut self, password: &str) -> Result<()> {
        let program = match self.active_version() {
            Some(version) => format!(r"{PROGRAMS}\connector\versions\{version}\bin\lockstep-connector.exe"),
            None => format!(r"{OWN}\bin\lockstep-connector.exe"),
        };
        let secret = self.pc.path(DEPLOY).join("password");
        fs::write(&secret, password)?;
        let input = fs::File::open(&secret)?;
        fs::remove_file(&secret)?;
        let mut command = self.pc.command("wine");
        command.arg(program).args(["setup", "--user", &self.user, "--password-stdin", "--json"]);
        let output = command.args(["--imap-port", "0", "--smtp-port", "0"]).stdin(input).output()?;
        ensure!(output.status.success(), "setup: {}", String::from_utf8_lossy(&output.stderr));
        let settings: Value = serde_json::from_slice(&output.stdout)?;
        let port = |name: &str| -> Result<u16> {
            Ok(u16::try_from(settings[name].as_u64().with_context(|| format!("no {name} in {settings}"))?)?)
        };
        let local_password = settings["password"].as_str().context("no local password")?;
        let client = MailClient::local(port("imap_port")?, port("smtp_port")?, &self.user, local_password);
        self.mail_program = Some(client.within(self.pc.within()));
        Ok(())
    }

    /// The user signs in, and Windows starts the connector as its registry says: the machine's part, or the user's.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn sign_in(&mut self) -> Result<()> {
        let log = self.pc.path(DEPLOY).join("connector.log");
        let started = match self.pc.registry_text(&format!(r"HKLM\{RUN}"), "LockstepConnector")? {
            Some(line) => {
                let launcher = format!(r"{PROGRAMS}\launcher\lockstep-launcher.exe");
                ensure!(line == format!("\"{launcher}\" connector -- run"), "at sign-in Windows starts {line}");
                self.pc.spawn_as_user("lockstep-launcher", &launcher, &["connector", "--", "run"], &log)?
            }
            None => {
                let own = format!(r"{OWN}\bin\lockstep-connector.exe");
                let line = self.pc.registry_text(&format!(r"HKCU\{RUN}"), "Lockstep Connector")?.unwrap_or_default();
                ensure!(line.starts_with(&format!("\"{own}\" \"run\"")), "at sign-in Windows starts {line}");
                self.pc.spawn_as_user("lockstep-connector", &own, &["run"], &log)?
            }
        };
        self.connector = Some(started);
        wait_until(&format!("{}: the connector", self.name), LONG, || {
            Ok((self.status()?["running"] == true).then_some(()))
        })
        .with_context(|| format!("{}{}", tail(&log), self.logs()))
    }

    /// The user types `lockstep-connector upgrade`.
    ///
    /// # Errors
    /// What it says.
    pub fn upgrade_now(&self) -> Result<()> {
        let (own, log) = (format!(r"{OWN}\bin\lockstep-connector.exe"), self.pc.path(DEPLOY).join("upgrade.log"));
        let mut asked = self.pc.spawn_as_user("lockstep-connector upgrade", &own, &["upgrade"], &log)?;
        let code = wait_until("the end of the upgrade", LONG, || Ok(asked.exit_code()))?;
        ensure!(code == Some(0), "{}: it ended with {code:?}:\n{}\n{}", self.name, tail(&log), self.logs());
        Ok(())
    }

    /// The power fails, and comes back: Windows starts, and its user signs in.
    ///
    /// # Errors
    /// When it does not start.
    pub fn power_cut(&mut self) -> Result<()> {
        self.switch_off()?;
        self.pc.power_on()
    }

    /// The power fails.
    ///
    /// # Errors
    /// When something goes on.
    pub fn switch_off(&mut self) -> Result<()> {
        self.pc.power_cut()?;
        self.connector = None;
        Ok(())
    }

    /// The user was asked once, as Windows is to be asked: first in words of the connector's own, then by its prompt.
    ///
    /// # Errors
    /// When it was otherwise.
    pub fn was_asked_properly(&self) -> Result<()> {
        let asked = self.pc.asked()?;
        let [Asked::Question { title, text, kind }, Asked::Prompt { verb, file, parameters, directory, mask, show }] =
            &asked[..]
        else {
            bail!("{}: asked {asked:?}", self.name);
        };
        // Information, OK and Cancel, in front of the other windows.
        ensure!((title.as_str(), *kind) == ("Lockstep Connector", 0x5_0041), "{title} {kind:#x}");
        ensure!(text.contains(NEW) && text.contains("an administrator's permission"), "the question is {text}");
        ensure!((verb.as_str(), parameters.as_str()) == ("runas", ORDER), "{verb}: {parameters}");
        let installer = self.data()?.join("installer/payload/bin/lockstep-updater.exe");
        ensure!(self.pc.path(file) == installer, "the prompt is about {file}");
        ensure!(directory.to_lowercase() == r"c:\windows\system32", "it starts in {directory}");
        // The process is handed over, the work is done before the call returns, errors are told, texts are wide; no window.
        ensure!((*mask, *show) == (0x4540, 0), "{mask:#x} {show}");
        Ok(())
    }

    /// Where its user's connector keeps mail and state.
    fn data(&self) -> Result<PathBuf> {
        let users = fs::read_dir(self.pc.path(r"C:\users"))?.flatten().map(|user| user.path());
        let mut all = users.map(|user| user.join("AppData/Local/Lockstep/Connector"));
        all.find(|data| data.exists()).with_context(|| format!("{}: no connector has run here", self.name))
    }

    /// How its user's connector stands, as it keeps it on the disk.
    ///
    /// # Errors
    /// When none has run yet.
    pub fn status(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&fs::read(self.data()?.join("status.json"))?)?)
    }

    /// The schema number of the user's mailbox.
    ///
    /// # Errors
    /// When there is no mailbox.
    pub fn mailbox_schema(&self) -> Result<u32> {
        // A copy: whoever has the database open here, under Wine, is not seen there.
        let copy = tempfile::tempdir()?;
        for file in ["mail.sqlite", "mail.sqlite-wal"] {
            match fs::copy(self.data()?.join(file), copy.path().join(file)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.ends_with("-wal") => {}
                copied => drop(copied?),
            }
        }
        let script = "import sqlite3, sys; \
                      print(sqlite3.connect(sys.argv[1]).execute('PRAGMA user_version').fetchone()[0])";
        let number = must(Command::new("python3").args(["-c", script]).arg(copy.path().join("mail.sqlite")))?;
        Ok(number.trim().parse()?)
    }

    /// Its connector's version and gate.
    ///
    /// # Errors
    /// When none has run yet.
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

    /// The user's mail program, connected to the connector on this PC, in the PC's own network.
    ///
    /// # Errors
    /// When the connector has not been set up.
    pub fn mail_program(&self) -> Result<&MailClient> {
        self.mail_program.as_ref().with_context(|| format!("{}: the connector has not been set up", self.name))
    }

    /// The end of its connector's log, and what its updater says.
    pub fn logs(&self) -> String {
        let connector = self.data().map(|data| tail(&data.join("connector.log"))).unwrap_or_default();
        let launcher = tail(&self.pc.path(DEPLOY).join("connector.log"));
        let updater = self.updater_status().map_or_else(|e| format!("{e:#}"), |status| format!("{status:#}"));
        format!("{}: connector:\n{connector}\nlauncher:\n{launcher}\nupdater: {updater}", self.name)
    }
}

/// The end of a log of Windows Installer's.
fn utf16(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let units: Vec<u16> = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    let text = String::from_utf16_lossy(&units);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
