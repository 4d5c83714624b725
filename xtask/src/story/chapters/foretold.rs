//! Steps 4 to 6: the new release, the warning, the preflight; staged first.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    mail_rig::DOMAIN,
    process::wait_until,
    programs::{NEW, OLD},
    story::{narrator::Narrator, play::World},
};

impl World {
    /// The vendor publishes the new version, and the site mirrors it.
    ///
    /// # Errors
    /// When anything differs from the story.
    pub fn new_release(&self, narrator: Narrator) -> Result<()> {
        narrator.say(&format!("The vendor publishes connector {NEW}, for servers from 7.3; the site mirrors it."));
        self.vendor.add_connector(NEW, ">=7.3, <7.4")?;
        self.vendor.publish()?;
        self.site.must_lockstep(&["refresh"])?;
        Ok(())
    }

    pub(in crate::story) fn warning(&self, narrator: Narrator) -> Result<()> {
        narrator.step("4", "The server warns, by name");
        let printed = self.site.must_lockstep(&["warn", "--now"])?;
        let log = fs::read_to_string(self.site.data().join("logs/warning.log"))?;
        narrator.show("lockstep warn --now", &printed);
        narrator.show("cat warning.log", &log);
        let names: Vec<&str> = log.lines().filter_map(|l| l.split_once("] User ").map(|(_, rest)| rest)).collect();
        let expected =
            ["bob", "carol", "erin"].map(|n| format!("{n}@{DOMAIN} does not have installed Lockstep Updater."));
        ensure!(names == expected, "the report names {names:?}");
        Ok(())
    }

    /// Step 6: the new version is complete on every PC that is on and has an updater, before the flip.
    ///
    /// # Errors
    /// When it is not.
    pub fn staged(&self, narrator: Narrator) -> Result<()> {
        let with_updater = self.pcs().into_iter().filter(|pc| pc.is_on() && pc.has_updater());
        for pc in with_updater {
            let staged = || {
                let rows = self.site.readiness(NEW)?;
                let there = rows.iter().any(|(user, ready, staged)| *user == pc.user && ready == "ready" && *staged);
                Ok(there.then_some(()))
            };
            wait_until(&format!("{} has {NEW}", pc.name), Duration::from_secs(60), staged)
                .with_context(|| pc.logs())?;
            ensure!(pc.active_version().as_deref() == Some(OLD), "{} still runs {OLD}", pc.name);
            let versions = pc.versions();
            ensure!([OLD, NEW].iter().all(|v| versions.iter().any(|there| there == v)), "{}: {versions:?}", pc.name);
        }
        narrator.say(&format!("pc-ready's updater has fetched, verified and unpacked {NEW} beside {OLD}."));
        Ok(())
    }

    pub(in crate::story) fn preflight(&self, narrator: Narrator) -> Result<()> {
        narrator.step("5", "Preflight: what if the server moved now?");
        let table = self.site.lockstep(&["preflight", "--to", NEW])?;
        narrator.show(&format!("lockstep preflight --to {NEW}"), &String::from_utf8_lossy(&table.stdout));
        ensure!(table.status.code() == Some(2), "somebody would be cut off: exit code 2, not {}", table.status);
        let rows = self.site.readiness(NEW)?;
        let mut verdicts: Vec<(&str, &str, bool)> =
            rows.iter().map(|(user, r, staged)| (user.as_str(), r.as_str(), *staged)).collect();
        verdicts.sort_unstable();
        let user = |name: &str| format!("{name}@{DOMAIN}");
        let expected = [
            (user("alice"), "ready", true),
            (user("bob"), "cut-off", false),
            (user("carol"), "cut-off", false),
            (user("dave"), "not-seen", false),
            (user("erin"), "ready", true),
            (user("frank"), "ready", true),
        ];
        let expected: Vec<(&str, &str, bool)> = expected.iter().map(|(u, r, s)| (u.as_str(), *r, *s)).collect();
        ensure!(verdicts == expected, "preflight says {verdicts:?}");
        narrator.step("6", "Staged first");
        narrator.say(&format!("pc-ready has {NEW} on its disk already, verified: the move will cost it no download."));
        Ok(())
    }
}
