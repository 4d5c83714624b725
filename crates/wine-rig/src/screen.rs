//! A screen that nobody sees, and pictures of it.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};
use mail_rig::process::{Background, must, wait_until};

/// A screen of 1024 by 768 points. It goes when it is dropped.
#[derive(Debug)]
pub struct Screen {
    display: String,
    _server: Background,
    _dir: tempfile::TempDir,
}

impl Screen {
    /// A new, empty screen.
    ///
    /// # Errors
    /// When Xvfb is missing or does not start.
    pub fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let log = dir.path().join("number");
        let mut command = Command::new("Xvfb");
        // It takes a free number and prints it.
        command.args(["-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp"]);
        let server = Background::start("a screen", &mut command, &log)?;
        let number = wait_until("a screen", Duration::from_secs(30), || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            Ok(said.lines().find_map(|line| line.trim().parse::<u32>().ok()))
        })?;
        Ok(Self { display: format!(":{number}"), _server: server, _dir: dir })
    }

    /// Its name, for programs of X.
    pub fn display(&self) -> &str {
        &self.display
    }

    /// Makes a picture of it, in the form that the name's ending says.
    ///
    /// # Errors
    /// When imagemagick is missing or cannot write there.
    pub fn picture(&self, to: &Path) -> Result<()> {
        let mut import = Command::new("import");
        import.args(["-display", &self.display, "-window", "root"]).arg(to);
        must(&mut import).map(drop).with_context(|| to.display().to_string())
    }

    /// How many colours it shows: one when it is empty.
    ///
    /// # Errors
    /// When imagemagick is missing.
    pub fn colours(&self) -> Result<u32> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("screen.png");
        self.picture(&file)?;
        let count = must(Command::new("identify").args(["-format", "%k"]).arg(&file))?;
        count.trim().parse().with_context(|| format!("{count} is no count"))
    }
}
