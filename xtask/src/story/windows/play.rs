//! The main job, with Windows PCs. Every step checks what it claims, so a story that differs from this one ends with an error;
//! the steps' numbers are those of the [story with Linux PCs](crate::story::play).

use std::time::Duration;

use anyhow::{Context, Result};

use super::{
    pc::Pc,
    shipped::{msi, shipped},
};
use crate::{
    dist::windows::Shipped,
    mail_rig::{DOMAIN, MailRig},
    programs::{NEW, OLD, Programs, windows::WindowsPrograms},
    story::{
        Stage,
        ledger::Ledger,
        narrator::Narrator,
        outcome::{CutOff, Outcome, Row},
        play::UPDATER,
        site::{NO_WEBMAIL, Site, VersionSource},
        vendor::Vendor,
    },
};

/// Longer than anything that happens at once, under Wine on a busy machine.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// The people of the story: account, PC.
const PEOPLE: [(&str, &str); 4] =
    [("alice", "WIN-READY"), ("bob", "WIN-REFUSES"), ("carol", "WIN-ACCEPTS"), ("dave", "WIN-AWAY")];

/// Everything in the story.
#[derive(Debug)]
pub struct World {
    /// The vendor.
    pub vendor: Vendor,
    /// The site, on Linux.
    pub site: Site,
    /// Connector and updater installed from an MSI, unattended.
    pub ready: Pc,
    /// Connector without updater, whose user answers the prompt with no; later an administrator installs the page's package.
    pub refuses: Pc,
    /// Connector without updater, whose user answers the prompt with no, and later asks for the upgrade and permits it.
    pub accepts: Pc,
    /// Connector without updater, installed again from the integration page before the move; off during it.
    pub away: Pc,
    /// The vendor's programs before the move, and after it.
    pub(super) old: Shipped,
    pub(super) new: Shipped,
    pub(super) ledger: Ledger,
}

/// Plays the whole story.
///
/// # Errors
/// When anything differs from the story.
pub fn play(
    stage: &Stage,
    programs: &Programs,
    windows: &WindowsPrograms,
    narrator: Narrator,
) -> Result<(World, Outcome)> {
    let mut world = World::founded(stage, programs, windows, narrator)?;
    world.people_at_work(narrator)?;
    let mut outcome = Outcome { rows: world.rows_before()?, kills: 0 };
    world.new_release(narrator)?;
    world.warning(narrator)?;
    world.remedy(narrator)?;
    world.staged(narrator)?;
    world.preflight(narrator)?;
    world.switched_off(narrator)?;
    let flipped = world.flip(narrator)?;
    let alice = world.after_the_flip(flipped, narrator)?;
    let offline = world.refused(narrator)?;
    world.nobody_else_is_blocked(narrator)?;
    let bob = world.later(&offline, narrator)?;
    let carol = world.accepted(narrator)?;
    world.away_comes_back(narrator)?;
    outcome.kills = world.power_cut(narrator)?;
    world.broken_release(narrator)?;
    world.rows_after(&mut outcome)?;
    for (row, online) in [(0, alice), (1, bob), (2, carol)] {
        outcome.rows[row].cut_off = CutOff::Seconds(online.duration_since(flipped).as_secs_f64());
    }
    outcome.rows[3].cut_off = CutOff::WasOff;
    Ok((world, outcome))
}

impl World {
    /// A vendor with signed releases, a site at the old version, and PCs with nothing of ours.
    fn founded(stage: &Stage, programs: &Programs, windows: &WindowsPrograms, narrator: Narrator) -> Result<Self> {
        narrator.step("1", "The vendor signs releases");
        let mut vendor = Vendor::new(stage.path("vendor"), programs)?;
        let (old, new) = (shipped(programs, windows, OLD)?, shipped(programs, windows, NEW)?);
        vendor.release("updater", &old.updater_package()?, &["--server", "*"])?;
        for file in [old.connector_package()?, msi(&old)?] {
            vendor.release("connector", &file, &["--server", ">=7.2, <7.3"])?;
        }
        vendor.publish()?;
        narrator.say(&format!(
            "Connector {OLD} and updater {UPDATER} for Windows, packages and MSI, are signed and published."
        ));

        narrator.step("2", &format!("A site at version {OLD}, on Linux"));
        let accounts = PEOPLE.map(|(name, _)| (format!("{name}@{DOMAIN}"), format!("{name}-secret")));
        let mail = MailRig::start(&stage.path("mail"), OLD, &accounts)?;
        let site = Site::start(&stage.path("site"), programs, &mut vendor, mail, NO_WEBMAIL, VersionSource::Probe)?;
        site.wait_for_server_version(OLD)?;
        narrator
            .say(&format!("A mail server (Dovecot and Exim) runs as {OLD}, and lockstep-server at {}.", site.url()));

        let [ready, refuses, accepts, away] = PEOPLE.map(|(name, pc)| Pc::new(pc, &format!("{name}@{DOMAIN}"), &site));
        let (ready, refuses, accepts, away) = (ready?, refuses?, accepts?, away?);
        Ok(Self { vendor, site, ready, refuses, accepts, away, old, new, ledger: Ledger::default() })
    }

    /// Everybody, in the order of the story.
    pub fn pcs(&self) -> [&Pc; 4] {
        [&self.ready, &self.refuses, &self.accepts, &self.away]
    }

    /// Those that upgrade by themselves.
    pub(super) fn with_updater(&self) -> Vec<&Pc> {
        self.pcs().into_iter().filter(|pc| pc.has_updater()).collect()
    }

    /// Each of these sends to the next, and everybody receives.
    pub(super) fn mail_in_a_circle(&mut self, names: &[&str]) -> Result<()> {
        let pcs = [&self.ready, &self.refuses, &self.accepts, &self.away];
        let pcs: Vec<&Pc> = pcs.into_iter().filter(|pc| names.contains(&pc.name.as_str())).collect();
        let people: Vec<_> = pcs.iter().map(|pc| Ok((pc.user.as_str(), pc.mail_program()?))).collect::<Result<_>>()?;
        let logs = || pcs.iter().map(|pc| pc.logs()).collect::<Vec<_>>().join("\n");
        self.ledger.circle(&people, SOON).with_context(logs)
    }

    fn rows_before(&self) -> Result<Vec<Row>> {
        let row = |pc: &Pc| Row::begun(&pc.user, &pc.name, pc.words()?, &self.site.mail);
        self.pcs().into_iter().map(row).collect()
    }

    fn rows_after(&self, outcome: &mut Outcome) -> Result<()> {
        for (pc, row) in self.pcs().into_iter().zip(&mut outcome.rows) {
            row.end(pc.words()?, &self.site.mail, &self.ledger)?;
        }
        Ok(())
    }
}
