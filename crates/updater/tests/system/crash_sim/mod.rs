//! The real executor, journal, recovery and record on a disk in memory, cut off at every moment in every way.
//!
//! At each change of each operation all disks are made that a power cut can leave ([`cuts`]), and the one that a killed process
//! leaves. On each, before anything is put right: what is active is a whole version, as was promised. Then the service's own recovery runs, and the
//! operation again: it converges. That run is cut off in the same way. Removing any one `fsync` that matters makes this fail.

mod cuts;
mod disk;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    path::Path,
    sync::Arc,
};

use disk::{Careless, Moment, SimDisk};
use lockstep_updater::{
    layout::Layout,
    record::{Record, RecordFile},
    slots::{Disk, SlotError, Slots},
};
use protocol::{Timestamp, Version, product::ProductId};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::vendor::Release;

/// What the service has been told is done, and so must be so after any cut.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Promise {
    /// One of these is active; none is the empty string.
    active: BTreeSet<String>,
    /// These are there.
    there: BTreeSet<String>,
    /// One of these is remembered as broken; nothing is the empty string.
    failed: BTreeSet<String>,
}

fn set<const N: usize>(what: [&str; N]) -> BTreeSet<String> {
    what.map(str::to_owned).into()
}

/// The service on its disk, and what it has promised so far.
struct Service {
    disk: SimDisk,
    slots: Slots,
    file: RecordFile,
    layout: Layout,
    promise: RefCell<Promise>,
    recording: bool,
    /// Each moment with what was promised then.
    moments: RefCell<Vec<(Moment, Promise)>>,
    packages: Arc<BTreeMap<String, Vec<u8>>>,
}

type Done = Result<(), SlotError>;

impl Service {
    fn new(
        moment: Moment,
        promise: Promise,
        careless: Careless,
        recording: bool,
        packages: Arc<BTreeMap<String, Vec<u8>>>,
    ) -> Self {
        let disk = SimDisk::new(moment, careless, recording);
        let layout = Layout::new(Path::new("/pc")).unwrap();
        let slots = Slots::for_installer(layout.clone(), Arc::new(disk.clone()));
        let file = RecordFile::new(layout.state(), Arc::new(disk.clone()));
        Self { disk, slots, file, layout, promise: promise.into(), recording, moments: RefCell::default(), packages }
    }

    /// Notes the moments since, under what was promised until now; then promises something else.
    fn promise(&self, change: impl FnOnce(&mut Promise)) {
        let mut moments = self.moments.borrow_mut();
        let before = self.promise.borrow().clone();
        moments.extend(self.disk.history().into_iter().map(|moment| (moment, before.clone())));
        change(&mut self.promise.borrow_mut());
        if self.recording {
            moments.push((self.disk.now(), self.promise.borrow().clone()));
        }
    }

    fn current(&self) -> String {
        let current = self.slots.observe(&ProductId::connector()).unwrap().current;
        current.map(|v| v.to_string()).unwrap_or_default()
    }

    fn has(&self, version: &str) -> bool {
        self.slots.observe(&ProductId::connector()).unwrap().versions.contains(&v(version))
    }

    fn recover(&self) -> Done {
        self.slots.recover(|_| true)?;
        lockstep_updater::slots::disk::sweep_replaced(&self.disk, &self.layout.state_dir()).unwrap();
        let current = self.current();
        self.promise(|p| p.active = BTreeSet::from([current]));
        Ok(())
    }

    fn stage(&self, version: &str) -> Done {
        if !self.has(version) {
            let mut fill = |into: &Path| self.slots.unpack(&self.packages[version][..], into);
            self.slots.stage(&ProductId::connector(), &v(version), 1, &mut fill)?;
        }
        self.promise(|p| {
            p.there.insert(version.to_owned());
        });
        Ok(())
    }

    fn activate(&self, version: &str) -> Done {
        let from = self.current();
        if from == version {
            return Ok(());
        }
        self.promise(|p| {
            p.active.insert(version.to_owned());
        });
        let optional = |version: &str| (!version.is_empty()).then(|| v(version));
        let (to, from) = (optional(version), optional(&from));
        self.slots.activate(&ProductId::connector(), to.as_ref(), from.as_ref(), true, 2)?;
        self.promise(|p| p.active = set([version]));
        Ok(())
    }

    fn remove(&self, version: &str) -> Done {
        if self.has(version) {
            self.promise(|p| {
                p.there.remove(version);
            });
            self.slots.remove(&ProductId::connector(), &v(version), 3)?;
        }
        Ok(())
    }

