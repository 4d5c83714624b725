//! Step 17: the protected server goes back to the version before.

use anyhow::{Context, Result, ensure};

use crate::{
    process::wait_until,
    programs::{BACK, NEW, OLD},
    story::{
        narrator::Narrator,
        play::{SOON, World},
    },
};

impl World {
    /// Where the vendor has signed that permission, clients follow, with their mail; and forward again.
    pub(in crate::story) fn server_goes_back(&mut self, narrator: Narrator) -> Result<()> {
        narrator.step("17", "The server goes back");
        self.vendor.add_connector_with(BACK, &["--server", ">=7.2, <7.3", "--downgrade-from", ">=7.3, <7.4"])?;
        self.vendor.publish()?;
        self.site.must_lockstep(&["refresh"])?;
        narrator.say(&format!("The vendor publishes {BACK}, and signs that one may go back to it from 7.3."));
        let text = self.site.must_lockstep(&["cut-over", "--to", OLD, "--yes"])?;
        narrator.show(&format!("lockstep cut-over --to {OLD} --yes"), &text);
        self.site.mail.become_version(OLD)?;
        self.everybody_runs(BACK)?;
        narrator.say(&format!("All six PCs are {BACK} and online; every message is still there."));

        self.site.mail.become_version(NEW)?;
        self.everybody_runs(NEW)?;
        narrator.say(&format!("The server becomes {NEW} again, and they follow again."));
        Ok(())
    }

    fn everybody_runs(&mut self, version: &str) -> Result<()> {
        for pc in self.pcs() {
            pc.wait_for_gate("online", version, 2 * SOON)?;
            ensure!(pc.active_version().as_deref() == Some(version), "{}: {:?}", pc.name, pc.active_version());
            for subject in self.ledger.subjects_to(&pc.user) {
                let there = || Ok(Some(pc.mail_program()?.count("INBOX", &subject)?).filter(|n| *n > 0));
                let copies = wait_until(&format!("{}: {subject}", pc.name), SOON, there).with_context(|| pc.logs())?;
                ensure!(copies == 1, "{}: {subject} is there {copies} times", pc.name);
            }
        }
        self.mail_in_a_circle(&["pc-ready", "pc-refuses", "pc-accepts", "pc-away", "pc-reinstalls", "pc-admin"])
    }
}
