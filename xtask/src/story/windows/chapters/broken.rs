//! A version that cannot run on the PCs: rolled back, remembered, reported.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{
    process::{must, wait_until},
    programs::NEW,
    story::{
        narrator::Narrator,
        windows::{
            pc::Pc,
            play::{SOON, World},
        },
    },
};

/// Works with the same servers, so it needs no cut-over; and it does not run.
const BROKEN: &str = "7.3.1";
const PROGRAM: &str = "#include <stdio.h>\nint main(void) { fputs(\"a library is missing\", stderr); return 1; }\n";

impl World {
    pub(in crate::story::windows) fn broken_release(&mut self, narrator: Narrator) -> Result<()> {
        narrator.step("18", &format!("The vendor publishes {BROKEN}, which cannot run"));
        let work = tempfile::tempdir()?;
        let bin = work.path().join("tree/bin");
        fs::create_dir_all(&bin)?;
        let source = work.path().join("broken.c");
        fs::write(&source, PROGRAM)?;
        let mut compiler = Command::new("x86_64-w64-mingw32-gcc");
        must(compiler.args(["-Os", "-s", "-o"]).arg(bin.join("lockstep-connector.exe")).arg(&source))?;
        let pack = [
            "--os",
            "windows",
            "--arch",
            "x86_64",
            "--program",
            "bin/lockstep-connector.exe",
            "--self-check",
            "self-check",
        ];
        let terms = ["--server", ">=7.3, <7.4"];
        self.vendor.add_folder("connector", BROKEN, &work.path().join("tree"), &pack, &terms)?;
        self.vendor.publish()?;
        self.site.must_lockstep(&["refresh"])?;
        for pc in self.with_updater() {
            let failed = || {
                let connector = pc.updater_status()?["products"]["connector"].clone();
                Ok((connector["failed"][0]["version"] == BROKEN).then_some(connector))
            };
            let connector = wait_until(&format!("{} rolls back", pc.name), SOON, failed).with_context(|| pc.logs())?;
            ensure!(connector["installed"] == NEW, "{}: {connector}", pc.name);
            ensure!(pc.active_version().as_deref() == Some(NEW), "{}: {:?}", pc.name, pc.active_version());
        }
        wait_until("the site knows", SOON, || {
            let status = self.site.status()?;
            let devices = status["devices"].as_array().context("no devices")?;
            let told = |pc: &&Pc| devices.iter().any(|d| d["pc"] == *pc.name && d.to_string().contains("self-check"));
            Ok(self.with_updater().iter().all(told).then_some(()))
        })?;
        for pc in self.with_updater() {
            pc.wait_for_gate("online", NEW, SOON)?;
        }
        self.mail_in_a_circle(&["WIN-READY", "WIN-REFUSES", "WIN-ACCEPTS", "WIN-AWAY"])?;
        narrator.say(&format!(
            "Each PC tried it, went back to {NEW} and remembers; the site sees why. Nobody's mail noticed."
        ));
        Ok(())
    }
}
