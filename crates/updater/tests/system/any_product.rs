//! A product that nothing here knows: a service of the machine, described by its signed manifest alone. What restarts it is a
//! stand-in for systemd that keeps real processes running, and counts as systemd does; the real one is in `tests/systemd`.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use lockstep_updater::{
    driver::{Driver, Event, Published, Setup, Why},
    record::RecordFile,
    services::Systemd,
    slots::{Observed, RealDisk, Slots},
    source::Metadata,
};
use protocol::{
    Timestamp, Version,
    catalog::{Entry, Release},
    device::DeviceState,
    policy::UpgradePolicy,
    product::{Platform, ProductId},
    site::SiteProduct,
};
use release::package::{Description, Health, Restart, pack};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    driver_rig::World,
    fixture::{Pc, eventually, needs_root, version},
};

const UNIT: &str = "web.service";
const WORKS: &str = r#"[ "$1" = self-check ] && exit 0; exec sleep 1000"#;
const CRASHES: &str = r#"[ "$1" = self-check ] && exit 0; sleep 0.3; exit 3"#;

/// What systemctl is to the updater: `show`, `reset-failed` and `restart`, on files and real processes.
const SYSTEMCTL: &str = r#"#!/bin/sh
dir=$(dirname "$0"); for unit; do :; done
echo "$*" >> "$dir/asked"
case $1 in
show) cat "$dir/$unit.state" 2>/dev/null || echo LoadState=not-found ;;
restart)
    [ -f "$dir/$unit.pid" ] && kill -s KILL -- "-$(cat "$dir/$unit.pid")"
    [ -f "$dir/$unit.state" ] && echo Job=1 >> "$dir/$unit.state"
    rm -f "$dir/$unit.pid"
    setsid "$dir/keep" "$unit" </dev/null >/dev/null 2>&1 &
    # Who restarts it next must find it.
    while [ -e "$dir/keep" ] && [ ! -s "$dir/$unit.pid" ]; do sleep 0.01; done ;;
esac
exit 0
"#;
const KEEP: &str = r#"#!/bin/sh
dir=$(dirname "$0"); unit=$1; echo $$ > "$dir/$unit.pid"; n=0
state() {
    printf 'LoadState=loaded\nActiveState=%s\nInvocationID=%s\nNRestarts=%s\nResult=%s\nUnitFileState=enabled\n' \
        "$1" "$id" "$n" "$2" > "$dir/$unit.new"
    mv "$dir/$unit.new" "$dir/$unit.state"
}
while [ -e "$dir/keep" ]; do
    id=$(cat /proc/sys/kernel/random/uuid)
    state active success
    readlink "$(cat "$dir/$unit.link")" >> "$dir/ran"
    "$(cat "$dir/$unit.link")/bin/program" run
    state activating exit-code
    n=$((n + 1)); sleep 0.1
done
"#;

fn web() -> ProductId {
    "web".parse().unwrap()
}

