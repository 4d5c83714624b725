//! Steps 7, 8 and 16: the cut-over, and the PC that was ready.

use anyhow::{Result, ensure};
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
        for pc in [&self.refuses, &self.alone] {
            pc.pc.answer_prompts(Answer::No)?;
        }
        for pc in [&self.refuses, &self.alone] {
            ensure!(pc.pc.asked()?.is_empty(), "{}: asked before it was necessary: {:?}", pc.name, pc.pc.asked());
        }
        let unasked = self.site.lockstep(&["cut-over", "--to", NEW])?;
        ensure!(!unasked.status.success(), "with users to be cut off and nobody to ask, it must refuse");
        let text = self.site.must_lockstep(&["cut-over", "--to", NEW, "--yes"])?;
        narrator.show(&format!("lockstep cut-over --to {NEW} --yes"), &text);
        self.site.mail.become_version_under_way(NEW)?;
        let flipped = Timestamp::now();
        narrator.say(&format!("The mail server is upgraded: its greeting says {NEW}."));
        Ok(flipped)
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
}
