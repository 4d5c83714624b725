//! What the service costs. `cargo xtask bench updater` runs this on a program built as shipped, for longer, with a larger package and a
//! large catalog, and prints the figures.
//!
//! | variable | meaning |
//! |---|---|
//! | `LOCKSTEP_BENCH_UPDATER` | the program to measure; without it the one under test |
//! | `LOCKSTEP_BENCH_IDLE_SECONDS` | how long it is watched while nothing happens |
//! | `LOCKSTEP_BENCH_PACKAGE_MB` | the package that is staged and activated |
//! | `LOCKSTEP_BENCH_RELEASES` | releases that the vendor's metadata names besides |

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use protocol::{Decision, Timestamp, message::KEEP_ALIVE_SECONDS};

use crate::{
    site::{Service, Site, place},
    vendor::{Release, UPDATER, Vendor},
};

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn program() -> PathBuf {
    std::env::var_os("LOCKSTEP_BENCH_UPDATER").map_or_else(|| UPDATER.into(), PathBuf::from)
}

/// As under `cargo xtask bench`: there the figures are printed, here only the gross ones are held against their limits, since the
/// program under test is built for debugging.
fn is_bench() -> bool {
    std::env::var_os("LOCKSTEP_BENCH_UPDATER").is_some()
}

struct Process(u32);

