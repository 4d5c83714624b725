//! Step 3, and what came before it: people at work.

use anyhow::{Result, ensure};

use crate::{
    programs::{OLD, OLDEST},
    story::{
        narrator::Narrator,
        play::{SOON, UPDATER, World},
    },
};

impl World {
    /// The site's time at the version before: two PCs that have been there since. Then the server moves to the version of
    /// step 2, and the one whose user is an administrator goes along, updater and all.
    pub(in crate::story) fn long_ago(&mut self, narrator: Narrator) -> Result<()> {
        narrator.step("15a", "Long ago, at version 7.1: a PC whose user is an administrator");
        self.away.install_updater(&self.site, UPDATER)?;
        self.away.wait_for_connector(OLDEST)?;
        self.admin.install_connector_without_updater(&self.site, OLDEST)?;
        for pc in [&mut self.away, &mut self.admin] {
            pc.set_up(self.site.mail.password(&pc.user))?;
            pc.sign_in()?;
            pc.wait_for_gate("online", OLDEST, SOON)?;
        }
        self.mail_in_a_circle(&["pc-away", "pc-admin"])?;
        self.away.power_off();
        narrator.say("pc-away (with the updater) and pc-admin (connector alone) run 7.1.0; mail goes both ways.");
        narrator.say("pc-away is switched off, for a long time.");

        ensure!(!self.admin.has_updater(), "pc-admin has no updater yet");
        self.site.mail.become_version(OLD)?;
        self.admin.updater_comes_with_the_connector()?;
        self.admin.wait_for_gate("online", OLD, SOON)?;
        narrator.say(&format!(
            "The mail server becomes {OLD}. frank may install programs without a password, so the routine upgrade of his \
             connector brings the updater along: nobody did anything."
        ));
        Ok(())
    }

    /// Step 3: everybody works at the old version.
    pub(in crate::story) fn people_at_work(&mut self, narrator: Narrator) -> Result<()> {
        narrator.step("3", "Each PC with its own user and mail account");
        let history = self.admin.has_updater();
        let mut installed = vec![&mut self.ready];
        let mut alone = vec![&mut self.refuses, &mut self.accepts];
        match history {
            true => alone.push(&mut self.reinstalls),
            false => installed.push(&mut self.away),
        }
        for pc in &mut installed {
            pc.install_updater(&self.site, UPDATER)?;
        }
        for pc in &mut alone {
            pc.install_connector_without_updater(&self.site, OLD)?;
        }
        for pc in &mut installed {
            pc.wait_for_connector(OLD)?;
        }
        for pc in installed.into_iter().chain(alone) {
            pc.set_up(self.site.mail.password(&pc.user))?;
            pc.sign_in()?;
            pc.wait_for_gate("online", OLD, SOON)?;
        }
        narrator.say("pc-ready got the updater from the integration page, and it installed the connector;");
        narrator
            .say("pc-refuses, pc-accepts and pc-reinstalls run the connector alone: nobody typed a password there.");
        if history {
            self.mail_in_a_circle(&["pc-ready", "pc-refuses", "pc-accepts", "pc-reinstalls", "pc-admin"])?;
        } else {
            self.mail_in_a_circle(&["pc-ready", "pc-refuses", "pc-accepts", "pc-away"])?;
            self.away.power_off();
        }
        narrator.say("Mail goes both ways on all of them.");
        Ok(())
    }
}
