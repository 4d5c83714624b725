//! The real service, on a real update, killed at every system call that changes its disk; and the same calls refused.
//!
//! Afterwards, as the machine finds it: the old or the new version is active, every file of it as the vendor packed it. The next
//! start brings the new one, and leaves nothing behind. By default a sample; every point with `LOCKSTEP_SOAK=1`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use lockstep_updater::{
    layout::Layout,
    slots::{RealDisk, Slots},
};
use nix::{errno::Errno, sys::signal::Signal};
use protocol::{
    Version,
    ipc::{Request, Verb, frame},
    product::ProductId,
};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use sha2::{Digest, Sha256};

use crate::{
    site::{Site, place},
    tracer::{Call, Ended, Fault, Traced},
    vendor::{Release, UPDATER, Vendor},
};

/// Longer than any wait of the service between two attempts, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// A site, and a PC that has 7.1.0 and runs 7.2.0, and is to get 7.3.0.
struct Bench {
    dir: tempfile::TempDir,
    _site: Site,
}

impl Bench {
    fn new() -> Self {
        let dir = place();
        let connector = |version: &str| Release::script("connector", version, "sleep 1000");
        let updater = Release::script("updater", "0.1.0", "true");
        let releases = [updater.clone(), connector("7.1.0"), connector("7.2.0"), connector("7.3.0")];
        let vendor = Vendor::new("vendor", &releases);
        let site = Site::start();
        site.honest(&vendor, "7.1.0");
        let template = dir.path().join("template");
        drop(site.pc(&template, &vendor, &[&releases[0], &releases[1]]));
        let layout = Layout::new(&template).unwrap();
        let slots = Slots::new(layout.clone(), Arc::new(RealDisk));
        let (product, version) = (ProductId::connector(), Version::new(7, 2, 0));
        slots.stage(&product, &version, 1, &mut |into| slots.unpack(&releases[2].package[..], into)).unwrap();
        slots.activate(&product, Some(&version), Some(&Version::new(7, 1, 0)), false, 2).unwrap();
        slots.settle(&product).unwrap();
        slots.sweep(&product).unwrap();
        // As after the installation: the service has not run yet.
        fs::remove_dir_all(layout.state_dir()).unwrap();
        fs::remove_dir_all(layout.run_dir()).unwrap();
        site.honest(&vendor, "7.3.0");
        Self { dir, _site: site }
    }

    /// A fresh copy of the PC.
    fn pc(&self, name: &str) -> Machine {
        let root = self.dir.path().join(name);
        let copied = Command::new("cp").arg("-a").args([&self.dir.path().join("template"), &root]).status().unwrap();
        assert!(copied.success());
        Machine { layout: Layout::new(&root).unwrap() }
    }
}

struct Machine {
    layout: Layout,
}

impl Drop for Machine {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            fs::remove_dir_all(self.layout.root()).unwrap();
        }
    }
}

impl Machine {
    fn log(&self) -> PathBuf {
        self.layout.root().with_extension("log")
    }

    fn start(&self, fault: Fault) -> Traced {
        let root = self.layout.root();
        let program = [UPDATER.as_ref(), OsStr::new("run"), OsStr::new("--root"), root.as_os_str()];
        Traced::start(&program, root, &self.log(), fault)
    }

    fn current(&self) -> Option<String> {
        let link = fs::read_link(self.layout.current(&ProductId::connector())).ok()?;
        Some(link.file_name()?.to_str()?.to_owned())
    }

    /// What the service says; nothing while it does not answer.
    fn ask(&self, verb: Verb) -> Option<String> {
        let mut stream = UnixStream::connect(self.layout.socket()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&frame(&Request::new(verb))).ok()?;
        let mut said = Vec::new();
        let mut buffer = [0; 4096];
        while !said.ends_with(b"\n") {
            match stream.read(&mut buffer) {
                Ok(n) if n > 0 => said.extend_from_slice(&buffer[..n]),
                _ => return None,
            }
        }
        String::from_utf8(said).ok()
    }

