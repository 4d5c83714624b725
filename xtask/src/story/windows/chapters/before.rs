//! Steps 3 to 6: people at work; the new release, the warning, staged first, the preflight.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::{
    mail_rig::DOMAIN,
    process::wait_until,
    programs::{NEW, OLD},
    story::{
        narrator::Narrator,
        windows::{
            play::{SOON, World},
            shipped::msi,
        },
    },
};

impl World {
    /// Step 3: everybody works at the old version.
    pub(in crate::story::windows) fn people_at_work(&mut self, narrator: Narrator) -> Result<()> {
        narrator.step("3", "Each PC with its own host name, network, user and mail account");
        let download = self.ready.download(&self.site, OLD)?;
        let share = self.ready.for_administrators(&download)?;
        let about = [("SITEJSON", &*share.join("site.json")), ("ROOTJSON", &*share.join("root.json"))];
        self.ready.install(&share, OLD, &about)?;
        self.ready.wait_for_connector(OLD)?;
        for pc in [&self.refuses, &self.accepts, &self.away] {
            pc.install_connector_without_updater(&self.old, &self.site)?;
        }
        for pc in [&mut self.ready, &mut self.refuses, &mut self.accepts, &mut self.away] {
            pc.set_up(self.site.mail.password(&pc.user))?;
            pc.sign_in()?;
        }
        for pc in self.pcs() {
            pc.wait_for_gate("online", OLD, SOON)?;
        }
        self.mail_in_a_circle(&["WIN-READY", "WIN-REFUSES", "WIN-ACCEPTS", "WIN-AWAY"])?;
        narrator.say(
            "WIN-READY got the connector's MSI by `msiexec /qn SITEJSON=… ROOTJSON=…`: the service runs, has enrolled, and Windows starts",
        );
        narrator.say("the connector at sign-in. The other three run the connector alone, as their users unpacked it.");
        narrator.say("Mail goes both ways on all of them.");
        let listed = self.ready.listed()?;
        ensure!(listed.iter().any(|name| name == "Lockstep Updater"), "the updater is not among {listed:?}");
        Ok(())
    }

    /// The vendor publishes the new version, and the site mirrors it.
    pub(in crate::story::windows) fn new_release(&self, narrator: Narrator) -> Result<()> {
        narrator.say(&format!("The vendor publishes connector {NEW}, for servers from 7.3; the site mirrors it."));
        for file in [self.new.connector_package()?, msi(&self.new)?] {
            self.vendor.release("connector", &file, &["--server", ">=7.3, <7.4"])?;
        }
        self.vendor.publish()?;
        self.site.must_lockstep(&["refresh"]).map(drop)
    }

    /// Step 4: who has no updater is named, and nobody else.
    pub(in crate::story::windows) fn warning(&self, narrator: Narrator) -> Result<()> {
        narrator.step("4", "The server warns, by name");
        let printed = self.site.must_lockstep(&["warn", "--now"])?;
        narrator.show("lockstep warn --now", &printed);
        let log = fs::read_to_string(self.site.data().join("logs/warning.log"))?;
        let names: Vec<&str> = log.lines().filter_map(|l| l.split_once("] User ").map(|(_, rest)| rest)).collect();
        let expected =
            ["bob", "carol", "dave"].map(|n| format!("{n}@{DOMAIN} does not have installed Lockstep Updater."));
        ensure!(names == expected, "the report names {names:?}");
        Ok(())
    }

    /// Step 6: the new version is complete on the PC with an updater, before the flip.
    pub(in crate::story::windows) fn staged(&self, narrator: Narrator) -> Result<()> {
        let pc = &self.ready;
        wait_until(&format!("{} has {NEW}", pc.name), SOON, || {
            let rows = self.site.readiness(NEW)?;
            Ok(rows.iter().any(|(user, ready, staged)| *user == pc.user && ready == "ready" && *staged).then_some(()))
        })
        .with_context(|| pc.logs())?;
        ensure!(pc.active_version().as_deref() == Some(OLD), "{} still runs {OLD}", pc.name);
        ensure!(pc.versions() == [OLD, NEW], "{}: {:?}", pc.name, pc.versions());
        narrator.say(&format!("WIN-READY's updater has fetched, verified and unpacked {NEW} beside {OLD}."));
        Ok(())
    }

    /// Step 5: the preflight says who, on which PC.
    pub(in crate::story::windows) fn preflight(&self, narrator: Narrator) -> Result<()> {
        narrator.step("5", "Preflight: what if the server moved now?");
        let table = self.site.lockstep(&["preflight", "--to", NEW])?;
        narrator.show(&format!("lockstep preflight --to {NEW}"), &String::from_utf8_lossy(&table.stdout));
        ensure!(table.status.code() == Some(2), "somebody would be cut off: exit code 2, not {}", table.status);
        let (table, _) = self.site.preflight(NEW)?;
        let rows = table["rows"].as_array().context("no rows")?;
        let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let mut verdicts: Vec<_> =
            rows.iter().map(|r| (text(r, "user"), text(r, "pc"), text(r, "readiness"))).collect();
        verdicts.sort();
        let expected = [
            ("alice", "WIN-READY", "ready"),
            ("bob", "WIN-REFUSES", "cut-off"),
            ("carol", "WIN-ACCEPTS", "cut-off"),
            ("dave", "WIN-AWAY", "ready"),
        ];
        let expected =
            expected.map(|(user, pc, verdict)| (format!("{user}@{DOMAIN}"), pc.to_owned(), verdict.to_owned()));
        ensure!(verdicts == expected, "preflight says {verdicts:?}");
        narrator.step("6", "Staged first");
        narrator.say(&format!("WIN-READY has {NEW} on its disk already, verified: the move will cost it no download."));
        Ok(())
    }
}
