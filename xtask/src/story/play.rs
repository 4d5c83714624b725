//! The main job, from beginning to end: a site at 7.2.0 moves to 7.3.0.
//!
//! Every step checks what it claims, so a story that differs from this one ends with an error.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;

use super::{
    Stage,
    ledger::Ledger,
    narrator::Narrator,
    outcome::{CutOff, Outcome, Row},
    pc::Pc,
    site::{Site, VersionSource},
    vendor::Vendor,
};
use crate::{
    mail_client::MailClient,
    mail_rig::{DOMAIN, MailRig},
    process::{Background, must, wait_until},
    programs::{NEW, OLD, Programs},
};

/// The updater's version in every story.
pub const UPDATER: &str = "0.1.0";

const SOON: Duration = Duration::from_secs(20);

/// The people of the story: account, PC, user number.
const PEOPLE: [(&str, &str, u32); 4] = [
    ("alice", "pc-ready", 60001),
    ("bob", "pc-refuses", 60002),
    ("carol", "pc-accepts", 60003),
    ("dave", "pc-away", 60004),
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
    /// Connector without updater.
    pub refuses: Pc,
    /// Connector without updater.
    pub accepts: Pc,
    /// Updater installed, switched off since long before.
    pub away: Pc,
    ledger: Ledger,
}

/// Plays the whole story.
///
/// # Errors
/// When anything differs from the story.
pub fn play(stage: &Stage, programs: &Programs, narrator: Narrator) -> Result<(World, Outcome)> {
    let mut world = World::at_the_old_version(stage, programs, VersionSource::Probe, narrator)?;
    let mut outcome = Outcome { rows: world.rows_before()?, kills: 0 };
    world.new_release(narrator)?;
    world.warning(narrator)?;
    world.staged(narrator)?;
    world.preflight(narrator)?;
    let flipped = world.flip(narrator)?;
    let seconds = world.after_the_flip(flipped, narrator)?;
    outcome.kills = world.power_cuts(narrator)?;
    world.rows_after(&mut outcome)?;
    outcome.rows[0].cut_off = CutOff::Seconds(seconds);
    outcome.rows[3].cut_off = CutOff::WasOff;
    Ok((world, outcome))
}

impl World {
    /// Steps 1 to 3: a vendor, a site at the old version, and its PCs at work.
    ///
    /// # Errors
    /// When anything differs from the story.
    pub fn at_the_old_version(
        stage: &Stage,
        programs: &Programs,
        source: VersionSource,
        narrator: Narrator,
    ) -> Result<Self> {
        narrator.step("1", "The vendor signs a release");
        let mut vendor = Vendor::new(stage.path("vendor"), programs)?;
        vendor.add_updater(UPDATER)?;
        vendor.add_connector(OLD, ">=7.2, <7.3")?;
        vendor.publish()?;
        narrator.say(&format!(
            "Root 2 of 3, targets, snapshot and timestamp keys are made; connector {OLD} and updater {UPDATER} are \
             packed, signed and published as static files on a web server (The Update Framework)."
        ));

        narrator.step("2", "A site at version 7.2.0");
        let accounts = PEOPLE.map(|(name, ..)| (format!("{name}@{DOMAIN}"), format!("{name}-secret")));
        let mail = MailRig::start(&stage.path("mail"), OLD, &accounts)?;
        let site = Site::start(&stage.path("site"), programs, &mut vendor, mail, source)?;
        if source == VersionSource::Pushed {
            site.must_lockstep(&["server-version", "set", OLD])?;
        }
        site.wait_for_server_version(OLD)?;
        narrator.say(&format!(
            "A mail server (Dovecot and Exim) runs as {OLD}; lockstep-server mirrors and verifies the vendor's files at {}.",
            site.url()
        ));

        narrator.step("3", "Four PCs, each with its own user and mail account");
        let pcs = stage.path("pcs");
        let [ready, refuses, accepts, away] =
            PEOPLE.map(|(name, pc, uid)| Pc::new(&pcs, pc, uid, &format!("{name}@{DOMAIN}")));
        let mut world = Self {
            vendor,
            site,
            ready: ready?,
            refuses: refuses?,
            accepts: accepts?,
            away: away?,
            ledger: Ledger::default(),
        };
        world.people_at_work(narrator)?;
        Ok(world)
    }

