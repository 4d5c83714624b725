//! Steps 9, 14 and 16: a PC that was away comes back, and its power is cut at every rename of the upgrade; its mailbox
//! goes through all database upgrades at once.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    process::{Background, must, wait_until},
    programs::{NEW, OLDEST},
    story::{
        narrator::Narrator,
        play::{SOON, World},
    },
};

impl World {
    /// pc-away is switched on, and its power is cut at every rename of the upgrade. Gives how often it was cut.
    pub(in crate::story) fn away_comes_back(&mut self, narrator: Narrator) -> Result<usize> {
        narrator.step("14, 9", "pc-away comes back after a long time, and its power is cut again and again");
        let before = self.away.mailbox_schema()?;
        let mut kills = 0;
        for point in 1..200 {
            let log = self.away.root().join("strace.log");
            let mut command = under_strace(&self.away.updater_command(), point, &log);
            let mut updater = Background::start("strace", &mut command, &self.away.root().join("updater.log"))?;
            let done = wait_until("an end", Duration::from_secs(60), || {
                if self.away.active_version().as_deref() == Some(NEW) && updater.is_running() {
                    return Ok(Some(true));
                }
                Ok((!updater.is_running()).then_some(false))
            })?;
            let killed = !updater.is_running();
            self.one_complete_version()?;
            if done && !killed {
                end_under_strace(&mut updater)?;
                break;
            }
            kills += 1;
        }
        ensure!(kills > 3, "only {kills} power cuts: the updater was not killed in the middle of anything");
        let logins = self.site.mail.log().matches(&format!("Login: user=<{}>", self.away.user)).count();
        self.away.start_updater()?;
        self.away.wait_for_connector(NEW)?;
        self.one_complete_version()?;
        let now = self.site.mail.log().matches(&format!("Login: user=<{}>", self.away.user)).count();
        ensure!(now == logins, "pc-away talked to the mail server before it was upgraded");
        self.away.sign_in()?;
        self.away.wait_for_gate("online", NEW, SOON)?;
        narrator.say(&format!(
            "pc-away is switched on; its updater is killed {kills} times, at each rename of the upgrade in turn."
        ));
        narrator.say(&format!("After each, one complete version was active; in the end {NEW} is, and online."));
        narrator.step("16", "Its mailbox goes from the database of 7.1 to that of 7.3 in one start");
        let after = self.away.mailbox_schema()?;
        ensure!((before, after) == (1, 3), "the mailbox went from schema {before} to {after}");
        for subject in self.ledger.subjects_to(&self.away.user) {
            self.away.mail_program()?.wait_for("INBOX", &subject, SOON)?;
        }
        narrator.say(&format!("Schema {before} became {after}, and every message is there, exactly once."));
        Ok(kills)
    }

    /// The active version on pc-away is the old or the new one, and every file of it is the vendor's.
    fn one_complete_version(&self) -> Result<()> {
        let version = self.away.active_version().context("no version is active on pc-away")?;
        ensure!([OLDEST, NEW].contains(&version.as_str()), "{version} is active");
        let program = self.away.root().join("opt/lockstep/connector/current/bin/lockstep-connector");
        let said = must(self.away.as_user(&program).arg("--version"))?;
        ensure!(said.contains(&version), "{} says {said}", program.display());
        let original = self.vendor.built_connector(&version);
        ensure!(fs::read(&program)? == fs::read(&original)?, "{} is not the vendor's", program.display());
        Ok(())
    }
}

/// The same command, killed at its `point`th rename.
fn under_strace(command: &Command, point: usize, log: &Path) -> Command {
    let mut strace = Command::new("strace");
    let renames = "rename,renameat,renameat2";
    strace.args(["-f", "-qq", "-e", &format!("trace={renames}"), "-e"]);
    strace.arg(format!("inject={renames}:signal=KILL:when={point}")).arg("-o").arg(log);
    strace.arg(command.get_program()).args(command.get_args());
    strace.env_clear().env("PATH", "/usr/bin:/bin");
    // A power cut takes the supervisor along: without one, nobody starts what was killed.
    strace.env("LOCKSTEP_SUPERVISOR", "0");
    strace
}

/// Stops the traced program, whose end ends strace.
fn end_under_strace(strace: &mut Background) -> Result<()> {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", strace.id()))?;
    for child in children.split_whitespace() {
        crate::process::signal(child.parse()?, "TERM");
    }
    strace.stop();
    Ok(())
}
