//! Upgrading on a PC without an updater: the verified installer, started with the administrator's rights.
//!
//! ```text
//!  the site's server says           stage             recommended, required
//!                                     │                        │
//!                                     ▼                        ▼                refused, failed
//!                               fetch, verify ──────► policy: ask now? ──► ask ────────────────► wait, offline
//!                                                                          │ installed              │ as the policy says
//!                                                                          ▼                        ▼
//!                                          the machine's connector takes over             ask again
//! ```
//!
//! | module | room for |
//! |---|---|
//! | [`policy`] | when to ask: a pure decision |
//! | [`memory`] | the last refusal, on disk |
//! | [`payload`] | the verified folder to install from |
//! | [`elevation`](mod@elevation) | running the installer with the administrator's rights |
//! | [`per_machine`] | what is installed for everybody, and when it takes over |
//! | [`state`] | how it stands, for people |

pub mod elevation;
pub mod memory;
pub mod payload;
pub mod per_machine;
pub mod policy;
pub mod state;
mod task;

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
};

pub use task::{Task, Told, run};

use crate::{
    clock, files,
    installer::{
        elevation::{Denied, Elevation, Terminal},
        policy::{Attempt, Outcome},
    },
    platform,
    profile::Found,
};

/// Starts the installer, one at a time, and remembers what became of it.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The user's data directory.
    pub data: PathBuf,
    /// The PC's root directory.
    pub root: PathBuf,
    /// How to get the administrator's rights.
    pub elevation: Elevation,
}

impl Installation {
    /// Installs from a folder that has been prepared; gives what the installer said.
    ///
    /// # Errors
    /// [`Denied`]: nothing was installed. It is remembered, and counts against another prompt.
    pub async fn install(
        &self,
        program: &Path,
        version: &protocol::Version,
        terminal: Terminal,
    ) -> Result<String, Denied> {
        let outcome = match only_one(&self.data) {
            Ok(_held) => {
                let arguments = ["install".as_ref(), "--root".as_ref(), self.root.as_os_str()];
                match self.may_ask(version, terminal).await {
                    true => self.elevation.run(program, &arguments, terminal).await,
                    false => {
                        Err(Denied { outcome: Outcome::Refused, detail: "the question was answered with no".into() })
                    }
                }
            }
            Err(detail) => return Err(Denied { outcome: Outcome::Failed, detail }),
        };
        let kept = match &outcome {
            Ok(_) => memory::forget(&self.data),
            Err(Denied { outcome, detail }) => {
                let (version, outcome, detail) = (version.clone(), *outcome, detail.clone());
                memory::save(&self.data, &Attempt { version, at: clock::now(), outcome, detail })
            }
        };
        if let Err(error) = kept {
            tracing::error!(%error, "the answer to the prompt cannot be kept; a restart may ask again sooner");
        }
        outcome
    }
}

impl Installation {
    /// Says who will ask for the administrator's rights, and why, where the system's own prompt does not.
    async fn may_ask(&self, version: &protocol::Version, terminal: Terminal) -> bool {
        if terminal == Terminal::Users || !self.elevation.needs_words() || self.elevation.is_quiet().await {
            return true;
        }
        let text = format!(
            "The mail server works with another version of Lockstep Connector: {version}.\n\n\
             This computer has no Lockstep Updater, so Windows asks for an administrator's permission to install both. \
             If it is not given, Lockstep Connector stays offline: mail that is here can be read, changes and outgoing mail \
             are kept until it is upgraded.\n\nInstall it now?"
        );
        platform::announce("Lockstep Connector", &text, self.elevation.patience).await
    }
}

/// Never two prompts at once, whoever started them: the running connector, or the user's `upgrade`.
fn only_one(data: &Path) -> Result<File, String> {
    let path = data.join("installer.lock");
    let lock = || {
        files::private_directory(data)?;
        File::options().create(true).truncate(false).write(true).open(&path)
    };
    let lock = lock().map_err(|error| format!("cannot use {}: {error}", path.display()))?;
    lock.try_lock().map_err(|_| "another installation is under way; finish or dismiss its prompt first".to_owned())?;
    Ok(lock)
}

/// The way to the administrator's rights on this PC: what the user has set up, else what the machine's
/// `etc/lockstep/connector.toml` says, else polkit's.
pub fn elevation(root: &Path, users: Option<&[String]>) -> Elevation {
    #[derive(serde::Deserialize, Default)]
    struct Machine {
        #[serde(default)]
        elevation: Vec<String>,
        #[serde(default)]
        elevation_probe: Option<Vec<String>>,
    }
    let path = platform::settings(root).join("connector.toml");
    let machine = match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).unwrap_or_else(|error| {
            tracing::error!(%error, path = %path.display(), "the machine's settings are not used");
            Machine::default()
        }),
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::error!(%error, path = %path.display(), "the machine's settings are not used");
            }
            Machine::default()
        }
    };
    match users {
        Some(command) if !command.is_empty() => Elevation::of(command.to_vec()),
        _ if !machine.elevation.is_empty() => {
            Elevation { probe: machine.elevation_probe, ..Elevation::of(machine.elevation) }
        }
        _ => Elevation { probe: machine.elevation_probe, ..Elevation::default() },
    }
}

/// Where everything that a workshop needs came from.
///
/// # Errors
/// In words: the vendor's root is missing.
pub fn workshop(
    found: &Found,
    data: &Path,
    server: crate::server_client::ServerClient,
    running: &protocol::Version,
) -> Result<payload::Workshop, crate::profile::ProfileError> {
    let vendor_root = found.vendor_root()?;
    Ok(payload::Workshop::new(data, server, found.bytes.clone(), vendor_root, running.clone()))
}

/// The arguments of the launcher that go on with this user's connector.
pub fn launcher_arguments<'a>(root: &'a Path, data: &'a Path) -> [&'a OsStr; 9] {
    let words = ["--root", "connector", "--", "run", "--root", "--data"].map(OsStr::new);
    let (root, data) = (root.as_os_str(), data.as_os_str());
    [words[0], root, words[1], words[2], words[3], words[4], root, words[5], data]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_command_goes_before_the_machines_and_that_before_the_usual_one() {
        let pc = tempfile::tempdir().unwrap();
        assert_eq!(elevation(pc.path(), None).command, [platform::ELEVATION]);
        std::fs::create_dir_all(pc.path().join("etc/lockstep")).unwrap();
        let file = pc.path().join("etc/lockstep/connector.toml");
        std::fs::write(&file, "elevation = [\"sudo\", \"-A\"]\nelevation_probe = [\"false\"]\n").unwrap();
        let machine = elevation(pc.path(), None);
        assert_eq!((machine.command, machine.probe), (vec!["sudo".into(), "-A".into()], Some(vec!["false".into()])));
        assert_eq!(elevation(pc.path(), Some(&["doas".into()])).command, ["doas"]);
        std::fs::write(&file, "elevation = 7").unwrap();
        assert_eq!(elevation(pc.path(), None).command, [platform::ELEVATION]);
    }

    #[test]
    fn two_prompts_never_stand_at_once() {
        let data = tempfile::tempdir().unwrap();
        let first = only_one(data.path()).unwrap();
        assert!(only_one(data.path()).is_err());
        drop(first);
        assert!(only_one(data.path()).is_ok());
    }
}