    fn people_at_work(&mut self, narrator: Narrator) -> Result<()> {
        for pc in [&mut self.ready, &mut self.away] {
            pc.install_updater(&self.site, UPDATER)?;
        }
        for pc in [&mut self.refuses, &mut self.accepts] {
            pc.install_connector_without_updater(&self.site, OLD)?;
        }
        for pc in [&mut self.ready, &mut self.away] {
            pc.wait_for_connector(OLD)?;
        }
        for pc in [&mut self.ready, &mut self.refuses, &mut self.accepts, &mut self.away] {
            pc.set_up(self.site.mail.password(&pc.user))?;
            pc.sign_in()?;
            pc.wait_for_gate("online", OLD, SOON)?;
        }
        narrator.say("pc-ready and pc-away got the updater from the integration page, and it installed the connector;");
        narrator
            .say("pc-refuses and pc-accepts run the connector alone: nobody typed an administrator's password there.");
        self.mail_both_ways()?;
        self.away.power_off();
        narrator.say("Mail goes both ways on all four. pc-away is switched off.");
        Ok(())
    }

    /// Everybody whose connector is online sends to, and receives from, the mail server.
    fn mail_both_ways(&mut self) -> Result<()> {
        let pcs = [&self.ready, &self.refuses, &self.accepts, &self.away];
        for (i, pc) in pcs.iter().enumerate() {
            self.ledger.send(pc.mail_program()?, &pc.user, &pcs[(i + 1) % pcs.len()].user)?;
        }
        let subjects: Vec<String> = (1..=pcs.len()).map(|n| format!("message {n} of the story")).collect();
        for (i, pc) in pcs.iter().enumerate() {
            let expected = &subjects[(i + pcs.len() - 1) % pcs.len()];
            pc.mail_program()?.wait_for("INBOX", expected, SOON)?;
        }
        Ok(())
    }

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

    fn warning(&self, narrator: Narrator) -> Result<()> {
        narrator.step("4", "The server warns, by name");
        let printed = self.site.must_lockstep(&["warn", "--now"])?;
        let log = fs::read_to_string(self.site.data().join("logs/warning.log"))?;
        narrator.show("lockstep warn --now", &printed);
        narrator.show("cat warning.log", &log);
        let names: Vec<&str> = log.lines().filter_map(|l| l.split_once("] User ").map(|(_, rest)| rest)).collect();
        let expected = ["bob", "carol"].map(|n| format!("{n}@{DOMAIN} does not have installed Lockstep Updater."));
        ensure!(names == expected, "the report names {names:?}");
        Ok(())
    }

    /// Step 6: the new version is complete on pc-ready before the flip.
    ///
    /// # Errors
    /// When it is not.
    pub fn staged(&self, narrator: Narrator) -> Result<()> {
        let staged = || {
            let rows = self.site.readiness(NEW)?;
            Ok(rows
                .iter()
                .any(|(user, ready, staged)| *user == self.ready.user && ready == "ready" && *staged)
                .then_some(()))
        };
        wait_until(&format!("pc-ready has {NEW}"), Duration::from_secs(40), staged)?;
        ensure!(self.ready.active_version().as_deref() == Some(OLD), "pc-ready still runs {OLD}");
        ensure!(self.ready.versions() == [OLD, NEW], "both lie on pc-ready: {:?}", self.ready.versions());
        narrator.say(&format!("pc-ready's updater has fetched, verified and unpacked {NEW} beside {OLD}."));
        Ok(())
    }

