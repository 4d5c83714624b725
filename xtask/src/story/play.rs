//! The main job, from beginning to end: a site moves to the next version, and what happens to everybody.
//!
//! Every step checks what it claims, so a story that differs from this one ends with an error. The chapters follow the
//! order of events; their numbers are those of the requirement.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use elevation_rig::{Answer, Elevation, Person};

use super::{
    Stage,
    ledger::Ledger,
    narrator::Narrator,
    outcome::{CutOff, Outcome, Row},
    pc::Pc,
    site::{NO_WEBMAIL, Site, VersionSource},
    vendor::Vendor,
};
use crate::{
    mail_rig::{DOMAIN, MailRig},
    programs::{OLD, OLDEST, Programs},
    webmail::WebMail,
};

/// The updater's version in every story.
pub const UPDATER: &str = "0.1.0";

/// Longer than anything that happens at once, on a slow machine too.
pub(super) const SOON: Duration = Duration::from_secs(30);

/// Has an account, and somewhere a connector that never checked in.
pub(super) const STRAY: &str = "grace";

/// The people of the story: account, PC, user number.
const PEOPLE: [(&str, &str, u32); 6] = [
    ("alice", "pc-ready", 60001),
    ("bob", "pc-refuses", 60002),
    ("carol", "pc-accepts", 60003),
    ("dave", "pc-away", 60004),
    ("erin", "pc-reinstalls", 60005),
    ("frank", "pc-admin", 60006),
];

/// Everything in the story.
#[derive(Debug)]
pub struct World {
    /// The vendor.
    pub vendor: Vendor,
    /// The site.
    pub site: Site,
    /// Updater installed.
    pub ready: Pc,
    /// Connector without updater, whose user has no administrator's password.
    pub refuses: Pc,
    /// Connector without updater, where somebody types the administrator's password.
    pub accepts: Pc,
    /// Updater installed, switched off since long before.
    pub away: Pc,
    /// Connector without updater, whose user does what the warning says.
    pub reinstalls: Pc,
    /// Connector without updater, whose user is an administrator.
    pub admin: Pc,
    /// The WebMail, where the story needs one.
    pub webmail: Option<WebMail>,
    pub(super) ledger: Ledger,
}

/// Plays the whole story.
///
/// # Errors
/// When anything differs from the story.
pub fn play(stage: &Stage, programs: &Programs, narrator: Narrator) -> Result<(World, Outcome)> {
    let mut world = World::from_the_beginning(stage, programs, narrator)?;
    let mut outcome = Outcome { rows: world.rows_before()?, kills: 0 };
    world.new_release(narrator)?;
    world.warning(narrator)?;
    world.remedy(narrator)?;
    world.staged(narrator)?;
    world.preflight(narrator)?;
    world.fill_bobs_mailbox()?;
    let stubborn = world.stubborn_session(stage)?;
    let flipped = world.flip(narrator)?;
    let [alice, erin, frank] = world.after_the_flip(flipped, narrator)?;
    let offline = world.refused(narrator)?;
    world.nobody_else_is_blocked(stubborn, narrator)?;
    let carol = world.accepted(narrator)?;
    let bob = world.later(&offline, narrator)?;
    outcome.kills = world.away_comes_back(narrator)?;
    world.server_goes_back(narrator)?;
    world.taken_over(stage, narrator)?;
    world.rows_after(&mut outcome)?;
    for (row, online) in [(0, alice), (1, bob), (2, carol), (4, erin), (5, frank)] {
        outcome.rows[row].cut_off = CutOff::Seconds(online.duration_since(flipped).as_secs_f64());
    }
    outcome.rows[3].cut_off = CutOff::WasOff;
    Ok((world, outcome))
}

impl World {
    /// Steps 1 to 3, for a test that needs a site at work and no more: everybody but erin and frank, at the old version.
    ///
    /// # Errors
    /// When anything differs from the story.
    pub fn at_the_old_version(
        stage: &Stage,
        programs: &Programs,
        source: VersionSource,
        narrator: Narrator,
    ) -> Result<Self> {
        let mut world = Self::founded(stage, programs, source, OLD, false, narrator)?;
        world.people_at_work(narrator)?;
        Ok(world)
    }

    /// Steps 1 to 3 with their history: frank and dave have been there since the version before.
    fn from_the_beginning(stage: &Stage, programs: &Programs, narrator: Narrator) -> Result<Self> {
        let mut world = Self::founded(stage, programs, VersionSource::Probe, OLDEST, true, narrator)?;
        world.long_ago(narrator)?;
        world.people_at_work(narrator)?;
        Ok(world)
    }

