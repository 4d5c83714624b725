//! The site: its mail server, `lockstep-server`, and the administrator at the command line.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;

use super::{narrator::Narrator, vendor::Vendor};
use crate::{
    browser::Browser,
    mail_rig::MailRig,
    process::{Background, free_port, must, run, wait_until},
    programs::Programs,
};

/// Where notices send people meanwhile, at a site whose WebMail nobody visits.
pub const NO_WEBMAIL: &str = "https://127.0.0.1/webmail";

/// A site in a folder of its own.
#[derive(Debug)]
pub struct Site {
    /// The protected mail server.
    pub mail: MailRig,
    dir: PathBuf,
    url: String,
    webmail: String,
    programs: Programs,
    start: Vec<String>,
    server: Option<Background>,
}

/// How the server learns the mail server's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionSource {
    /// It asks the running mail server.
    Probe,
    /// A package hook tells it.
    Pushed,
}

impl Site {
    /// Sets the site up and starts both servers.
    ///
    /// # Errors
    /// When one does not come up; the error shows its log.
    pub fn start(
        dir: &Path,
        programs: &Programs,
        vendor: &mut Vendor,
        mail: MailRig,
        webmail: &str,
        source: VersionSource,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let port = free_port()?;
        let url = format!("https://127.0.0.1:{port}");
        let text = |path: PathBuf| path.display().to_string();
        let mut start: Vec<String> = [
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--url",
            &url,
            "--vendor",
            &vendor.web_address()?,
            "--vendor-root",
            &text(vendor.root()),
            "--imap",
            &format!("127.0.0.1:{}", mail.imaps),
            "--submission",
            &format!("127.0.0.1:{}", mail.submission),
            "--mail-ca",
            &text(mail.certificate()),
            "--webmail",
            webmail,
            "--product",
            "connector",
        ]
        .map(String::from)
        .into();
        if source == VersionSource::Probe {
            start.extend(["--server-version-probe".into(), format!("sh -c {}", quoted(&mail.version_probe()))]);
        }
        start.extend(["--mail-gate".into(), format!("127.0.0.1:{}", free_port()?)]);
        let mut site = Self {
            mail,
            dir: dir.into(),
            url,
            webmail: webmail.into(),
            programs: programs.clone(),
            start,
            server: None,
        };
        site.power_on()?;
        site.must_lockstep(&["refresh"])?;
        // Everything it needs to know is in its configuration file now.
        site.start.clear();
        site.close_the_mail_gate_to_the_outdated()?;
        Ok(site)
    }

    /// What the administrator's guide says: Dovecot asks at each login, and sessions are ended at the flip.
    fn close_the_mail_gate_to_the_outdated(&mut self) -> Result<()> {
        let settings = self.data().join("server.toml");
        let text = std::fs::read_to_string(&settings)?;
        let commented = text.lines().find(|l| l.starts_with("# end_sessions =")).context("no end_sessions")?;
        let mut kick = self.mail.doveadm_command();
        kick.extend(["kick", "{user}", "{address}"].map(String::from));
        std::fs::write(
            &settings,
            text.replace(commented, &format!("end_sessions = {}", serde_json::to_string(&kick)?)),
        )?;
        self.power_off();
        self.power_on()?;
        let lines = self.must_lockstep(&["mail-gate"])?;
        // An open session of an outdated connector ends because lockstep-server ends it, or not at all.
        self.mail.reconfigure(|setup| setup.dovecot = lines + "\nshutdown_clients = no\n")
    }

