//! The supervisor and the updater killed at the system calls of a self-update: whatever dies when, one complete version is active,
//! and the next start converges: the new version has come up, or it was left and that is remembered.
//!
//! The supervisor is the real one. The updater below it is [`victim`], which takes the steps of the real one with the real one's code,
//! without a site: stage, trial, switch, give way, settle, end of the trial.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use lockstep_updater::{
    layout::Layout,
    platform,
    self_update::{self, Trial},
    slots::{RealDisk, Slots},
};
use protocol::{Version, product::ProductId};
use rand::{SeedableRng, seq::SliceRandom};

use crate::{
    fixture::{needs_root, version},
    vendor::{Release, SUPERVISOR},
};

const OLD: &str = "0.1.0";
const NEW: &str = "0.2.0";
const ROOT: &str = "LOCKSTEP_TEST_SELF_UPDATE_ROOT";
const SELF: &str = "LOCKSTEP_TEST_SELF_UPDATE_VERSION";

/// Each occurrence up to this one of these calls, in each process, unless the test is bounded.
const CALLS: [(&str, usize); 7] =
    [("rename", 14), ("fsync", 30), ("symlink", 2), ("unlink", 8), ("mkdir", 3), ("unlinkat", 4), ("openat", 60)];
/// Points that are tried where nobody asks for all.
const SAMPLE: usize = 10;

/// Not a test: an updater that wants to be the new version.
#[test]
#[ignore = "run by the test below, under the supervisor"]
fn victim() {
    let root = PathBuf::from(std::env::var_os(ROOT).unwrap());
    let me = version(&std::env::var(SELF).unwrap());
    let (old, new) = (version(OLD), version(NEW));
    let layout = Layout::new(&root).unwrap();
    let (slots, updater) = (Slots::new(layout.clone(), Arc::new(RealDisk)), ProductId::updater());
    let left = layout.state_dir().join("left");
    if let Some(failed) = self_update::failure(&layout, &RealDisk).unwrap() {
        fs::write(&left, failed.version.to_string()).unwrap();
        self_update::forget_failure(&layout, &RealDisk).unwrap();
    }
    slots.recover(|_| true).unwrap();
    if me == old {
        slots.settle(&updater).unwrap();
        self_update::end(&layout, &RealDisk).unwrap();
        if !left.exists() {
            if !slots.observe(&updater).unwrap().versions.contains(&new) {
                let package = fs::File::open(root.with_extension("lpk")).unwrap();
                let fill = &mut |into: &Path| Ok(release::package::unpack(&package, into).unwrap());
                slots.stage(&updater, &new, 3, fill).unwrap();
            }
            self_update::begin(&layout, &RealDisk, &Trial { new: new.clone(), old: old.clone() }).unwrap();
            slots.activate(&updater, Some(&new), Some(&old), false, 4).unwrap();
            // Gives way.
            std::process::exit(0);
        }
    } else {
        slots.settle(&updater).unwrap();
        self_update::end(&layout, &RealDisk).unwrap();
    }
    fs::write(root.join("idle"), me.to_string()).unwrap();
    loop {
        std::thread::park();
    }
}

struct Pc {
    _dir: tempfile::TempDir,
    layout: Layout,
    slots: Slots,
}

fn updater_like(number: &str) -> Release {
    let me = std::env::current_exe().unwrap();
    let script = format!(
        "[ -n \"$3\" ] || exit 2\nexport {ROOT}=\"$3\" {SELF}={number}\nexec {} --ignored --exact self_update_kills::victim --test-threads=1 >/dev/null 2>&1",
        me.display()
    );
    Release::of("updater", number, &[("bin/lockstep-updater", 0o755, format!("#!/bin/sh\n{script}\n").as_bytes())])
}