    /// A vendor with signed releases, and a site whose mail server runs as `version`.
    fn founded(
        stage: &Stage,
        programs: &Programs,
        source: VersionSource,
        version: &str,
        with_webmail: bool,
        narrator: Narrator,
    ) -> Result<Self> {
        narrator.step("1", "The vendor signs releases");
        let mut vendor = Vendor::new(stage.path("vendor"), programs)?;
        vendor.add_updater(UPDATER)?;
        vendor.add_connector(OLDEST, ">=7.1, <7.2")?;
        vendor.add_connector(OLD, ">=7.2, <7.3")?;
        vendor.publish()?;
        narrator.say(&format!(
            "Root 2 of 3, targets, snapshot and timestamp keys are made; connectors {OLDEST} and {OLD} and updater \
             {UPDATER} are packed, signed and published as static files on a web server (The Update Framework)."
        ));

        narrator.step("2", &format!("A site at version {version}"));
        let names = PEOPLE.iter().map(|(name, ..)| *name).chain([STRAY]);
        let accounts: Vec<_> = names.map(|name| (format!("{name}@{DOMAIN}"), format!("{name}-secret"))).collect();
        let mail = MailRig::start(&stage.path("mail"), version, &accounts)?;
        let webmail = with_webmail.then(|| WebMail::start(&stage.path("webmail"), &mail)).transpose()?;
        let address = webmail.as_ref().map_or(NO_WEBMAIL, |webmail| webmail.url().trim_end_matches('/'));
        let site = Site::start(&stage.path("site"), programs, &mut vendor, mail, address, source)?;
        if source == VersionSource::Pushed {
            site.must_lockstep(&["server-version", "set", version])?;
        }
        site.wait_for_server_version(version)?;
        narrator.say(&format!(
            "A mail server (Dovecot and Exim) runs as {version}; lockstep-server mirrors and verifies the vendor's \
             files at {}.",
            site.url()
        ));
        let pcs = stage.path("pcs");
        let [ready, refuses, accepts, away, reinstalls, admin] =
            PEOPLE.map(|(name, pc, uid)| Pc::new(&pcs, pc, uid, &format!("{name}@{DOMAIN}")));
        let mut world = Self {
            vendor,
            site,
            ready: ready?,
            refuses: refuses?,
            accepts: accepts?,
            away: away?,
            reinstalls: reinstalls?,
            admin: admin?,
            webmail,
            ledger: Ledger::default(),
        };
        world.people_who_can_be_asked(stage)?;
        Ok(world)
    }

    /// On four PCs somebody can be asked for the administrator's password: by sudo, and on carol's by polkit.
    fn people_who_can_be_asked(&mut self, stage: &Stage) -> Result<()> {
        let [_, (bob, _, bobs), (carol, _, carols), _, (erin, _, erins), (frank, _, franks)] = PEOPLE;
        let with_sudo = [
            Person::new(bob, bobs, Answer::Refuse),
            Person::new(erin, erins, Answer::Right),
            Person::administrator(frank, franks),
        ];
        let sudo = Arc::new(Elevation::sudo(&stage.path("sudo"), &with_sudo)?);
        let polkit = Elevation::polkit(&stage.path("polkit"), &[Person::new(carol, carols, Answer::Right)])?;
        self.refuses.elevate_with(&sudo, bob);
        self.reinstalls.elevate_with(&sudo, erin);
        self.admin.elevate_with(&sudo, frank);
        self.accepts.elevate_with(&Arc::new(polkit), carol);
        Ok(())
    }

    /// Everybody, in the order of the story.
    pub fn pcs(&self) -> [&Pc; 6] {
        [&self.ready, &self.refuses, &self.accepts, &self.away, &self.reinstalls, &self.admin]
    }

    /// Each of these sends to the next, and everybody receives.
    pub(super) fn mail_in_a_circle(&mut self, names: &[&str]) -> Result<()> {
        let pcs = [&self.ready, &self.refuses, &self.accepts, &self.away, &self.reinstalls, &self.admin];
        let pcs: Vec<&Pc> = pcs.into_iter().filter(|pc| names.contains(&pc.name.as_str())).collect();
        let people: Vec<_> = pcs.iter().map(|pc| Ok((pc.user.as_str(), pc.mail_program()?))).collect::<Result<_>>()?;
        let logs = || pcs.iter().map(|pc| pc.logs()).collect::<Vec<_>>().join("\n");
        self.ledger.circle(&people, SOON).with_context(logs)
    }

    fn rows_before(&self) -> Result<Vec<Row>> {
        let row = |pc: &Pc| {
            let before = match pc.is_on() {
                true => pc.words()?,
                false => format!("{OLDEST}, off"),
            };
            Row::begun(&pc.user, &pc.name, before, &self.site.mail)
        };
        self.pcs().into_iter().map(row).collect()
    }

    fn rows_after(&self, outcome: &mut Outcome) -> Result<()> {
        for (pc, row) in self.pcs().into_iter().zip(&mut outcome.rows) {
            row.end(pc.words()?, &self.site.mail, &self.ledger)?;
        }
        Ok(())
    }
}