    fn failed(&self) -> String {
        let record = self.file.read().unwrap().product(&ProductId::connector());
        record.failed.first().map(|f| f.version.to_string()).unwrap_or_default()
    }

    fn remember(&self, broken: &str) {
        self.promise(|p| {
            p.failed.insert(broken.to_owned());
        });
        let mut record = self.file.read().unwrap();
        let product = record.product_mut(&ProductId::connector());
        product.remember_failure(v(broken), "exit 1".into(), Timestamp::UNIX_EPOCH);
        self.file.write(&record).unwrap();
        self.promise(|p| p.failed = set([broken]));
    }

    fn settle(&self) -> Done {
        self.slots.settle(&ProductId::connector())
    }
}

fn v(version: &str) -> Version {
    version.parse().unwrap()
}

/// What the service is about to do, written so that it can be done again from wherever it was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// 7.2.0 onto a PC that has nothing.
    Install,
    /// From 7.2.0 to 7.3.0, and 7.2.0 away.
    Upgrade,
    /// 7.3.0 is switched to, found broken, and left again.
    RollBack,
    /// 7.2.0 is active and damaged.
    Renew,
    /// 7.2.0 is taken away for good.
    Uninstall,
}

const ALL: [Work; 5] = [Work::Install, Work::Upgrade, Work::RollBack, Work::Renew, Work::Uninstall];

impl Work {
    fn run(self, s: &Service) -> Done {
        s.recover()?;
        match self {
            Self::Install => {
                s.stage("7.2.0")?;
                s.activate("7.2.0")?;
                s.settle()?;
            }
            Self::Upgrade => {
                s.stage("7.3.0")?;
                s.activate("7.3.0")?;
                s.settle()?;
                s.remove("7.2.0")?;
            }
            Self::RollBack => {
                if s.failed().is_empty() {
                    s.stage("7.3.0")?;
                    s.activate("7.3.0")?;
                    s.remember("7.3.0");
                }
                s.activate("7.2.0")?;
                s.settle()?;
                s.remove("7.3.0")?;
            }
            Self::Renew => {
                let damaged = s.layout.version(&ProductId::connector(), &v("7.2.0")).join("share/notes");
                if s.disk.read_file(&damaged).unwrap().as_deref() == Some(DAMAGE) {
                    let mut fill = |into: &Path| s.slots.unpack(&s.packages["7.2.0"][..], into);
                    s.slots.renew(&ProductId::connector(), &v("7.2.0"), 1, &mut fill)?;
                }
            }
            Self::Uninstall => {
                s.activate("")?;
                s.settle()?;
                s.remove("7.2.0")?;
            }
        }
        // The end is a moment too.
        s.promise(|_| {});
        Ok(())
    }

    /// What is active, there and remembered when it is done.
    fn end(self) -> (&'static str, &'static [&'static str], &'static str) {
        match self {
            Self::Install | Self::Renew => ("7.2.0", &["7.2.0"], ""),
            Self::Upgrade => ("7.3.0", &["7.3.0"], ""),
            Self::RollBack => ("7.2.0", &["7.2.0"], "7.3.0"),
            Self::Uninstall => ("", &[], ""),
        }
    }
}

const DAMAGE: &[u8] = b"damaged";

/// The trees that a version's directory may be.
type Trees = BTreeMap<String, Vec<BTreeMap<String, (u32, Vec<u8>)>>>;

struct Explorer {
    work: Work,
    careless: Careless,
    packages: Arc<BTreeMap<String, Vec<u8>>>,
    trees: Trees,
    chance: StdRng,
    /// Disks made of one moment at most.
    most: usize,
    /// Of the runs after a cut, one in so many is cut off again.
    nested: u32,
    /// How often a machine is cut off at most before it is left in peace.
    depth: usize,
    seen: BTreeSet<u64>,
    moments: usize,
    states: [usize; 4],
}

impl Explorer {
    fn new(work: Work, careless: Careless) -> Self {
        let release = |version: &str| {
            let files: [(&str, u32, &[u8]); 2] =
                [("bin/lockstep-connector", 0o755, b"#!/bin/sh\n"), ("share/notes", 0o644, version.as_bytes())];
            (version.to_owned(), Release::of("connector", version, &files).package)
        };
        let packages = Arc::new(BTreeMap::from([release("7.2.0"), release("7.3.0")]));
        Self {
            work,
            careless,
            packages,
            trees: Trees::new(),
            chance: StdRng::seed_from_u64(seed()),
            most: 16,
            nested: 60,
            depth: 2,
            seen: BTreeSet::new(),
            moments: 0,
            states: [0; 4],
        }
    }

