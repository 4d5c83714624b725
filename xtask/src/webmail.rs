//! A real WebMail: Roundcube from the system's package, with its configuration and database in a folder of its own, and
//! people who use it in a real browser.
//!
//! PHP's own server serves it on a free port of the loopback address, as a user without rights; its workers are in its
//! process group and end with it.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    browser::Browser,
    mail_rig::{DOMAIN, MailRig},
    process::{Background, free_port, is_root, must, run, tail, wait_until},
};

/// The user whom PHP runs as when we are root; it needs no account.
const USER: u32 = 60_900;

/// How long a page may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// A running WebMail; stopped when it is dropped.
#[derive(Debug)]
pub struct WebMail {
    url: String,
    dir: PathBuf,
    _server: Background,
}

impl WebMail {
    /// Starts it for a mail server, with everything that it keeps in `dir`. Other users of the machine must be able to
    /// enter the folder above `dir`.
    ///
    /// # Errors
    /// When it is not installed or does not come up; the error shows its log.
    pub fn start(dir: &Path, rig: &MailRig) -> Result<Self> {
        let config = dir.join("config");
        for sub in ["config", "logs", "temp"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        for file in ["defaults.inc.php", "mimetypes.php"] {
            fs::copy(Path::new("/etc/roundcube").join(file), config.join(file))
                .with_context(|| format!("/etc/roundcube/{file}: the package roundcube-core has it"))?;
        }
        fs::copy(rig.certificate(), config.join("mail-server.pem"))?;
        fs::write(config.join("config.inc.php"), configuration(dir, rig)?)?;
        let database = dir.join("webmail.sqlite");
        if !database.exists() {
            let create = "(new PDO('sqlite:'.$argv[1]))->exec(file_get_contents($argv[2]));";
            must(
                Command::new("php")
                    .args(["-r", create])
                    .arg(&database)
                    .arg("/usr/share/roundcube/SQL/sqlite.initial.sql"),
            )?;
        }
        if is_root() {
            must(Command::new("chown").arg("-R").arg(format!("{USER}:{USER}")).arg(dir))?;
            // What PHP prints is written by us.
            fs::write(dir.join("php.log"), "")?;
            chown(dir.join("php.log"), Some(0), Some(0))?;
        }
        let port = free_port()?;
        let mut php = without_rights("php");
        php.args(["-d", "session.gc_probability=0", "-d", "error_log="])
            .arg("-S")
            .arg(format!("127.0.0.1:{port}"))
            .args(["-t", "/var/lib/roundcube/public_html"])
            .env("ROUNDCUBE_CONFIG_DIR", &config)
            .env("PHP_CLI_SERVER_WORKERS", "4")
            .current_dir("/var/lib/roundcube");
        let mut server = Background::start("the WebMail", &mut php, &dir.join("php.log"))?;
        let url = format!("http://127.0.0.1:{port}/");
        let page = wait_until("the WebMail", PATIENCE, || {
            ensure!(server.is_running(), "it has ended");
            let page = run(Command::new("curl").args(["-sSf", "--max-time", "20", &url]))?;
            Ok(page.status.success().then(|| String::from_utf8_lossy(&page.stdout).into_owned()))
        })
        .with_context(|| logs(dir))?;
        ensure!(page.contains("rcmloginuser"), "no login page:\n{page}\n{}", logs(dir));
        Ok(Self { url, dir: dir.into(), _server: server })
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Somebody opens a browser and logs in.
    ///
    /// # Errors
    /// When the WebMail does not let them in: what it says.
    pub fn log_in(&self, user: &str, password: &str) -> Result<Visit> {
        let browser = Browser::start()?;
        browser.open(&self.url)?;
        browser.type_into("#rcmloginuser", user)?;
        browser.type_into("#rcmloginpwd", password)?;
        browser.click("#rcmloginsubmit")?;
        let inside = wait_until("an answer to the login", PATIENCE, || {
            let said = browser.run(
                "return [document.body.className, document.querySelector('#messagestack')?.innerText ?? '']",
                &[],
            )?;
            let (page, message) = (said[0].as_str().unwrap_or_default(), said[1].as_str().unwrap_or_default());
            if page.contains("task-mail") {
                return Ok(Some(Ok(())));
            }
            Ok((!message.trim().is_empty()).then(|| Err(message.trim().to_owned())))
        })
        .with_context(|| logs(&self.dir))?;
        if let Err(message) = inside {
            anyhow::bail!("the WebMail does not let {user} in: {message}");
        }
        Ok(Visit { url: self.url.clone(), browser })
    }
}

/// Somebody who is logged in; their browser closes when this is dropped.
#[derive(Debug)]
pub struct Visit {
    url: String,
    browser: Browser,
}

impl Visit {
    /// The subjects of the messages in a folder, as the list shows them.
    ///
    /// # Errors
    /// When the list does not load.
    pub fn subjects(&self, folder: &str) -> Result<Vec<String>> {
        let rows = self.list(folder)?;
        Ok(rows.into_iter().map(|(subject, _)| subject).collect())
    }

    /// Waits for a message with this subject, opens it, and gives what a person can read on its page.
    ///
    /// # Errors
    /// When there is none in time.
    pub fn read(&self, folder: &str, subject: &str, limit: Duration) -> Result<String> {
        let address = wait_until(&format!("{subject:?} in the WebMail's {folder}"), limit, || {
            Ok(self.list(folder)?.into_iter().find(|(found, _)| found == subject).map(|(_, address)| address))
        })?;
        self.browser.open(&address)?;
        wait_until("the message's text", PATIENCE, || {
            let there = self.browser.run("return document.querySelector('#messagebody') !== null", &[])?;
            Ok((there == true).then_some(()))
        })?;
        self.browser.text()
    }

    /// Writes a message and sends it.
    ///
    /// # Errors
    /// When the WebMail does not say that it is sent.
    pub fn send(&self, to: &str, subject: &str, body: &str) -> Result<()> {
        self.browser.open(&format!("{}?_task=mail&_action=compose", self.url))?;
        wait_until("the page for a new message", PATIENCE, || {
            self.browser.type_into("#composebody", body)?;
            Ok(Some(()))
        })?;
        // A comma ends a recipient.
        self.browser.type_into(".recipient-input input", &format!("{to},"))?;
        self.browser.type_into("#compose-subject", subject)?;
        self.browser.click("#toolbar-menu a.send, #layout-content a.send, button.send")?;
        wait_until("the message to be sent", PATIENCE, || {
            // Afterwards it shows the list again, with a word about it.
            let left = self.browser.run("return document.querySelector('#composebody') === null", &[])?;
            Ok((left == true).then_some(()))
        })
        .with_context(|| self.browser.text().unwrap_or_default())
    }

    /// Takes a picture of the window.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn picture(&self, path: &Path) -> Result<()> {
        self.browser.picture(path)
    }

    /// Subject and address of each message that the list shows.
    fn list(&self, folder: &str) -> Result<Vec<(String, String)>> {
        self.browser.open(&format!("{}?_task=mail&_mbox={folder}", self.url))?;
        let script = "
            if (!window.rcmail || rcmail.busy || rcmail.env.messagecount === undefined) return null;
            const rows = [...document.querySelectorAll('#messagelist tbody tr .subject a')];
            if (rows.length < Math.min(rcmail.env.messagecount, 10)) return null;
            return rows.map(row => [row.innerText.trim(), row.href]);";
        let rows = wait_until("the WebMail's list", PATIENCE, || {
            let rows = self.browser.run(script, &[])?;
            Ok(rows.as_array().cloned())
        })?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(rows.iter().map(|row| (text(&row[0]), text(&row[1]))).collect())
    }
}

fn configuration(dir: &Path, rig: &MailRig) -> Result<String> {
    let d = dir.display();
    let key = fs::read("/proc/sys/kernel/random/uuid")?;
    let key: String = key.iter().map(|byte| char::from(*byte)).filter(char::is_ascii_hexdigit).take(24).collect();
    Ok(format!(
        "<?php
$tls = ['ssl' => ['verify_peer' => true, 'verify_peer_name' => true, 'peer_name' => 'localhost',
                  'cafile' => '{d}/config/mail-server.pem']];
$config = [
    'db_dsnw' => 'sqlite:///{d}/webmail.sqlite?mode=0600',
    'imap_host' => 'ssl://localhost:{}',
    'imap_conn_options' => $tls,
    'smtp_host' => 'tls://localhost:{}',
    'smtp_conn_options' => $tls,
    'smtp_user' => '%u',
    'smtp_pass' => '%p',
    'mail_domain' => '{DOMAIN}',
    'product_name' => 'Example WebMail',
    'des_key' => '{key}',
    'plugins' => [],
    'skin' => 'elastic',
    'log_dir' => '{d}/logs',
    'temp_dir' => '{d}/temp',
    'enable_installer' => false,
    'drafts_mbox' => 'Drafts',
    'sent_mbox' => 'Sent',
    'trash_mbox' => 'Trash',
];
",
        rig.imaps, rig.submission
    ))
}

fn without_rights(program: &str) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups", "--no-new-privs", program]);
    command
}