struct Machine {
    pc: Pc,
    world: Arc<World>,
    systemd: PathBuf,
    events: mpsc::Sender<Event>,
    published: watch::Receiver<Published>,
    running: JoinHandle<()>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Nothing more is started from here on, and what has just been started sees that.
        assert!(fs::remove_file(self.systemd.join("keep")).is_ok());
        if let Ok(group) = fs::read_to_string(self.systemd.join("web.service.pid")) {
            // The processes that this test's stand-in keeps running.
            let ended = Command::new("kill").args(["-9", "--", &format!("-{}", group.trim())]).status();
            assert!(ended.is_ok());
        }
    }
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Machine {
    /// A PC where version 1.0.0 is installed, and its service runs.
    async fn new(unit: &str) -> Self {
        needs_root();
        let pc = Pc::new();
        let systemd = pc.dir.path().join("systemd");
        fs::create_dir(&systemd).unwrap();
        program(&systemd.join("systemctl"), SYSTEMCTL);
        program(&systemd.join("keep"), KEEP);
        fs::write(systemd.join("web.service.link"), pc.layout.current(&web()).to_str().unwrap()).unwrap();
        let world = Arc::new(World::default());
        world.is_fresh_for_ever();
        let product = SiteProduct { policy: UpgradePolicy::SilentAtStart, ..SiteProduct::default() };
        world.manages(&web(), product);
        let (events, inbox) = mpsc::channel(1);
        drop(inbox);
        let mut machine = Self {
            pc,
            world,
            systemd,
            events,
            published: watch::channel(Published::default()).1,
            running: tokio::spawn(async {}),
        };
        let entry = machine.release("1.0.0", WORKS, unit);
        let package = machine.world.package_of(&entry);
        let fill = &mut |into: &Path| Ok(release::package::unpack(fs::File::open(&package).unwrap(), into).unwrap());
        machine.pc.slots.stage(&web(), &version("1.0.0"), 1, fill).unwrap();
        machine.pc.slots.activate(&web(), Some(&version("1.0.0")), None, false, 2).unwrap();
        machine.pc.slots.settle(&web()).unwrap();
        machine.systemctl("restart");
        eventually("the service runs", || machine.state().contains("active")).await;
        machine.start().await;
        machine
    }

    fn systemctl(&self, what: &str) {
        assert!(Command::new(self.systemd.join("systemctl")).args([what, "--", UNIT]).status().unwrap().success());
    }

    fn state(&self) -> String {
        fs::read_to_string(self.systemd.join("web.service.state")).unwrap_or_default()
    }

    /// The updater's driver, as after a start of the service.
    async fn start(&mut self) {
        self.running.abort();
        let file = RecordFile::new(self.pc.layout.state(), Arc::new(RealDisk));
        let record = file.read().unwrap();
        let mut driver = Driver::new(Setup {
            layout: self.pc.layout.clone(),
            slots: Slots::new(self.pc.layout.clone(), Arc::new(RealDisk)),
            file,
            record,
            metadata: Some(Metadata { catalog: self.world.signed(), expires: Timestamp::MAX }),
            source: self.world.clone(),
            version: Version::new(0, 1, 0),
            hostname: "pc".into(),
            channel: "stable".into(),
            policy: None,
            machine: Default::default(),
            clock: Timestamp::now,
            systemd: Systemd::stand_in(&self.systemd),
            supervised: false,
        });
        driver.recover().await.unwrap();
        (self.events, self.published) = (driver.events(), driver.published());
        self.running = tokio::spawn(driver.run());
    }

    /// The vendor signs a version that is restarted by this unit.
    fn release(&self, number: &str, script: &str, unit: &str) -> Entry {
        let tree = self.pc.dir.path().join(format!("tree-{number}"));
        fs::create_dir_all(tree.join("bin")).unwrap();
        program(&tree.join("bin/program"), &format!("#!/bin/sh\n{script}\n"));
        let description = Description {
            product: web(),
            version: version(number),
            platform: Platform::current(),
            program: "bin/program".into(),
            self_check: vec!["self-check".into()],
            restart: Restart::Systemd(unit.parse().unwrap()),
            health: Health { ready_seconds: 20, crashes: 2, within_seconds: 2, ..Health::default() },
        };
        let mut bytes = Vec::new();
        pack(&tree, &description, &mut bytes, &mut |_| {}).unwrap();
        let path = self.pc.dir.path().join(format!("web-{number}.lpk"));
        fs::write(&path, &bytes).unwrap();
        let release = Release {
            server: "*".parse().unwrap(),
            ..serde_json::from_value(serde_json::json!({
                "product": "web", "version": number, "channel": "stable", "server": "*",
                "os": Platform::current().os, "arch": Platform::current().arch,
            }))
            .unwrap()
        };
        let target = format!("web/web-{number}.lpk");
        let entry = Entry { target, length: bytes.len() as u64, sha256: hex::encode(Sha256::digest(&bytes)), release };
        self.world.publish(entry.clone(), path);
        entry
    }

    async fn push(&self) {
        self.events.send(Event::Wanted(Why::Pushed)).await.unwrap();
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Published) -> bool) {
        let published = self.published.clone();
        for _ in 0..3 {
            // Ten seconds each; a busy machine may need more.
            for _ in 0..1000 {
                if is_so(&published.borrow()) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
        panic!("not so: {what}: {:?}\n{}\n{}", published.borrow(), self.state(), self.asked());
    }

    fn observed(&self) -> Observed {
        self.pc.slots.observe(&web()).unwrap()
    }

    /// The version that the service was started as last.
    fn last_ran(&self) -> String {
        let ran = fs::read_to_string(self.systemd.join("ran")).unwrap_or_default();
        ran.lines().last().and_then(|l| l.strip_prefix("versions/")).unwrap_or_default().to_owned()
    }

    fn asked(&self) -> String {
        fs::read_to_string(self.systemd.join("asked")).unwrap_or_default()
    }

    fn restarts(&self) -> usize {
        self.asked().lines().filter(|l| l.starts_with("restart --no-block")).count()
    }
}

fn is_active(published: &Published, number: &str) -> bool {
    let web = published.products.get(&web());
    web.is_some_and(|w| w.installed == Some(version(number)) && w.state == DeviceState::Idle)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_the_machine_is_restarted_by_its_own_unit_and_watched() {
    let machine = Machine::new(UNIT).await;
    machine.release("1.1.0", WORKS, UNIT);
    machine.push().await;
    machine.until("1.1.0 is active and healthy", |p| is_active(p, "1.1.0")).await;
    assert_eq!((machine.last_ran().as_str(), machine.restarts()), ("1.1.0", 1));
    assert!(machine.published.borrow().restart.is_empty(), "no user is told to restart a service of the machine");
    for line in machine.asked().lines().filter(|l| !l.starts_with("restart -- ")) {
        assert!(line.ends_with(" -- web.service"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_crashes_is_rolled_back_whatever_users_say_and_the_next_release_is_taken() {
    let machine = Machine::new(UNIT).await;
    machine.release("1.1.0", CRASHES, UNIT);
    machine.push().await;
    machine
        .until("it is being watched", |p| p.products.get(&web()).is_some_and(|w| w.state == DeviceState::Confirming))
        .await;
    // Too early, and a lie: it does not hide that the version is broken.
    machine.events.send(Event::Confirmed(web(), version("1.1.0"))).await.unwrap();
    machine.until("it is rolled back", |p| p.products[&web()].state == DeviceState::RolledBack).await;
    assert_eq!(machine.observed().current, Some(version("1.0.0")));
    let said = machine.published.borrow().products[&web()].failed[0].reason.clone();
    assert!(said.contains("web.service ended 2 times (limit 2 in 2 seconds"), "{said}");
    eventually("the version before runs again", || machine.last_ran() == "1.0.0").await;
    machine.push().await;
    machine.release("1.1.1", WORKS, UNIT);
    machine.push().await;
    machine.until("the fix is taken", |p| is_active(p, "1.1.1")).await;
    assert_eq!(machine.last_ran(), "1.1.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_the_administrator_has_stopped_is_switched_and_left_alone() {
    let machine = Machine::new(UNIT).await;
    let mut state = fs::File::create(machine.systemd.join("web.service.state")).unwrap();
    state
        .write_all(b"LoadState=loaded\nActiveState=inactive\nInvocationID=\nNRestarts=0\nUnitFileState=disabled\n")
        .unwrap();
    machine.release("1.1.0", WORKS, UNIT);
    machine.push().await;
    machine.until("1.1.0 is active", |p| is_active(p, "1.1.0")).await;
    assert_eq!(machine.restarts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_is_not_there_is_refused_in_words_and_the_version_before_goes_on() {
    let machine = Machine::new(UNIT).await;
    machine.release("1.1.0", WORKS, "elsewhere.service");
    machine.push().await;
    machine
        .until("it is rolled back", |p| p.products.get(&web()).is_some_and(|w| w.state == DeviceState::RolledBack))
        .await;
    let said = machine.published.borrow().products[&web()].failed[0].reason.clone();
    assert_eq!(said, "elsewhere.service is not known to systemd; install the product's unit");
    eventually("the version before runs", || machine.last_ran() == "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_going_back_and_before_the_restart_the_next_start_restarts_it() {
    let mut machine = Machine::new(UNIT).await;
    machine.release("1.1.0", CRASHES, UNIT);
    machine.push().await;
    machine
        .until("it is rolled back", |p| p.products.get(&web()).is_some_and(|w| w.state == DeviceState::RolledBack))
        .await;
    machine.running.abort();
    let before = machine.restarts();
    // As if the journal had not been closed yet.
    let (old, new) = (version("1.0.0"), version("1.1.0"));
    machine.pc.slots.activate(&web(), Some(&new), Some(&old), false, 7).unwrap();
    machine.pc.slots.activate(&web(), Some(&old), Some(&new), false, 8).unwrap();
    machine.start().await;
    assert_eq!(machine.restarts(), before + 1);
}
