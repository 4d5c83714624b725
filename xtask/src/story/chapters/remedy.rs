//! Step 15: the remedy as the warning states it, before the move.

use anyhow::{Result, ensure};

use crate::{
    programs::OLD,
    story::{
        narrator::Narrator,
        play::{SOON, World},
    },
};

impl World {
    /// erin installs the connector again from the integration page, as the warning says, with the administrator's password:
    /// it brings the updater, and she is not in the next report.
    pub(in crate::story) fn remedy(&mut self, narrator: Narrator) -> Result<()> {
        narrator.step("15", "pc-reinstalls does what the warning says");
        self.reinstalls.reinstall_connector(&self.site, OLD)?;
        self.reinstalls.updater_comes_with_the_connector()?;
        self.reinstalls.wait_for_gate("online", OLD, SOON)?;
        let user = self.reinstalls.user.clone();
        crate::process::wait_until("erin is ready", SOON, || {
            let rows = self.site.readiness(crate::programs::NEW)?;
            Ok(rows.iter().any(|(who, ready, _)| *who == user && ready == "ready").then_some(()))
        })?;
        let printed = self.site.must_lockstep(&["warn", "--now"])?;
        ensure!(!printed.contains(&user), "erin is still in the report:\n{printed}");
        ensure!(printed.contains(&self.refuses.user), "bob is not in the report:\n{printed}");
        narrator.say("erin installs the connector again from the integration page; the installer asks for the");
        narrator.say("administrator's password and brings the updater. The next report does not name her any more:");
        narrator.show("lockstep warn --now", &printed);
        Ok(())
    }
}
