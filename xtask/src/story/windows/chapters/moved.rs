//! Steps 7, 8, 12 and 16: the cut-over, the PC that was ready, and the one where the prompt is permitted.

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use wine_rig::Answer;

use crate::{
    process::wait_until,
    programs::NEW,
    story::{
        narrator::Narrator,
        windows::play::{SOON, World},
    },
};

impl World {
    pub(in crate::story::windows) fn flip(&mut self, narrator: Narrator) -> Result<Timestamp> {
        narrator.step("7", "The cut-over");
        // Whoever sits before these PCs, and what they will answer.
        for pc in [&self.refuses, &self.accepts] {
            pc.pc.answer_prompts(Answer::No)?;
        }
        for pc in [&self.refuses, &self.accepts] {
            ensure!(pc.pc.asked()?.is_empty(), "{}: asked before it was necessary: {:?}", pc.name, pc.pc.asked());
        }
        self.site.cut_over(NEW, narrator)
    }

    pub(in crate::story::windows) fn after_the_flip(
        &mut self,
        flipped: Timestamp,
        narrator: Narrator,
    ) -> Result<Timestamp> {
        let online = self.ready.wait_for_gate("online", NEW, SOON)?;
        narrator.step("8", "WIN-READY moves by itself");
        let seconds = online.duration_since(flipped).as_secs_f64();
        narrator.say(&format!("Its connector is online again as {NEW} after {seconds:.2} s. Nobody typed a password."));
        ensure!(self.ready.active_version().as_deref() == Some(NEW), "{NEW} is active");
        ensure!(self.ready.pc.asked()?.is_empty(), "nobody was asked anything: {:?}", self.ready.pc.asked());
        self.mail_in_a_circle(&["WIN-READY"])?;
        narrator.step("16", "The mailbox's database moves along");
        let schema = wait_until("the new schema", SOON, || Ok(Some(self.ready.mailbox_schema()?).filter(|n| *n == 3)))?;
        for subject in self.ledger.subjects_to(&self.ready.user) {
            self.ready.mail_program()?.wait_for("INBOX", &subject, SOON)?;
        }
        narrator.say(&format!("Its schema is {schema}, and every message is there, exactly once."));
        Ok(online)
    }

    /// carol asks for the upgrade herself, and permits it: the verified copy is installed, and the machine's connector goes on with
    /// the same mailbox.
    pub(in crate::story::windows) fn accepted(&mut self, narrator: Narrator) -> Result<Timestamp> {
        narrator.step("12", "WIN-ACCEPTS: the prompt is permitted");
        self.accepts.was_asked_properly()?;
        self.accepts.pc.answer_prompts(Answer::Yes)?;
        self.accepts.upgrade_now()?;
        let online = self.accepts.wait_for_gate("online", NEW, SOON)?;
        let asked = self.accepts.pc.asked()?;
        ensure!(asked.len() == 3 && asked[2] == asked[1], "asked once more, the same: {asked:?}");
        ensure!(self.accepts.active_version().as_deref() == Some(NEW), "{NEW} is installed for the machine");
        wait_until("the service answers", SOON, || Ok(self.accepts.updater_status().ok()))
            .with_context(|| self.accepts.logs())?;
        for subject in self.ledger.subjects_to(&self.accepts.user) {
            self.accepts.mail_program()?.wait_for("INBOX", &subject, SOON)?;
        }
        self.mail_in_a_circle(&["WIN-READY", "WIN-ACCEPTS"])?;
        narrator.say("carol asks for the upgrade herself and permits it. ShellExecuteEx \"runas\" starts the vendor's installer, which");
        narrator.say(&format!("installs updater and connector {NEW} from the copy that it verified. The mailbox stayed; mail goes both ways."));
        Ok(online)
    }
}
