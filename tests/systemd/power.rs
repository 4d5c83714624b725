//! The installer of the integration page under a real systemd, and a PC whose life is hard: its service hangs, it reboots and
//! loses power in the middle of an upgrade.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask::{
    nspawn::Machine,
    process::{must, wait_until},
    programs::{NEW, OLD},
};

use crate::scene::{SOON, Scene, UNIT, active, as_alice, wait_for_active, wait_for_service};

/// Upgrades that are interrupted, half by a reboot and half by a power cut; many more under soak.
const ROUNDS: u64 = 4;
const SOAK_ROUNDS: u64 = 200;

#[test]
fn the_installer_starts_a_service_that_is_restarted_when_it_ends_or_hangs() {
    let scene = Scene::new().unwrap();
    let mut pc = scene.pc("pc-folder").unwrap();
    pc.boot().unwrap();
    installed_from_the_page(&scene, &pc).unwrap();
    wait_until("the site knows the PC", SOON, || scene.seen("pc-folder")).unwrap();
    assert_eq!(pc.property(UNIT, "UnitFileState").unwrap(), "enabled");

    // It ends, however, and so may its supervisor: each is started again.
    let (supervisor, updater) = processes(&pc).unwrap();
    kill(&pc, "KILL", updater);
    let (still, updater) = others(&pc, updater).unwrap();
    assert_eq!(still, supervisor, "the supervisor starts the updater again");
    kill(&pc, "KILL", supervisor);
    let (supervisor, updater) = others(&pc, updater).unwrap();
    assert_ne!(still, supervisor, "systemd starts the supervisor again");

    // It goes on for much longer than the watchdog waits: the driver's signs of life are real.
    let short = "[Service]\nWatchdogSec=6s\nTimeoutAbortSec=1s\n";
    pc.write("/etc/systemd/system/lockstep-updater.service.d/short.conf", short).unwrap();
    pc.must(&["systemctl", "daemon-reload"]).unwrap();
    pc.must(&["systemctl", "restart", UNIT]).unwrap();
    let (_, updater) = others(&pc, updater).unwrap();
    sleep(Duration::from_secs(10));
    assert_eq!(processes(&pc).unwrap().1, updater, "it is left alone while it lives:\n{}", pc.log(UNIT));
    // It hangs, while its supervisor does not: it is restarted.
    kill(&pc, "STOP", updater);
    others(&pc, updater).unwrap();
    assert!(pc.log(UNIT).contains("Watchdog timeout"), "{}", pc.log(UNIT));
    pc.shut_down().unwrap();
}