    /// The disk at the beginning; also learns what whole versions look like, on a disk that nothing happens to.
    fn beginning(&mut self) -> (Moment, Promise) {
        let s = Service::new(Moment::empty(), Promise::default(), Careless::No, false, self.packages.clone());
        for dir in [s.layout.products(), s.layout.state_dir()] {
            s.disk.ensure_dir(&dir).unwrap();
        }
        let empty = s.disk.now();
        for version in ["7.2.0", "7.3.0"] {
            s.stage(version).unwrap();
            let dir = s.layout.version(&ProductId::connector(), &v(version));
            self.trees.insert(version.to_owned(), vec![s.disk.now().cached.tree(&dir)]);
        }
        if self.work == Work::Install {
            let promise = Promise { active: set([""]), failed: set([""]), ..Promise::default() };
            return (Moment::after_power_cut(empty.cached), promise);
        }
        s.activate("7.2.0").unwrap();
        s.settle().unwrap();
        s.remove("7.3.0").unwrap();
        s.file.write(&Record { v: 1, ..Record::default() }).unwrap();
        if self.work == Work::Renew {
            let dir = s.layout.version(&ProductId::connector(), &v("7.2.0"));
            s.disk.write_file(&dir.join("share/notes"), DAMAGE, 0o644).unwrap();
            let tree = s.disk.now().cached.tree(&dir);
            self.trees.get_mut("7.2.0").unwrap().push(tree);
        }
        let promise = Promise { active: set(["7.2.0"]), there: set(["7.2.0"]), failed: set([""]) };
        (Moment::after_power_cut(s.disk.now().cached), promise)
    }

    /// Tries everything.
    fn explore(&mut self) -> Result<(), String> {
        let (moment, promise) = self.beginning();
        self.run(moment, promise, 0)
    }

    /// Lets the service do its work from a moment on, and then cuts off every moment of that.
    fn run(&mut self, moment: Moment, promise: Promise, depth: usize) -> Result<(), String> {
        // Whether this run is cut off in its turn.
        let again = depth == 0 || depth < self.depth && self.chance.random_ratio(1, self.nested);
        let s = Service::new(moment, promise, self.careless, again, self.packages.clone());
        self.work.run(&s).map_err(|e| format!("the service cannot go on: {}", lockstep_updater::words(&e)))?;
        self.at_end(&s)?;
        if !again {
            return Ok(());
        }
        let moments = s.moments.take();
        self.moments += moments.len();
        for (number, (moment, promise)) in moments.into_iter().enumerate() {
            let most = if depth == 0 { self.most } else { self.most / 8 + 1 };
            let mut left = vec![moment.clone()];
            let cuts = cuts::cuts(&moment, most, &mut self.chance);
            left.extend(cuts.iter().map(|fates| Moment::after_power_cut(cuts::cut(&moment, fates))));
            for moment in left {
                let mut hasher = DefaultHasher::new();
                (&moment, &promise).hash(&mut hasher);
                if !self.seen.insert(hasher.finish()) {
                    continue;
                }
                self.states[depth] += 1;
                let work = self.work;
                let at = |why| format!("cut {} at moment {number} of {work:?}: {why}", depth + 1);
                let promise = self.as_promised(&moment, &promise).map_err(at)?;
                self.run(moment, promise, depth + 1).map_err(at)?;
            }
        }
        Ok(())
    }

    /// What is there, before anything is put right, against what was promised.
    fn as_promised(&self, moment: &Moment, promise: &Promise) -> Result<Promise, String> {
        let s = Service::new(moment.clone(), promise.clone(), Careless::No, false, self.packages.clone());
        let product = ProductId::connector();
        let link = s.disk.read_pointer(&s.layout.current(&product)).unwrap();
        let name = link.as_ref().and_then(|l| l.file_name()?.to_str()).unwrap_or_default();
        if !promise.active.contains(name) {
            return Err(format!("{name:?} is active instead of one of {:?}", promise.active));
        }
        if !name.is_empty() && !s.has(name) {
            return Err(format!("{name} is active and not there"));
        }
        for version in s.slots.observe(&product).unwrap().versions {
            let tree = moment.cached.tree(&s.layout.version(&product, &version));
            if !self.trees[&version.to_string()].contains(&tree) {
                return Err(format!("{version} is not whole: {tree:?}"));
            }
        }
        if let Some(gone) = promise.there.iter().find(|version| !s.has(version)) {
            return Err(format!("{gone} was complete and is gone"));
        }
        for file in [s.layout.install_journal(), s.layout.state()] {
            let torn = |bytes: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&bytes).is_err();
            if s.disk.read_file(&file).unwrap().is_some_and(torn) {
                return Err(format!("{} is torn", file.display()));
            }
        }
        let failed = s.failed();
        if !promise.failed.contains(&failed) {
            return Err(format!("{failed:?} is remembered as broken instead of one of {:?}", promise.failed));
        }
        Ok(promise.clone())
    }

