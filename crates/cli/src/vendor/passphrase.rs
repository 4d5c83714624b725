//! Where the passphrase of the key files comes from: a file, the environment, or the terminal.

use std::{cell::OnceCell, fs, io::IsTerminal, path::PathBuf};

use anyhow::{Context, bail, ensure};

/// The environment variable that scripts use.
const VARIABLE: &str = "LOCKSTEP_PASSPHRASE";

/// The passphrase of the key files; asked for once, and only when a file is encrypted.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Passphrase {
    /// File whose first line is the passphrase of the keys; else the variable LOCKSTEP_PASSPHRASE, else you are asked
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[arg(skip)]
    known: OnceCell<String>,
}

impl Passphrase {
    /// The passphrase of keys that exist.
    pub fn ask(&self) -> anyhow::Result<String> {
        self.get("Passphrase of the keys: ", false)
    }

    /// A passphrase for new keys: typed twice, never empty.
    pub fn choose(&self) -> anyhow::Result<String> {
        let passphrase = self.get("Passphrase for the new keys: ", true)?;
        ensure!(passphrase.chars().count() >= 8, "a passphrase has at least 8 characters");
        Ok(passphrase)
    }

    fn get(&self, prompt: &str, twice: bool) -> anyhow::Result<String> {
        if let Some(known) = self.known.get() {
            return Ok(known.clone());
        }
        let passphrase = if let Some(path) = &self.passphrase_file {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            text.lines().next().unwrap_or_default().to_owned()
        } else if let Ok(text) = std::env::var(VARIABLE) {
            text
        } else if std::io::stdin().is_terminal() {
            let typed = rpassword::prompt_password(prompt).context("cannot read the passphrase")?;
            if twice {
                let again = rpassword::prompt_password("Once more: ").context("cannot read the passphrase")?;
                ensure!(typed == again, "the two passphrases differ");
            }
            typed
        } else {
            bail!("the keys need a passphrase: give --passphrase-file FILE, or set {VARIABLE}");
        };
        Ok(self.known.get_or_init(|| passphrase).clone())
    }
}
