//! Step 18: the site's server is taken over.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    process::{Background, wait_until},
    programs::{NEW, OLD},
    story::{
        Stage,
        narrator::Narrator,
        play::{SOON, UPDATER, World},
        vendor::Vendor,
    },
};

/// What an intruder serves; see the script.
const SERVER: &str = include_str!("../taken_over.py");
const FORGED: &str = "7.4.0";

/// One thing that the intruder tries.
struct Trick {
    /// What it is, for people.
    what: &'static str,
    /// What is served as the vendor's repository.
    tuf: PathBuf,
    /// The version that every PC is told to install.
    version: &'static str,
}

impl World {
    /// Whatever the server serves and says, no PC installs anything that the vendor did not sign for it.
    pub(in crate::story) fn taken_over(&mut self, stage: &Stage, narrator: Narrator) -> Result<()> {
        narrator.step("18", "The site's server is taken over");
        narrator.say("An intruder has the server's TLS key and its files. Every PC is told to install, in turn:");
        let tricks = self.tricks(stage)?;
        self.site.power_off();
        let mut told = Vec::new();
        for trick in &tricks {
            let said = self.try_trick(stage, trick)?;
            narrator.say(&format!("  {}: pc-ready stays at {NEW} and says \"{said}\".", trick.what));
            told.push(said);
        }
        self.site.power_on()?;
        narrator.say("The server is the administrator's again. Every PC has reported what it was offered:");
        let last = told.last().and_then(|said| said.split("; ").next()).context("nothing was tried")?.to_owned();
        let text = wait_until("the console tells what pc-ready was offered", 2 * SOON, || {
            Ok(Some(self.site.device_page(&self.ready.name)?).filter(|text| text.contains(&last)))
        })
        .with_context(|| self.ready.logs())?;
        narrator.show("the console's page of pc-ready", &text);
        for pc in self.pcs() {
            pc.wait_for_gate("online", NEW, 2 * SOON)?;
            ensure!(!pc.versions().iter().any(|v| v == FORGED), "{}: {:?}", pc.name, pc.versions());
        }
        self.mail_in_a_circle(&["pc-ready", "pc-refuses", "pc-accepts", "pc-away", "pc-reinstalls", "pc-admin"])
    }

    fn tricks(&self, stage: &Stage) -> Result<[Trick; 4]> {
        let genuine = self.vendor.repository();
        // Another "vendor", whose keys nobody trusts, publishes 7.4.0.
        let forger = Vendor::new(stage.path("taken-over/forger"), self.vendor.programs())?;
        forger.add_connector_script(FORGED, "*", "#!/bin/sh\nexit 0\n")?;
        forger.publish()?;
        let stale = self.vendor.first_state();
        Ok([
            Trick { what: "a forged 7.4.0", tuf: forger.repository(), version: FORGED },
            Trick { what: "the old 7.2.0, genuinely signed", tuf: genuine.clone(), version: OLD },
            Trick { what: "stale metadata", tuf: stale, version: OLD },
            Trick { what: "a release for another product", tuf: genuine, version: UPDATER },
        ])
    }

    /// Runs the taken-over server until pc-ready has answered it, and gives what pc-ready says of it.
    fn try_trick(&mut self, stage: &Stage, trick: &Trick) -> Result<String> {
        let log = stage.path("taken-over.log");
        fs::write(&log, "")?;
        let tls = self.site.data().join("tls");
        let mut python = Command::new("python3");
        python.args(["-c", SERVER, self.site.port()]);
        python.arg(tls.join("cert.pem")).arg(tls.join("key.pem")).arg(&trick.tuf).arg(trick.version);
        let mut server = Background::start("the taken-over server", &mut python, &log)?;
        server.wait_for("taken over", SOON)?;
        let before = self.ready.updater_words()?;
        server.wait_for("told a PC to install", Duration::from_secs(90)).with_context(|| self.ready.logs())?;
        let said = wait_until(&format!("pc-ready answers {}", trick.what), Duration::from_secs(60), || {
            let words = self.ready.updater_words()?;
            Ok((words != before && !words.is_empty()).then_some(words))
        })
        .with_context(|| self.ready.logs())?;
        for pc in self.pcs() {
            ensure!(pc.active_version().as_deref() == Some(NEW), "{}: {:?}", pc.name, pc.active_version());
        }
        Ok(said)
    }
}