    /// The work is done, and nothing is left of what was begun and cut off.
    fn at_end(&self, s: &Service) -> Result<(), String> {
        let (active, there, failed) = self.work.end();
        let observed = s.slots.observe(&ProductId::connector()).unwrap();
        let versions: Vec<_> = observed.versions.iter().map(ToString::to_string).collect();
        let rest = [observed.leftovers, observed.stray_links].concat();
        let beside = s.disk.list(&s.layout.state_dir()).unwrap().into_iter().filter(|n| n.starts_with('.')).count();
        if (s.current().as_str(), versions.as_slice(), rest.len(), beside)
            != (active, &there.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()[..], 0, 0)
        {
            return Err(format!("it ends with {:?} of {versions:?}, {rest:?}, {beside} beside", s.current()));
        }
        if s.failed() != failed {
            return Err(format!("{:?} is remembered as broken", s.failed()));
        }
        let journal = s.disk.read_file(&s.layout.install_journal()).unwrap().unwrap_or_default();
        if !journal.is_empty() && !String::from_utf8_lossy(&journal).contains("\"entries\":[]") {
            return Err("the journal is not closed".into());
        }
        let dir = s.layout.version(&ProductId::connector(), &v("7.2.0"));
        if self.work == Work::Renew && s.disk.now().cached.tree(&dir) != self.trees["7.2.0"][0] {
            return Err("the damage is still there".into());
        }
        Ok(())
    }
}

fn seed() -> u64 {
    std::env::var("LOCKSTEP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(4)
}

fn soak() -> bool {
    std::env::var_os("LOCKSTEP_SOAK").is_some()
}

#[test]
fn after_any_power_cut_with_writes_lost_torn_or_reordered_one_whole_version_is_active_and_it_converges() {
    let (mut moments, mut states) = (0, [0; 4]);
    for work in ALL {
        let mut explorer = Explorer::new(work, Careless::No);
        if soak() {
            (explorer.most, explorer.nested, explorer.depth) = (512, 40, 3);
        }
        explorer.explore().unwrap_or_else(|why| panic!("{why}"));
        println!("{work:?}: {} moments, {:?} disks by number of cuts", explorer.moments, explorer.states);
        moments += explorer.moments;
        states.iter_mut().zip(explorer.states).for_each(|(all, one)| *all += one);
    }
    println!(
        "soak: simulated disk: {moments} moments, {} disks ({states:?} by number of cuts), seed {}",
        states.iter().sum::<usize>(),
        seed()
    );
    assert!(states[0] > 500 && states[1] > 100, "only {states:?} disks were tried");
}

#[test]
fn a_careless_program_would_be_found_out() {
    for careless in [Careless::Files, Careless::Names, Careless::ContentAfterNames] {
        for work in [Work::Install, Work::Upgrade, Work::RollBack] {
            let found = Explorer::new(work, careless).explore();
            let why = found.expect_err(&format!("{work:?} survives {careless:?}"));
            println!("{careless:?}, {work:?}: {why:.160}");
        }
    }
}

/// Each `fsync` of an upgrade is forgotten in turn. Nobody misses those of intents that are replaced before anything depends on them.
#[test]
fn a_single_forgotten_fsync_is_missed_where_something_depends_on_it() {
    let mut explorer = Explorer::new(Work::Upgrade, Careless::No);
    let (moment, promise) = explorer.beginning();
    let s = Service::new(moment, promise, Careless::No, false, explorer.packages.clone());
    Work::Upgrade.run(&s).unwrap();
    let all = s.disk.syncs();
    let missed = |n: &usize| {
        let mut explorer = Explorer::new(Work::Upgrade, Careless::Nth(*n));
        explorer.depth = 1;
        explorer.explore().is_err()
    };
    let found: Vec<usize> = (0..all).filter(missed).collect();
    println!("{} of {all} forgotten fsyncs are missed: {found:?}", found.len());
    assert!(found.len() * 3 > all, "only {found:?} of {all}");
}