impl Process {
    /// A line of `/proc/PID/<file>` such as `VmRSS:   1234 kB`, in KiB.
    fn kib(&self, file: &str, name: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.0)).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// How often its threads have stopped waiting.
    fn wake_ups(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0)).unwrap();
        // A thread that ends meanwhile counts no more.
        let count = |dir: PathBuf| {
            let status = fs::read_to_string(dir.join("status")).ok()?;
            let line = status.lines().find(|l| l.starts_with("voluntary_ctxt_switches:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        tasks.flatten().filter_map(|task| count(task.path())).sum()
    }

    fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.0)).unwrap().count()
    }

    /// TCP connections that stand (proc(5), state 01 of `net/tcp`).
    fn connections(&self) -> usize {
        let table =
            ["tcp", "tcp6"].map(|t| fs::read_to_string(format!("/proc/{}/net/{t}", self.0)).unwrap_or_default());
        let stands = |inode: &str| {
            let lines = table.iter().flat_map(|t| t.lines().skip(1));
            lines.map(|l| l.split_whitespace().collect::<Vec<_>>()).any(|l| l[3] == "01" && l[9] == inode)
        };
        let links = fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap().flatten();
        let links = links.filter_map(|fd| fs::read_link(fd.path()).ok()?.to_str().map(str::to_owned));
        links
            .filter_map(|l| Some(l.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
            .filter(|i| stands(i))
            .count()
    }
}

/// A site with a push stream, and a PC with the connector 7.2.0.
fn site(dir: &Path, releases: &[Release], installed: &[&Release]) -> (Site, Vendor, PathBuf) {
    let vendor = Vendor::new("acme", releases);
    let site = Site::start();
    site.honest(&vendor, "7.2.0");
    site.world.lock().unwrap().pushes = true;
    let root = dir.join("pc");
    site.installs(&root, &vendor, installed);
    (site, vendor, root)
}

fn connector(version: &str) -> Release {
    Release::script("connector", version, "exec sleep 1000")
}

#[test]
fn an_idle_service_is_small_and_quiet_and_holds_one_connection() {
    let dir = place();
    let idle = Duration::from_secs(from_environment("LOCKSTEP_BENCH_IDLE_SECONDS", 10));
    for others in [0, from_environment("LOCKSTEP_BENCH_RELEASES", 100)] {
        let mut releases = vec![Release::real_updater(env!("CARGO_PKG_VERSION")), connector("7.2.0")];
        let thin = connector("7.2.0");
        // As a repository of five platforms: one in five is for this PC.
        releases.extend((0..others).map(|n| {
            let mut release = thin.clone();
            release.version = format!("6.{}.{}", n / 100, n % 100).parse().unwrap();
            if n % 5 != 0 {
                release.platform.arch = format!("other-{}", n % 5);
            }
            release
        }));
        let at = dir.path().join(format!("{others}"));
        fs::create_dir(&at).unwrap();
        lockstep_updater::platform::set_mode(&at, 0o755).unwrap();
        let (site, _, root) = site(&at, &releases, &[&releases[0], &releases[1]]);
        let pc = Service::start(&root, &program());
        let process = Process(pc.process.id());
        pc.wait("the push stream stands", || site.world.lock().unwrap().streams == 1);
        // The check-in that follows, and what it brings, is over; threads that waited for the disk have gone.
        std::thread::sleep(Duration::from_secs(5));
        let (told, before, began) = (site.world.lock().unwrap().bodies.len(), process.wake_ups(), Instant::now());
        std::thread::sleep(idle);
        let (woke, minutes) = (process.wake_ups() - before, began.elapsed().as_secs_f64() / 60.0);
        let world = site.world.lock().unwrap();
        let body = *world.bodies.iter().max().unwrap();
        println!(
            "idle, {others} other releases: VmRSS {} KiB (anonymous {}), Pss {} KiB, {} threads, {} connection(s), {woke} wake-ups in \
             {minutes:.1} min, keep-alive {KEEP_ALIVE_SECONDS} s, largest check-in body {body} bytes",
            process.kib("status", "VmRSS:"),
            process.kib("status", "RssAnon:"),
            process.kib("smaps_rollup", "Pss:"),
            process.threads(),
            process.connections(),
        );
        assert_eq!((process.connections(), world.streams), (1, 1));
        assert_eq!(world.bodies.len(), told, "no check-in without a reason");
        assert!(body <= 1024);
        // The keep-alive, and a look at the clock or two; a timer that ticks would make hundreds.
        assert!(woke as f64 <= 5.0 + 5.0 * minutes, "{woke} wake-ups in {minutes} min");
        if !is_bench() {
            assert!(process.kib("status", "RssAnon:") < 32 * 1024);
        }
    }
}

#[test]
fn a_package_is_staged_in_the_background_and_activated_in_a_moment() {
    let dir = place();
    let bytes = from_environment("LOCKSTEP_BENCH_PACKAGE_MB", 3) as usize * 1_000_000;
    // Does not compress, so that the package is as large as its content.
    let mut noise = vec![0u8; bytes];
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for chunk in noise.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    let script = b"#!/bin/sh\n[ \"$1\" = self-check ] && exit 0\nexec sleep 1000\n";
    let big = [("bin/lockstep-connector", 0o755, &script[..]), ("share/noise", 0o644, &noise[..])];
    let releases =
        [Release::real_updater(env!("CARGO_PKG_VERSION")), connector("7.2.0"), Release::of("connector", "7.3.0", &big)];
    let (site, _, root) = site(dir.path(), &releases, &[&releases[0], &releases[1]]);
    let pc = Service::start(&root, &program());
    pc.wait("the push stream stands", || site.world.lock().unwrap().streams == 1);
    let began = Instant::now();
    site.world.lock().unwrap().orders = Some(Decision::Stage { version: "7.3.0".parse().unwrap() });
    pc.check();
    pc.until("7.3.0 is ready", |status| status["products"]["connector"]["state"] == "staged");
    let staged = began.elapsed();
    site.orders("7.3.0");
    pc.check();
    pc.wait("7.3.0 is active", || pc.connector() == "7.3.0" && said(&root, "active product=connector").is_some());
    let (from, to) = (said(&root, "activating").unwrap(), said(&root, "active product=connector").unwrap());
    let activated = to.duration_since(from);
    println!(
        "{} MB: staged in {:.2} s (fetched over TLS, hashed, unpacked, hashed, made durable), activated in {} ms (switched, \
         self-check passed, settled); afterwards VmRSS {} KiB",
        bytes / 1_000_000,
        staged.as_secs_f64(),
        activated.as_millis(),
        Process(pc.process.id()).kib("status", "VmRSS:"),
    );
    assert!(activated.as_secs() < 20);
}

/// When the service's log first said this, by its own time stamp.
fn said(root: &Path, words: &str) -> Option<Timestamp> {
    let log = fs::read_to_string(root.with_extension("log")).unwrap();
    let line = log.lines().find(|line| line.contains(words))?;
    line.split_whitespace().next()?.parse().ok()
}