    /// Waits until the new version is active and settled, and the oldest one is gone; or the process has ended.
    fn drive(&self, service: &Traced, point: &str) {
        let began = Instant::now();
        let (mut asked, mut up) = (None::<Instant>, false);
        while service.ended().is_none() {
            // What is on the disk may be from an earlier run, and right already.
            up = up || self.ask(Verb::Status).is_some();
            let settled = self.current().as_deref() == Some("7.3.0") && self.journal_is_empty();
            if up && settled && self.unfinished().is_empty() {
                return;
            }
            // Removing what is not needed any more waits for the next check-in, and that for the hour. And where something was
            // refused, a user asks before the service tries again by itself.
            let wanted = settled || began.elapsed() > Duration::from_secs(2);
            let before = asked.is_some_and(|at| at.elapsed() < Duration::from_secs(13));
            if wanted && !before && self.ask(Verb::CheckNow).is_some() {
                asked = Some(Instant::now());
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{point}: does not converge: {:?} {:?}\n{:?}\n{}",
                self.current(),
                self.unfinished(),
                self.ask(Verb::Status),
                fs::read_to_string(self.log()).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(15));
        }
    }

    fn journal_is_empty(&self) -> bool {
        fs::read_to_string(self.layout.journal()).is_ok_and(|journal| journal.contains("\"entries\":[]"))
    }

    /// What is there and should not be, and the other way round, once everything is done.
    fn unfinished(&self) -> Vec<String> {
        let names = |dir: &Path| -> BTreeSet<String> {
            let entries = fs::read_dir(dir).into_iter().flatten();
            entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect()
        };
        let connector = ProductId::connector();
        let mut wrong = Vec::new();
        let expected = |what: &[&str]| -> BTreeSet<String> { what.iter().map(|w| (*w).to_owned()).collect() };
        for (dir, should) in [
            (self.layout.versions(&connector), expected(&["7.2.0", "7.3.0"])),
            (self.layout.product(&connector), expected(&["current", "versions"])),
            (self.layout.downloads(), expected(&[])),
        ] {
            let there = names(&dir);
            if there != should {
                wrong.push(format!("{}: {there:?}", dir.display()));
            }
        }
        for dir in [self.layout.state_dir(), self.layout.tuf()] {
            let beside = names(&dir).into_iter().filter(|name| name.starts_with('.'));
            wrong.extend(beside.map(|name| dir.join(name).display().to_string()));
        }
        wrong
    }

    /// One version is active, and every version that has its name is whole, with its final rights.
    fn assert_whole(&self, point: &str) -> String {
        let current = self.current().unwrap_or_else(|| panic!("{point}: no version is active"));
        assert!(["7.2.0", "7.3.0"].contains(&current.as_str()), "{point}: {current} is active");
        let versions = self.layout.versions(&ProductId::connector());
        let mut there = BTreeSet::new();
        for entry in fs::read_dir(&versions).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.parse::<Version>().is_ok() {
                whole(&versions.join(&name)).unwrap_or_else(|why| panic!("{point}: {name} is not whole: {why}"));
                there.insert(name);
            }
        }
        assert!(there.contains(&current), "{point}: {current} is active, and {there:?} are there");
        current
    }

    /// Nothing is open to others, whatever was interrupted.
    fn assert_rights(&self, point: &str) {
        for (dir, mode) in
            [(self.layout.state_dir(), 0o700), (self.layout.downloads(), 0o700), (self.layout.tuf(), 0o700)]
        {
            assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o7777, mode, "{point}: {}", dir.display());
        }
        for private in [self.layout.identity(), self.layout.state(), self.layout.journal()] {
            assert_eq!(fs::metadata(&private).unwrap().mode() & 0o7777, 0o600, "{point}: {}", private.display());
        }
        assert_closed(self.layout.root(), point);
    }
}

/// Nothing in a tree can be changed by others; sockets are to be spoken to by all.
pub fn assert_closed(path: &Path, point: &str) {
    use std::os::unix::fs::FileTypeExt;
    let meta = fs::symlink_metadata(path).unwrap();
    if meta.is_symlink() || meta.file_type().is_socket() {
        return;
    }
    assert_eq!((meta.uid(), meta.mode() & 0o022), (0, 0), "{point}: {}", path.display());
    if meta.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| assert_closed(&entry.unwrap().path(), point));
    }
}