impl Pc {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("kill-").tempdir_in("/tmp").unwrap();
        let root = dir.path().join("pc");
        let layout = Layout::new(&root).unwrap();
        for (path, mode) in [
            (layout.state_dir(), 0o700),
            (layout.versions(&ProductId::updater()), 0o755),
            (root.join("opt/lockstep/supervisor"), 0o755),
        ] {
            platform::make_dir(&path, mode).unwrap();
        }
        fs::copy(SUPERVISOR, layout.supervisor()).unwrap();
        fs::set_permissions(layout.supervisor(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(root.with_extension("lpk"), updater_like(NEW).package).unwrap();
        let slots = Slots::new(layout.clone(), Arc::new(RealDisk));
        let old = updater_like(OLD).package;
        slots
            .stage(&ProductId::updater(), &version(OLD), 1, &mut |into| {
                Ok(release::package::unpack(&old[..], into).unwrap())
            })
            .unwrap();
        slots.activate(&ProductId::updater(), Some(&version(OLD)), None, false, 2).unwrap();
        slots.settle(&ProductId::updater()).unwrap();
        Self { _dir: dir, layout, slots }
    }

    fn supervise(&self, strace: &[&str]) -> Child {
        let supervisor = self.layout.supervisor();
        let mut command = match strace {
            [] => Command::new(&supervisor),
            arguments => {
                let mut command = Command::new("strace");
                command.args(["-f", "-qq", "-o", "/dev/null"]).args(arguments).arg(&supervisor);
                command
            }
        };
        command.arg("--root").arg(self.layout.root()).args(["--trial-seconds", "120"]);
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this test needs strace: apt-get install strace")
    }

    fn current(&self) -> Version {
        self.slots.observe(&ProductId::updater()).unwrap().current.expect("no version is active")
    }

    fn idle(&self) -> Option<String> {
        fs::read_to_string(self.layout.root().join("idle")).ok().filter(|text| !text.is_empty())
    }

    fn is_complete(&self, version: &Version) -> bool {
        let script = self.layout.version(&ProductId::updater(), version).join("bin/lockstep-updater");
        self.slots
            .manifest(&ProductId::updater(), version)
            .is_ok_and(|manifest| fs::metadata(script).is_ok_and(|m| m.len() == manifest.files[0].size))
    }

    /// One point, from the kill to the end.
    fn converges(&self, call: &str, n: usize) {
        let point = format!("{call} number {n}");
        let inject = format!("inject={call}:signal=KILL:when={n}");
        let mut traced = self.supervise(&["-e", &format!("trace={call}"), "-e", &inject]);
        let began = Instant::now();
        // The updater's death leaves the supervisor at work; its own ends everything.
        while traced.try_wait().unwrap().is_none()
            && self.idle().is_none()
            && began.elapsed() < Duration::from_millis(2500)
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        end(&mut traced);
        let before = self.current();
        assert!(self.is_complete(&before), "{point}: {before} is active and not whole");

        drop(fs::remove_file(self.layout.root().join("idle")));
        let mut supervisor = self.supervise(&[]);
        let began = Instant::now();
        while self.idle().is_none() {
            assert!(began.elapsed() < Duration::from_secs(60), "{point}: it does not come to rest");
            std::thread::sleep(Duration::from_millis(10));
        }
        let (idle, current) = (self.idle().unwrap(), self.current().to_string());
        let left = fs::read_to_string(self.layout.state_dir().join("left")).ok();
        end(&mut supervisor);
        assert_eq!(idle, current, "{point}: another version runs than is active");
        match current.as_str() {
            NEW => assert_eq!(left, None, "{point}"),
            _ => assert_eq!(left.as_deref(), Some(NEW), "{point}: the new version was not left, and does not run"),
        }
        assert!(
            !self.layout.trial().exists() && !self.layout.trial_failed().exists(),
            "{point}: the trial is not over"
        );
        let observed = self.slots.observe(&ProductId::updater()).unwrap();
        assert!(observed.leftovers.is_empty() && observed.stray_links.is_empty(), "{point}: {observed:?}");
    }
}

/// Ends a supervisor as by SIGKILL; the kernel ends its updater. A tracer alone would only let go of it.
fn end(process: &mut Child) {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", process.id())).unwrap_or_default();
    for child in children.split_whitespace() {
        // It may be gone already, which is what is wanted.
        drop(Command::new("kill").args(["-9", child]).stderr(Stdio::null()).status());
    }
    drop(process.kill());
    process.wait().unwrap();
    std::thread::sleep(Duration::from_millis(20));
}

#[test]
fn killed_at_any_call_of_a_self_update_one_whole_version_is_active_and_the_next_start_converges() {
    needs_root();
    let mut points: Vec<_> = CALLS.iter().flat_map(|(call, most)| (1..=*most).map(move |n| (*call, n))).collect();
    let seed = std::env::var("LOCKSTEP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(15);
    if std::env::var_os("LOCKSTEP_SOAK").is_none() {
        // `openat` is frequent and mostly harmless: the others come first.
        points.retain(|(call, _)| *call != "openat");
        points.shuffle(&mut rand::rngs::StdRng::seed_from_u64(seed));
        points.truncate(SAMPLE);
    }
    for (call, n) in &points {
        Pc::new().converges(call, *n);
    }
    println!("soak: killed at {} calls", points.len());
}