    fn preflight(&self, narrator: Narrator) -> Result<()> {
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
        ];
        let expected: Vec<(&str, &str, bool)> = expected.iter().map(|(u, r, s)| (u.as_str(), *r, *s)).collect();
        ensure!(verdicts == expected, "preflight says {verdicts:?}");
        narrator.step("6", "Staged first");
        narrator.say(&format!("pc-ready has {NEW} on its disk already, verified: the move will cost it no download."));
        Ok(())
    }

    fn flip(&mut self, narrator: Narrator) -> Result<Timestamp> {
        narrator.step("7", "The cut-over");
        let unasked = self.site.lockstep(&["cut-over", "--to", NEW])?;
        ensure!(!unasked.status.success(), "with users to be cut off and nobody to ask, it must refuse");
        let text = self.site.must_lockstep(&["cut-over", "--to", NEW, "--yes"])?;
        narrator.show(&format!("lockstep cut-over --to {NEW} --yes"), &text);
        self.site.mail.become_version(NEW)?;
        let flipped = Timestamp::now();
        narrator.say(&format!("The mail server is upgraded: its greeting says {NEW}."));
        Ok(flipped)
    }

    fn after_the_flip(&mut self, flipped: Timestamp, narrator: Narrator) -> Result<f64> {
        let online = self.ready.wait_for_gate("online", NEW, SOON)?;
        narrator.step("8", "pc-ready moves by itself");
        let seconds = online.duration_since(flipped).as_secs_f64();
        narrator.say(&format!("Its connector is online again as {NEW} after {seconds:.2} s. Nobody typed a password."));
        ensure!(self.ready.active_version().as_deref() == Some(NEW), "{NEW} is active");
        let alice = self.ready.mail_program()?;
        let dave = format!("dave@{DOMAIN}");
        let to_dave = self.ledger.send(alice, &self.ready.user, &dave)?;
        MailClient::direct(&self.site.mail, &dave).wait_for("INBOX", &to_dave, SOON)?;
        let bob = MailClient::direct(&self.site.mail, &self.refuses.user);
        let to_alice = self.ledger.send(&bob, &self.refuses.user, &self.ready.user)?;
        alice.wait_for("INBOX", &to_alice, SOON)?;
        narrator.say("Mail goes both ways.");
        for pc in [&self.refuses, &self.accepts] {
            pc.wait_for_gate("offline", OLD, SOON)?;
            ensure!(pc.mail_program()?.count("INBOX", "of the story")? >= 1, "{}: local mail is readable", pc.name);
        }
        narrator.say("pc-refuses and pc-accepts are offline, as foretold: their mail stays readable on the PC,");
        narrator.say("and bob has just written to alice from another mail program, which nobody blocks.");
        Ok(seconds)
    }

    /// Step 9: pc-away is switched on, and its power is cut at every rename of the upgrade.
    fn power_cuts(&mut self, narrator: Narrator) -> Result<usize> {
        narrator.step("9", "Power cuts");
        let mut kills = 0;
        for point in 1..200 {
            let log = self.away.root().join("strace.log");
            let mut command = under_strace(&self.away.updater_command(), point, &log);
            let mut updater = Background::start("strace", &mut command, &self.away.root().join("updater.log"))?;
            let done = wait_until("an end", Duration::from_secs(60), || {
                if self.away.active_version().as_deref() == Some(NEW) && updater.is_running() {
                    return Ok(Some(true));
                }
                Ok((!updater.is_running()).then_some(false))
            })?;
            let killed = !updater.is_running();
            self.one_complete_version()?;
            if done && !killed {
                end_under_strace(&mut updater)?;
                break;
            }
            kills += 1;
        }
        ensure!(kills > 3, "only {kills} power cuts: the updater was not killed in the middle of anything");
        self.away.start_updater()?;
        self.away.wait_for_connector(NEW)?;
        self.one_complete_version()?;
        self.away.sign_in()?;
        self.away.wait_for_gate("online", NEW, SOON)?;
        narrator.say(&format!(
            "pc-away is switched on; its updater is killed {kills} times, at each rename of the upgrade in turn."
        ));
        narrator.say(&format!("After each, one complete version was active; in the end {NEW} is, and online."));
        Ok(kills)
    }

    /// The active version on pc-away is the old or the new one, and every file of it is the vendor's.
    fn one_complete_version(&self) -> Result<()> {
        let version = self.away.active_version().context("no version is active on pc-away")?;
        ensure!([OLD, NEW].contains(&version.as_str()), "{version} is active");
        let program = self.away.root().join("opt/lockstep/connector/current/bin/lockstep-connector");
        let said = must(self.away.as_user(&program).arg("--version"))?;
        ensure!(said.contains(&version), "{} says {said}", program.display());
        let original = self.vendor.built_connector(&version);
        ensure!(fs::read(&program)? == fs::read(&original)?, "{} is not the vendor's", program.display());
        Ok(())
    }

    fn rows_before(&self) -> Result<Vec<Row>> {
        let pcs = [&self.ready, &self.refuses, &self.accepts, &self.away];
        Ok(pcs
            .map(|pc| Row {
                user: pc.user.clone(),
                pc: pc.name.clone(),
                before: format!("{OLD} online"),
                ..Row::default()
            })
            .into())
    }

    fn rows_after(&self, outcome: &mut Outcome) -> Result<()> {
        let pcs = [&self.ready, &self.refuses, &self.accepts, &self.away];
        for (pc, row) in pcs.iter().zip(&mut outcome.rows) {
            let status = pc.status()?;
            row.after =
                format!("{} {}", status["version"].as_str().unwrap_or("?"), status["gate"].as_str().unwrap_or("?"));
            row.sent = self.ledger.sent(&pc.user);
            (row.received, row.lost) = self.ledger.received_and_lost(&self.site.mail, &pc.user);
        }
        Ok(())
    }
}

/// The same command, killed at its `point`th rename.
fn under_strace(command: &Command, point: usize, log: &Path) -> Command {
    let mut strace = Command::new("strace");
    let renames = "rename,renameat,renameat2";
    strace.args(["-f", "-qq", "-e", &format!("trace={renames}"), "-e"]);
    strace.arg(format!("inject={renames}:signal=KILL:when={point}")).arg("-o").arg(log);
    strace.arg(command.get_program()).args(command.get_args());
    strace.env_clear().env("PATH", "/usr/bin:/bin");
    strace
}

/// Stops the traced program, whose end ends strace.
fn end_under_strace(strace: &mut Background) -> Result<()> {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", strace.id()))?;
    for child in children.split_whitespace() {
        crate::process::signal(child.parse()?, "TERM");
    }
    strace.stop();
    Ok(())
}