fn logs(dir: &Path) -> String {
    [dir.join("php.log"), dir.join("logs/errors.log")].map(|log| tail(&log)).join("\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::mail_rig::MailClient;

    #[test]
    fn a_person_reads_and_sends_in_a_browser() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let [alice, bob] = ["alice", "bob"].map(|name| (format!("{name}@{DOMAIN}"), format!("{name}-secret")));
        let rig = MailRig::start(&dir.path().join("mail"), "7.3.0", &[alice.clone(), bob.clone()]).unwrap();
        let webmail = WebMail::start(&dir.path().join("webmail"), &rig).unwrap();
        MailClient::direct(&rig, &bob.0).send(&alice.0, "lunch?", "At noon, in the garden.").unwrap();

        let refused = webmail.log_in(&alice.0, "wrong").unwrap_err();
        assert!(format!("{refused:#}").contains("Login failed"), "{refused:#}");
        let visit = webmail.log_in(&alice.0, &alice.1).unwrap();
        let page = visit.read("INBOX", "lunch?", PATIENCE).unwrap();
        assert!(page.contains("At noon, in the garden."), "{page}");
        visit.send(&bob.0, "with pleasure", "See you – Grüße").unwrap();
        assert_eq!(visit.subjects("Sent").unwrap(), ["with pleasure"]);
        MailClient::direct(&rig, &bob.0).wait_for("INBOX", "with pleasure", PATIENCE).unwrap();
        let picture = dir.path().join("webmail.png");
        visit.picture(&picture).unwrap();
        assert!(fs::read(&picture).unwrap().starts_with(b"\x89PNG"));
    }
}