/// Every file that the manifest names, and nothing else.
fn whole(version: &Path) -> Result<(), String> {
    let text = fs::read(version.join("manifest.json")).map_err(|e| format!("its manifest: {e}"))?;
    let manifest: release::package::Manifest =
        serde_json::from_slice(&text).map_err(|e| format!("its manifest: {e}"))?;
    let mut should: BTreeMap<PathBuf, (u32, String)> =
        manifest.files.into_iter().map(|f| (version.join(f.path), (f.mode, f.sha256))).collect();
    should.insert(version.join("manifest.json"), (0o644, hex::encode(Sha256::digest(&text))));
    let mut found = BTreeMap::new();
    collect(version, &mut found)?;
    if found == should { Ok(()) } else { Err(format!("{found:?} instead of {should:?}")) }
}

fn collect(dir: &Path, found: &mut BTreeMap<PathBuf, (u32, String)>) -> Result<(), String> {
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    if mode(dir) != 0o755 {
        return Err(format!("{} has mode {:o}", dir.display(), mode(dir)));
    }
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            collect(&path, found)?;
        } else {
            found.insert(path.clone(), (mode(&path), hex::encode(Sha256::digest(fs::read(&path).unwrap()))));
        }
    }
    Ok(())
}

/// The calls of one update that nothing disturbs.
fn dry_run(bench: &Bench) -> Vec<Call> {
    let pc = bench.pc("dry");
    let service = pc.start(Fault::None);
    pc.drive(&service, "dry run");
    let (ended, calls) = service.end();
    assert_eq!(ended, Ended::Exit(0));
    assert_eq!(pc.assert_whole("dry run"), "7.3.0");
    calls
}

/// How often each kind of call was hit.
type Hits = Mutex<BTreeMap<&'static str, usize>>;

fn killed_at(bench: &Bench, n: usize, hits: &Hits) {
    let pc = bench.pc(&format!("kill-{n}"));
    let service = pc.start(Fault::Kill(n));
    pc.drive(&service, &format!("kill {n}"));
    let (ended, calls) = service.end();
    let Ended::Killed(signal) = ended else {
        // This run had fewer calls than the first one.
        assert_eq!(ended, Ended::Exit(0));
        return;
    };
    assert_eq!(signal, Signal::SIGKILL);
    let call = calls.last().unwrap();
    *hits.lock().unwrap().entry(call.kind).or_default() += 1;
    let point = format!("killed at change {n}, {} {}", call.kind, call.path);
    pc.assert_whole(&point);
    converges(&pc, &point);
}

/// A start that nothing disturbs brings the new version, and leaves nothing behind.
fn converges(pc: &Machine, point: &str) {
    let service = pc.start(Fault::None);
    pc.drive(&service, point);
    let (ended, _) = service.end();
    assert_eq!(ended, Ended::Exit(0), "{point}\n{}", fs::read_to_string(pc.log()).unwrap_or_default());
    assert_eq!(pc.assert_whole(point), "7.3.0");
    assert_eq!(pc.unfinished(), [""; 0], "{point}");
    pc.assert_rights(point);
}

/// The disk refuses: the service says so, goes on or ends properly, and does the update once the disk is well.
fn refused_at(bench: &Bench, n: usize, errno: Errno, lasting: bool, hits: &Hits) {
    let pc = bench.pc(&format!("{errno:?}-{lasting}-{n}"));
    let point = format!("{errno:?} at change {n}, lasting: {lasting}");
    let service = pc.start(if lasting { Fault::From(n, errno) } else { Fault::Once(n, errno) });
    if lasting {
        sick(&pc, &service, errno, &point);
        service.heal();
    }
    pc.drive(&service, &point);
    let ill = service.injected() > 0;
    let (ended, calls) = service.end();
    match ended {
        Ended::Exit(0) => {}
        Ended::Exit(1) => {
            let said = fs::read_to_string(pc.log()).unwrap();
            assert!(said.contains("lockstep-updater: ") && said.contains(words(errno)), "{point}: {said}");
        }
        other => panic!("{point}: {other:?}\n{}", fs::read_to_string(pc.log()).unwrap_or_default()),
    }
    if ill {
        *hits.lock().unwrap().entry(calls[n - 1].kind).or_default() += 1;
    }
    pc.assert_whole(&point);
    converges(&pc, &point);
}

