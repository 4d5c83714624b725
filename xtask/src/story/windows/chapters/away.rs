//! Steps 15 and 14: the remedy as the warning states it, before the move; and a PC that is away during it.

use anyhow::{Context, Result, ensure};

use crate::{
    process::wait_until,
    programs::{NEW, OLD},
    story::{
        narrator::Narrator,
        windows::play::{SOON, World},
    },
};

impl World {
    /// dave has an administrator install the connector again from the integration page, and is not in the next report.
    pub(in crate::story::windows) fn remedy(&mut self, narrator: Narrator) -> Result<()> {
        narrator.step("15", "WIN-AWAY does what the warning says");
        let daves = &self.away;
        let download = daves.download(&self.site, OLD)?;
        daves.install(&download, OLD, &[])?;
        daves.wait_for_connector(OLD)?;
        wait_until("dave is ready", SOON, || {
            let rows = self.site.readiness(NEW)?;
            Ok(rows.iter().any(|(who, ready, _)| *who == daves.user && ready == "ready").then_some(()))
        })
        .with_context(|| daves.logs())?;
        daves.wait_for_gate("online", OLD, SOON)?;
        let printed = self.site.must_lockstep(&["warn", "--now"])?;
        ensure!(!printed.contains(&daves.user), "dave is still in the report:\n{printed}");
        ensure!(printed.contains(&self.refuses.user), "bob is not in the report:\n{printed}");
        narrator.say("dave's administrator installs the connector again from the integration page: that brings the updater. The next");
        narrator.say("report does not name him any more:");
        narrator.show("lockstep warn --now", &printed);
        Ok(())
    }

    /// dave's PC is switched off, whatever it was doing.
    pub(in crate::story::windows) fn switched_off(&mut self, narrator: Narrator) -> Result<()> {
        self.away.switch_off()?;
        narrator.say("WIN-AWAY is switched off, and its user goes away.");
        Ok(())
    }

    /// dave comes back after the move: the PC upgrades by itself, and has what was written to him meanwhile.
    pub(in crate::story::windows) fn away_comes_back(&mut self, narrator: Narrator) -> Result<()> {
        narrator.step("14", "WIN-AWAY comes back");
        let to_dave = self.ledger.send(self.ready.mail_program()?, &self.ready.user, &self.away.user)?;
        ensure!(self.away.active_version().as_deref() == Some(OLD), "it was off, and has {OLD}");
        self.away.pc.power_on()?;
        self.away.sign_in()?;
        self.away.wait_for_gate("online", NEW, SOON)?;
        self.away.mail_program()?.wait_for("INBOX", &to_dave, SOON)?;
        ensure!(self.away.pc.asked()?.is_empty(), "dave was asked: {:?}", self.away.pc.asked());
        self.mail_in_a_circle(&["WIN-READY", "WIN-AWAY"])?;
        narrator.say(&format!(
            "It is online again as {NEW}, nobody was asked, and what was written to dave meanwhile is there."
        ));
        Ok(())
    }
}