    /// Starts `lockstep-server`.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn power_on(&mut self) -> Result<()> {
        let log = self.dir.join("server.log");
        // A line of an earlier start would look like this one's.
        std::fs::write(&log, "")?;
        let mut command = Command::new(self.programs.path("lockstep-server"));
        command.arg("run").arg("--data").arg(self.data()).args(&self.start);
        let mut server = Background::start("lockstep-server", &mut command, &log)?;
        server.wait_for("lockstep-server ready at", Duration::from_secs(30))?;
        self.server = Some(server);
        Ok(())
    }

    /// Stops `lockstep-server`.
    pub fn power_off(&mut self) {
        self.server = None;
    }

    /// Where notices send people meanwhile.
    pub fn webmail(&self) -> &str {
        &self.webmail
    }

    /// A browser in which the administrator has signed in to the console.
    ///
    /// # Errors
    /// When the sign-in fails.
    pub fn console(&self) -> Result<Browser> {
        let browser = Browser::start()?;
        let password = std::fs::read_to_string(self.data().join("initial-admin-password"))?;
        browser.open(&format!("{}/console", self.url))?;
        browser.type_into("input[name=name]", "admin")?;
        browser.type_into("input[name=password]", password.trim())?;
        browser.click("button[type=submit]")?;
        Ok(browser)
    }

    /// The console's page about a PC, as a person reads it.
    ///
    /// # Errors
    /// When the console does not have it.
    pub fn device_page(&self, pc: &str) -> Result<String> {
        let devices = self.status()?["devices"].as_array().cloned().unwrap_or_default();
        let device = devices.iter().find(|d| d["pc"] == pc).with_context(|| format!("{pc} is not known"))?;
        let id = device["device"].as_str().context("a device without an id")?;
        let browser = self.console()?;
        browser.open(&format!("{}/console/pc/{id}", self.url))?;
        browser.text()
    }

    /// `lockstep-server`'s process id.
    pub fn server_id(&self) -> Option<u32> {
        self.server.as_ref().map(Background::id)
    }

    /// `lockstep-server`'s port.
    pub fn port(&self) -> &str {
        self.url.rsplit(':').next().unwrap_or_default()
    }

    /// Every port that a PC of the site reaches: `lockstep-server`'s, and the mail server's two.
    ///
    /// # Errors
    /// When the server's address has none.
    pub fn ports(&self) -> Result<[u16; 3]> {
        Ok([self.port().parse()?, self.mail.imaps, self.mail.submission])
    }

    /// `lockstep-server`'s own folder.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// `lockstep-server`'s address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `lockstep-server`'s certificate.
    ///
    /// # Errors
    /// When it has not been started yet.
    pub fn certificate(&self) -> Result<PathBuf> {
        let admin: Value = serde_json::from_slice(&std::fs::read(self.data().join("admin.json"))?)?;
        let path = self.dir.join("site-certificate.pem");
        std::fs::write(&path, admin["certificate"].as_str().context("admin.json has no certificate")?)?;
        Ok(path)
    }

    /// The administrator types `lockstep …`.
    ///
    /// # Errors
    /// When the tool cannot be started.
    pub fn lockstep(&self, arguments: &[&str]) -> Result<Output> {
        run(Command::new(self.programs.path("lockstep")).args(arguments).arg("--data").arg(self.data()))
    }

    /// As [`Site::lockstep`], for a command that must succeed.
    ///
    /// # Errors
    /// When it does not.
    pub fn must_lockstep(&self, arguments: &[&str]) -> Result<String> {
        must(Command::new(self.programs.path("lockstep")).args(arguments).arg("--data").arg(self.data()))
    }

    /// The administrator announces the next version, although users will be cut off, and upgrades the mail server; gives when.
    ///
    /// # Errors
    /// When it is announced without asking, or the mail server does not come up.
    pub fn cut_over(&mut self, to: &str, narrator: Narrator) -> Result<Timestamp> {
        let unasked = self.lockstep(&["cut-over", "--to", to])?;
        ensure!(!unasked.status.success(), "with users to be cut off and nobody to ask, it must refuse");
        let text = self.must_lockstep(&["cut-over", "--to", to, "--yes"])?;
        narrator.show(&format!("lockstep cut-over --to {to} --yes"), &text);
        self.mail.become_version_under_way(to)?;
        let flipped = Timestamp::now();
        narrator.say(&format!("The mail server is upgraded: its greeting says {to}."));
        Ok(flipped)
    }

    /// `lockstep status --json`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.must_lockstep(&["status", "--json"])?)?)
    }

    /// `lockstep preflight --to … --json`, and its exit code.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn preflight(&self, to: &str) -> Result<(Value, Option<i32>)> {
        let output = self.lockstep(&["preflight", "--to", to, "--json"])?;
        let table = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        Ok((table, output.status.code()))
    }

    /// The rows of [`Site::preflight`] as (user, readiness, staged).
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn readiness(&self, to: &str) -> Result<Vec<(String, String, bool)>> {
        let (table, _) = self.preflight(to)?;
        let rows = table["rows"].as_array().context("no rows")?;
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let staged = |row: &Value| row["staged"].as_bool().unwrap_or(false);
        Ok(rows.iter().map(|row| (text(row, "user"), text(row, "readiness"), staged(row))).collect())
    }

    /// Waits until the server has noticed that the mail server's version is `version`.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_for_server_version(&self, version: &str) -> Result<()> {
        wait_until(&format!("server version {version}"), Duration::from_secs(20), || {
            let products = self.status()?["products"].clone();
            let server = products.as_array().and_then(|all| all.iter().find(|p| p["product"] == "connector"));
            Ok(server.filter(|p| p["server"] == version).map(drop))
        })
    }

    /// Fetches a page or file of the server without logging in.
    ///
    /// # Errors
    /// When the server does not answer with success.
    pub fn get(&self, path: &str, to: &Path) -> Result<()> {
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "--max-time", "120"]).arg("--cacert").arg(self.certificate()?);
        must(curl.arg("-o").arg(to).arg(format!("{}{path}", self.url))).map(drop)
    }

    /// Downloads a file that the integration page links to, and unpacks it.
    ///
    /// # Errors
    /// When the page has no such link.
    pub fn install_from_page(&self, file: &str, into: &Path) -> Result<PathBuf> {
        let page = self.dir.join("integration.html");
        self.get("/integration", &page)?;
        let html = std::fs::read_to_string(&page)?;
        ensure!(html.contains(file), "the integration page does not offer {file}:\n{html}");
        std::fs::create_dir_all(into)?;
        let archive = into.join(file);
        self.get(&format!("/integration/{file}"), &archive)?;
        must(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(into))?;
        let folder = file.split("-linux-").next().unwrap_or(file);
        Ok(into.join(folder))
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