fn words(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOSPC => "No space left on device",
        _ => "Input/output error",
    }
}

/// While nothing can be written, what is active stays whole, and the status says what is wrong, unless the service has ended.
fn sick(pc: &Machine, service: &Traced, errno: Errno, point: &str) {
    let began = Instant::now();
    let mut said = None;
    while service.ended().is_none() {
        // Only what went wrong after everything was done is not told any more.
        let over = service.injected() == 0 && pc.current().as_deref() == Some("7.3.0") && pc.journal_is_empty();
        said = pc.ask(Verb::Status);
        if over || said.as_ref().is_some_and(|said| said.contains(words(errno))) {
            break;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{point}: the status does not say what is wrong: {said:?}\n{}",
            fs::read_to_string(pc.log()).unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(said);
    pc.assert_whole(point);
}

/// Does every point, or a sample of about `share` of them, in a few lanes: most of the time of each goes by waiting.
fn sweep(what: &str, calls: usize, sample: usize, lanes: usize, one: impl Fn(usize) + Sync) -> usize {
    let mut points: Vec<usize> = (1..=calls).collect();
    // To look at one again that has failed.
    if let Some(point) = std::env::var("LOCKSTEP_POINT").ok().and_then(|point| point.parse().ok()) {
        points = vec![point];
    } else if !soak() {
        points.shuffle(&mut StdRng::seed_from_u64(seed()));
        points.truncate(sample);
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                while let Some(n) = points.get(next.fetch_add(1, Ordering::SeqCst)) {
                    one(*n);
                }
            });
        }
    });
    println!("{what}: {} points tried of {calls}, seed {}", points.len(), seed());
    points.len()
}

fn soak() -> bool {
    std::env::var_os("LOCKSTEP_SOAK").is_some()
}

fn seed() -> u64 {
    std::env::var("LOCKSTEP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(4)
}

fn report(what: &str, calls: &[Call], hits: Hits) {
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    calls.iter().for_each(|call| *all.entry(call.kind).or_default() += 1);
    let hits = hits.into_inner().unwrap();
    let total: usize = hits.values().sum();
    println!("soak: {what}: {total} hit: {hits:?}; one update has {}: {all:?}", calls.len());
    assert!(total > 0, "{what}: no point was hit");
}

#[test]
fn killed_at_any_change_of_its_disk_the_service_has_one_whole_version_and_converges() {
    let bench = Bench::new();
    let calls = dry_run(&bench);
    assert!(calls.len() > 100, "only {} changes were seen", calls.len());
    let hits = Hits::default();
    // Two runs differ by a few calls: what comes when two threads meet. Some more are tried than were counted.
    sweep("SIGKILL", calls.len() + 3, 14, 1, |n| killed_at(&bench, n, &hits));
    report("SIGKILL", &calls, hits);
}

#[test]
fn a_call_that_the_disk_refuses_once_leaves_a_whole_version_and_the_update_is_done_all_the_same() {
    let bench = Bench::new();
    let calls = dry_run(&bench);
    for errno in [Errno::ENOSPC, Errno::EIO] {
        let hits = Hits::default();
        sweep(&format!("{errno:?} once"), calls.len(), 5, 4, |n| refused_at(&bench, n, errno, false, &hits));
        report(&format!("{errno:?} once"), &calls, hits);
    }
}

#[test]
fn a_disk_that_refuses_everything_for_a_while_is_spoken_of_and_the_update_is_done_afterwards() {
    let bench = Bench::new();
    let calls = dry_run(&bench);
    for errno in [Errno::ENOSPC, Errno::EIO] {
        let hits = Hits::default();
        sweep(&format!("{errno:?} from then on"), calls.len(), 4, 4, |n| refused_at(&bench, n, errno, true, &hits));
        report(&format!("{errno:?} from then on"), &calls, hits);
    }
}
