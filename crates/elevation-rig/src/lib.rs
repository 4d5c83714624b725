//! People who are asked for the administrator's password, for real: sudo with its askpass program, and polkit with an
//! agent that answers as a person would; real accounts, a real password, and nothing of it on the machine.
//!
//! | file | room for |
//! |---|---|
//! | `view.rs` | the machine as these people see it: some files are others, in a mount namespace of its own |
//! | `accounts.rs` | their accounts, and root's password |
//! | `sudo.rs` | sudo: its configuration and its askpass program |
//! | `polkit.rs` | polkit: a system bus, polkitd and one agent for each person (`agent.py`) |
//!
//! A program that is to be able to ask starts with [`Elevation::as_person`]. It must not start under
//! `no-new-privs`, which would take the set-user-ID bit from sudo and pkexec.

#![forbid(unsafe_code)]

mod accounts;
mod polkit;
mod sudo;
#[cfg(test)]
mod tests;
mod view;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use mail_rig::process::{Background, is_root, tail};
use view::View;

/// Root's password, as the people of the story know it.
pub const PASSWORD: &str = "correct horse";

/// What a person does when the window with the question comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Types the administrator's password.
    Right,
    /// Types something else.
    Wrong,
    /// Closes the window.
    Refuse,
    /// Is not there: the window stays.
    LeaveOpen,
}

impl Answer {
    fn word(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
            Self::Refuse => "refuse",
            Self::LeaveOpen => "leave-open",
        }
    }
}

/// Somebody with an account.
#[derive(Debug, Clone)]
pub struct Person {
    /// Their login name: lower-case letters, digits and `-`.
    pub name: String,
    /// Their number.
    pub uid: u32,
    /// An administrator who is asked for nothing, else somebody who needs the administrator's password.
    pub administrator: bool,
    /// What they do when they are asked.
    pub answer: Answer,
}

impl Person {
    /// Somebody who needs the administrator's password.
    pub fn new(name: &str, uid: u32, answer: Answer) -> Self {
        Self { name: name.into(), uid, administrator: false, answer }
    }

    /// Somebody who may do everything and is asked for nothing.
    pub fn administrator(name: &str, uid: u32) -> Self {
        Self { name: name.into(), uid, administrator: true, answer: Answer::Right }
    }
}

/// A way to ask for the administrator's password, and the people who are asked. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Elevation {
    dir: PathBuf,
    people: Vec<Person>,
    command: Vec<String>,
    quiet_probe: Vec<String>,
    wrapper: Option<PathBuf>,
    // In the order in which they end.
    programs: Vec<Background>,
    view: View,
}

impl Elevation {
    /// What a site would configure: the words before the program that is to run as root.
    pub fn command(&self) -> &[String] {
        &self.command
    }

    /// What a site would configure to find out whether somebody would be asked at all: exit code 0 if not. `PID` stands
    /// for the number of the process that wants to know.
    pub fn quiet_probe(&self) -> &[String] {
        &self.quiet_probe
    }

    /// A command of this person, without an environment. Root alone can start it.
    ///
    /// # Errors
    /// When there is no such person.
    pub fn as_person(&self, name: &str, program: &Path) -> Result<Command> {
        let prefix = self.prefix(name)?;
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]).arg(program).env_clear().env("PATH", "/usr/bin:/bin");
        Ok(command)
    }

    /// The words that start a program as this person, on the machine as these people see it, for root to say. The
    /// program starts in `/`, and with the environment of whoever says them.
    ///
    /// # Errors
    /// When there is no such person.
    pub fn prefix(&self, name: &str) -> Result<Vec<String>> {
        let uid = self.person(name)?.uid;
        let mut prefix = self.view.prefix();
        prefix.extend(["setpriv".into(), format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".into()]);
        prefix.extend(self.wrapper.iter().map(|wrapper| wrapper.display().to_string()));
        Ok(prefix)
    }

    /// What this person does from now on.
    ///
    /// # Errors
    /// When there is no such person.
    pub fn answer(&self, name: &str, answer: Answer) -> Result<()> {
        self.person(name)?;
        fs::write(self.dir.join("answers").join(name), answer.word()).context("what a person answers")
    }

    /// The questions that this person has been asked so far.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub fn asked(&self, name: &str) -> Result<Vec<String>> {
        self.person(name)?;
        let all = fs::read_to_string(self.dir.join("asked.log"))?;
        let of = |line: &str| line.split_once('\t').filter(|(who, _)| *who == name).map(|(_, what)| what.to_owned());
        Ok(all.lines().filter_map(of).collect())
    }

    /// What the programs behind it have said, for a look when something goes wrong.
    pub fn log(&self) -> String {
        let own = [self.dir.join("asked.log"), self.dir.join("sudo.log")];
        let logs = own.iter().chain(self.programs.iter().map(|program| &program.log));
        logs.filter(|log| log.exists()).map(|log| format!("{}:\n{}\n", log.display(), tail(log))).collect()
    }

    fn person(&self, name: &str) -> Result<&Person> {
        self.people.iter().find(|person| person.name == name).with_context(|| format!("nobody is called {name}"))
    }
}

/// The folder with everything, and what each person answers.
fn prepare(dir: &Path, people: &[Person]) -> Result<()> {
    ensure!(is_root(), "people with accounts of their own need root; start this with sudo");
    for person in people {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ensure!(person.name.chars().all(plain) && !person.name.is_empty(), "{:?} is no login name", person.name);
    }
    fs::create_dir_all(dir.join("answers"))?;
    for person in people {
        fs::write(dir.join("answers").join(&person.name), person.answer.word())?;
    }
    fs::write(dir.join("asked.log"), "")?;
    // Everybody notes what they are asked.
    fs::set_permissions(dir.join("asked.log"), fs::Permissions::from_mode(0o666))?;
    accounts::write(dir, people)
}

/// Writes a program.
fn write_program(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