#[test]
fn reboots_and_power_cuts_in_the_middle_of_an_upgrade_leave_one_whole_version_and_it_arrives() {
    let scene = Scene::new().unwrap();
    let mut pc = scene.pc("pc-power").unwrap();
    pc.boot().unwrap();
    installed_from_the_page(&scene, &pc).unwrap();
    pc.shut_down().unwrap();
    let before = scene.stage.path("before");
    let connector = pc.path("/opt/lockstep/connector");
    must(Command::new("cp").arg("-a").arg(&connector).arg(&before)).unwrap();

    // Once undisturbed, to know how long it takes.
    scene.vendor.add_connector(NEW, ">=7.3, <7.4").unwrap();
    scene.vendor.publish().unwrap();
    scene.site.must_lockstep(&["refresh"]).unwrap();
    scene.site.must_lockstep(&["server-version", "set", NEW]).unwrap();
    pc.boot().unwrap();
    let began = Instant::now();
    wait_for_active(&pc, "connector", NEW).unwrap();
    let whole_upgrade = began.elapsed();
    settled(&pc).unwrap();
    pc.shut_down().unwrap();

    let soak = std::env::var_os("LOCKSTEP_SOAK").is_some();
    let seed = std::env::var("LOCKSTEP_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let mut random = seed;
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    for round in 0..if soak { SOAK_ROUNDS } else { ROUNDS } {
        // As it was before, and everything has to be fetched again.
        fs::remove_dir_all(&connector).unwrap();
        must(Command::new("cp").arg("-a").arg(&before).arg(&connector)).unwrap();
        for entry in fs::read_dir(pc.path("/var/lib/lockstep/updater/downloads")).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        pc.boot().unwrap();
        sleep(whole_upgrade.mul_f64(next(&mut random)));
        let cut = round % 2 == 0;
        if cut {
            pc.cut_power();
        } else {
            pc.reboot().unwrap();
        }
        let what =
            interrupted(&pc).unwrap_or_else(|e| panic!("seed {seed}, round {round}: {e:#}\n{}", pc.console_log()));
        let how = if cut { "power cut" } else { "reboot" };
        *found.entry(format!("{how}, {what}")).or_default() += 1;
        if cut {
            pc.boot().unwrap();
        }
        wait_for_active(&pc, "connector", NEW).unwrap_or_else(|e| panic!("seed {seed}, round {round}: {e:#}"));
        settled(&pc).unwrap_or_else(|e| panic!("seed {seed}, round {round}: {e:#}"));
        pc.shut_down().unwrap();
    }
    println!("soak: seed {seed}; an upgrade takes {:.1} s; found after: {found:?}", whole_upgrade.as_secs_f64());
}

/// The administrator installs the updater from the integration page's folder, and the service brings the connector.
fn installed_from_the_page(scene: &Scene, pc: &Machine) -> Result<()> {
    let folder = scene.folder()?;
    must(Command::new("cp").arg("-r").arg(&folder).arg(pc.path("/root/download")))?;
    let said: Value = serde_json::from_str(&pc.must(&["/root/download/bin/lockstep-updater", "install", "--json"])?)?;
    ensure!(said["service"] == "started", "{said}");
    wait_for_service(pc, "active")?;
    wait_for_active(pc, "connector", OLD)?;
    settled(pc)
}

/// The service's two processes, by their ids on the PC: the supervisor, and the updater below it.
fn processes(pc: &Machine) -> Result<(u32, u32)> {
    let supervisor: u32 = pc.property(UNIT, "MainPID")?.parse()?;
    let children = pc.must(&["cat", &format!("/proc/{supervisor}/task/{supervisor}/children")])?;
    Ok((supervisor, children.split_whitespace().next().context("the supervisor has no child")?.parse()?))
}

/// Waits until another process than this one is the updater, and the service is up.
fn others(pc: &Machine, than: u32) -> Result<(u32, u32)> {
    wait_until("the updater is restarted", SOON, || {
        let found = processes(pc)?;
        let up = pc.property(UNIT, "ActiveState")? == "active" && as_alice(pc, &["status"]).is_ok();
        Ok((up && found.1 != than).then_some(found))
    })
    .with_context(|| pc.log(UNIT))
}

fn kill(pc: &Machine, signal: &str, pid: u32) {
    pc.must(&["sh", "-c", &format!("kill -{signal} {pid}")]).unwrap();
}

/// Waits until nothing is left to do: no intent in the journal, nothing half made.
fn settled(pc: &Machine) -> Result<()> {
    wait_until("the upgrade is settled", SOON, || {
        let journal = fs::read_to_string(pc.path("/var/lib/lockstep/updater/journal.json")).unwrap_or_default();
        let empty = serde_json::from_str::<Value>(&journal)
            .map_or(journal.is_empty(), |j| !j.to_string().contains("operation"));
        Ok((empty && leftovers(pc)?.is_empty()).then_some(()))
    })?;
    let versions = whole_versions(pc)?;
    ensure!(versions.contains(&active(pc, "connector").unwrap_or_default()), "{versions:?}");
    Ok(())
}

/// What a PC is found with after an interruption: one version is active, and every version is whole.
fn interrupted(pc: &Machine) -> Result<String> {
    let current = active(pc, "connector").context("no version is active")?;
    ensure!([OLD, NEW].contains(&current.as_str()), "{current} is active");
    let versions = whole_versions(pc)?;
    ensure!(versions.contains(&current), "{current} is active, and only {versions:?} are there");
    let half = if leftovers(pc)?.is_empty() { "" } else { " and something half made" };
    Ok(format!("{current} active of {}{half}", versions.join(" and ")))
}

/// Names that are no versions: what was being made or removed.
fn leftovers(pc: &Machine) -> Result<Vec<String>> {
    Ok(names(&pc.path("/opt/lockstep/connector/versions"))?.into_iter().filter(|n| n.starts_with('.')).collect())
}

/// The connector's versions. Each is what its manifest says.
fn whole_versions(pc: &Machine) -> Result<Vec<String>> {
    let versions = pc.path("/opt/lockstep/connector/versions");
    let mut whole: Vec<String> = names(&versions)?.into_iter().filter(|n| !n.starts_with('.')).collect();
    whole.sort();
    for name in &whole {
        let dir = versions.join(name);
        let manifest: Value = serde_json::from_slice(&fs::read(dir.join("manifest.json"))?)?;
        let files = manifest["files"].as_array().cloned().unwrap_or_default();
        ensure!(!files.is_empty(), "{name} has no files");
        for file in files {
            let path = dir.join(file["path"].as_str().unwrap_or_default());
            let sum = must(Command::new("sha256sum").arg(&path))?;
            ensure!(sum.split_whitespace().next() == file["sha256"].as_str(), "{} is damaged", path.display());
        }
    }
    Ok(whole)
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    Ok(entries.map(|e| e.map(|e| e.file_name().to_string_lossy().into_owned())).collect::<std::io::Result<_>>()?)
}

/// The next number of a seeded row, from 0 to 1.
fn next(state: &mut u64) -> f64 {
    // Knuth's MMIX constants.
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40) as f64 / (1u64 << 24) as f64
}
