//! A real mail client: curl, against the mail server or against a connector on its PC.

use std::{io::Write, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    MailRig,
    process::{must, run, wait_until},
};

/// One account as a mail program knows it.
#[derive(Debug, Clone)]
pub struct MailClient {
    imap: String,
    smtp: String,
    login: String,
    user: String,
    certificate: Option<std::path::PathBuf>,
    within: Vec<String>,
}

impl MailClient {
    /// A client that talks to the mail server itself.
    pub fn direct(rig: &MailRig, user: &str) -> Self {
        Self {
            imap: format!("imaps://127.0.0.1:{}", rig.imaps),
            smtp: format!("smtp://127.0.0.1:{}", rig.submission),
            login: format!("{user}:{}", rig.password(user)),
            user: user.into(),
            certificate: Some(rig.certificate()),
            within: Vec::new(),
        }
    }

    /// A client that talks to the connector on its PC.
    pub fn local(imap: u16, smtp: u16, user: &str, password: &str) -> Self {
        Self {
            imap: format!("imap://127.0.0.1:{imap}"),
            smtp: format!("smtp://127.0.0.1:{smtp}"),
            login: format!("{user}:{password}"),
            user: user.into(),
            certificate: None,
            within: Vec::new(),
        }
    }

    /// The same client in another network: these words start a program there.
    #[must_use]
    pub fn within(self, words: Vec<String>) -> Self {
        Self { within: words, ..self }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the server does not accept it.
    pub fn send(&self, to: &str, subject: &str, body: &str) -> Result<()> {
        let mut message = tempfile::NamedTempFile::new()?;
        write!(message, "From: {}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\n{body}\r\n", self.user)?;
        let mut curl = self.curl();
        if self.certificate.is_some() {
            curl.arg("--ssl-reqd");
        }
        curl.arg(&self.smtp)
            .args(["--mail-from", &self.user, "--mail-rcpt", to])
            .arg("--upload-file")
            .arg(message.path());
        must(&mut curl).with_context(|| format!("{} sends to {to}", self.user)).map(drop)
    }

    /// How many messages of a folder have this subject.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn count(&self, folder: &str, subject: &str) -> Result<usize> {
        Ok(self.uids(folder, &format!("SUBJECT \"{subject}\""))?.len())
    }

    /// The UIDs that a search finds.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn uids(&self, folder: &str, criteria: &str) -> Result<Vec<String>> {
        let found = self.imap(folder, &format!("UID SEARCH {criteria}"))?;
        let line = found.lines().find(|l| l.starts_with("* SEARCH")).unwrap_or_default();
        Ok(line.split_whitespace().skip(2).map(str::to_owned).collect())
    }

    /// Sends one IMAP command in a selected folder, and gives the untagged answers.
    ///
    /// # Errors
    /// When the server says no.
    pub fn imap(&self, folder: &str, command: &str) -> Result<String> {
        must(self.curl().arg(format!("{}/{folder}", self.imap)).args(["-X", command]))
            .with_context(|| format!("{}: {command} in {folder}", self.user))
    }

    /// Sends a command about the one message with this subject; `{}` stands for its UID.
    ///
    /// # Errors
    /// When there is not exactly one, or the server says no.
    pub fn change(&self, folder: &str, subject: &str, command: &str) -> Result<()> {
        let uids = self.uids(folder, &format!("SUBJECT \"{subject}\""))?;
        let [uid] = &uids[..] else { bail!("{}: {} messages {subject:?} in {folder}", self.user, uids.len()) };
        self.imap(folder, &command.replace("{}", uid)).map(drop)
    }

    /// Saves a message of the user's own in a folder, as a mail program does with a draft.
    ///
    /// # Errors
    /// When the server does not take it.
    pub fn save(&self, folder: &str, subject: &str, body: &str) -> Result<()> {
        let message = format!("From: {0}\r\nTo: {0}\r\nSubject: {subject}\r\n\r\n{body}\r\n", self.user);
        self.append(folder, message.as_bytes())
    }

    /// The text of the first message whose subject contains `subject`, as the server has it.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn message_with(&self, folder: &str, subject: &str) -> Result<Option<String>> {
        let Some(uid) = self.uids(folder, &format!("SUBJECT \"{subject}\""))?.into_iter().next() else {
            return Ok(None);
        };
        must(self.curl().arg(format!("{}/{folder};UID={uid}", self.imap))).map(Some)
    }

    /// Every folder, with its number of messages.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn folders(&self) -> Result<Vec<(String, u64)>> {
        let list = must(self.curl().arg(format!("{}/", self.imap)))?;
        let names = list.lines().filter(|l| l.starts_with("* LIST") && !l.contains("\\Noselect"));
        let names =
            names.filter_map(|l| l.trim_end().rsplit_once("\"/\" ").map(|(_, name)| name.trim_matches('"').to_owned()));
        let messages = |name: String| {
            let status = must(
                self.curl().arg(format!("{}/", self.imap)).args(["-X", &format!("STATUS \"{name}\" (MESSAGES)")]),
            )?;
            let count =
                status.split("MESSAGES ").nth(1).and_then(|rest| rest.trim_end().trim_end_matches(')').parse().ok());
            Ok((name, count.with_context(|| status.clone())?))
        };
        names.map(messages).collect()
    }

    /// What the server says from its greeting to the end of a login.
    ///
    /// # Errors
    /// When curl cannot be started.
    pub fn greeting(&self) -> Result<String> {
        let output = run(self.curl().arg("-v").arg(format!("{}/", self.imap)))?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Puts a message into a folder, unread, as another mail program of the user would.
    ///
    /// # Errors
    /// When the server does not take it.
    pub fn append(&self, folder: &str, message: &[u8]) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(message)?;
        must(self.curl().arg("-T").arg(file.path()).arg(format!("{}/{folder}", self.imap)))
            .with_context(|| format!("{}: a message into {folder}", self.user))
            .map(drop)
    }

    /// Waits until exactly one message with this subject is there.
    ///
    /// # Errors
    /// When it does not come in time, or comes twice.
    pub fn wait_for(&self, folder: &str, subject: &str, limit: Duration) -> Result<()> {
        let what = format!("{subject:?} in {folder} of {}", self.user);
        let count = wait_until(&what, limit, || Ok(Some(self.count(folder, subject)?).filter(|n| *n > 0)))?;
        ensure!(count == 1, "{what}: {count} copies");
        Ok(())
    }

    /// Whether a login works now.
    pub fn can_log_in(&self) -> bool {
        run(self.curl().arg(format!("{}/", self.imap))).is_ok_and(|o| o.status.success())
    }

    fn curl(&self) -> Command {
        let mut words = self.within.iter().map(String::as_str).chain(["curl"]);
        let mut curl = Command::new(words.next().unwrap_or("curl"));
        curl.args(words).args(["-sS", "--max-time", "20", "--user", &self.login]);
        if let Some(certificate) = &self.certificate {
            curl.arg("--cacert").arg(certificate);
        }
        curl
    }
}
