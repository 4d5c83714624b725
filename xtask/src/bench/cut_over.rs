//! `cargo xtask bench cut-over`: seconds that users are cut off at the move, and resident memory.
//!
//! One run: a fresh site, `n` PCs each with an updater and a connector online at the old version and the new one
//! staged; the mail server moves, its package's hook says so (`lockstep server-version set`), and each
//! connector's own time stamp says when it was online again as the new version. The figure of a run is its slowest PC.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use jiff::Timestamp;

use crate::{
    mail_rig::{DOMAIN, MailRig},
    packages,
    process::wait_until,
    programs::{NEW, OLD, Profile, Programs, spinner},
    story::{
        Stage,
        pc::Pc,
        play::UPDATER,
        site::{NO_WEBMAIL, Site, VersionSource},
        vendor::Vendor,
    },
};

/// Prints the figures for each number of connectors.
///
/// # Errors
/// When anything goes wrong in a run.
pub fn bench(runs: usize, connectors: &[usize], built: bool) -> Result<()> {
    packages::ensure_installed(packages::DEMO)?;
    let programs = if built { Programs::built(Profile::Release)? } else { Programs::build(Profile::Release)? };
    println!(
        "{:>10} {:>6}  {:>8} {:>8} {:>8}  {:>14} {:>14}",
        "connectors", "runs", "min s", "median s", "max s", "updater KiB", "connector KiB"
    );
    for &n in connectors {
        let mut worst = Vec::new();
        let mut updater = Vec::new();
        let mut connector = Vec::new();
        for run in 1..=runs {
            let bar = spinner(&format!("{n} connectors, run {run} of {runs}"));
            let figures = one_run(&programs, n)?;
            bar.finish_and_clear();
            worst.push(figures.slowest);
            updater.extend(figures.updater_kib);
            connector.extend(figures.connector_kib);
        }
        worst.sort_by(f64::total_cmp);
        let median = worst[worst.len() / 2];
        let (min, max) = (worst[0], worst[worst.len() - 1]);
        println!(
            "{n:>10} {runs:>6}  {min:>8.2} {median:>8.2} {max:>8.2}  {:>14} {:>14}",
            most(&updater),
            most(&connector)
        );
    }
    println!(
        "seconds: from the mail server's move to the slowest connector online again; KiB: the largest resident set, idle before the move"
    );
    Ok(())
}

struct Figures {
    slowest: f64,
    updater_kib: Vec<u64>,
    connector_kib: Vec<u64>,
}

fn one_run(programs: &Programs, n: usize) -> Result<Figures> {
    let stage = Stage::new()?;
    let mut vendor = Vendor::new(stage.path("vendor"), programs)?;
    vendor.add_updater(UPDATER)?;
    vendor.add_connector(OLD, ">=7.2, <7.3")?;
    vendor.publish()?;
    let accounts: Vec<(String, String)> =
        (0..n).map(|i| (format!("user{i}@{DOMAIN}"), format!("secret-{i}"))).collect();
    let mail = MailRig::start(&stage.path("mail"), OLD, &accounts)?;
    let mut site = Site::start(&stage.path("site"), programs, &mut vendor, mail, NO_WEBMAIL, VersionSource::Pushed)?;
    site.must_lockstep(&["server-version", "set", OLD])?;

    let mut pcs = Vec::new();
    for (i, (user, password)) in accounts.iter().enumerate() {
        let mut pc = Pc::new(&stage.path("pcs"), &format!("pc-{i}"), 61000 + u32::try_from(i)?, user)?;
        pc.install_updater(&site, UPDATER)?;
        pc.wait_for_connector(OLD)?;
        pc.set_up(password)?;
        pc.sign_in()?;
        pcs.push(pc);
    }
    for pc in &pcs {
        pc.wait_for_gate("online", OLD, Duration::from_secs(30))?;
    }
    vendor.add_connector(NEW, ">=7.3, <7.4")?;
    vendor.publish()?;
    site.must_lockstep(&["refresh"])?;
    wait_until("everybody has staged", Duration::from_secs(120), || {
        let rows = site.readiness(NEW)?;
        Ok((rows.iter().filter(|(_, _, staged)| *staged).count() == n).then_some(()))
    })?;
    std::thread::sleep(Duration::from_secs(3));
    let resident = |program: &str| -> Vec<u64> { pcs.iter().filter_map(|pc| resident_kib(pc, program)).collect() };
    let (updater_kib, connector_kib) = (resident("lockstep-updater"), resident("lockstep-connector"));

    site.must_lockstep(&["cut-over", "--to", NEW, "--yes"])?;
    site.mail.become_version(NEW)?;
    let moved = Timestamp::now();
    site.must_lockstep(&["server-version", "set", NEW])?;
    let mut slowest: f64 = 0.0;
    for pc in &pcs {
        let online = pc.wait_for_gate("online", NEW, Duration::from_secs(60))?;
        slowest = slowest.max(online.duration_since(moved).as_secs_f64());
    }
    Ok(Figures { slowest, updater_kib, connector_kib })
}

/// The resident set of the PC's process that runs this program.
fn resident_kib(pc: &Pc, program: &str) -> Option<u64> {
    let mine = |pid: &str| {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        (exe.starts_with(pc.root()) && exe.ends_with(program)).then_some(())?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let processes = fs::read_dir("/proc").context("reading /proc").ok()?;
    processes.flatten().find_map(|p| mine(&p.file_name().to_string_lossy()))
}

fn most(kib: &[u64]) -> u64 {
    kib.iter().copied().max().unwrap_or(0)
}
