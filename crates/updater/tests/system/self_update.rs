//! The updater updates itself, under the real supervisor, from a real site: a new version comes up, or is left.

use std::{fs, path::Path, process::Command, time::Duration};

use lockstep_updater::platform::file_id;
use protocol::{
    device::DeviceState,
    product::{Platform, ProductId},
};

use crate::{
    site::{Service, Site, place},
    vendor::{Release, Vendor},
};

const OLD: &str = "0.1.0";
const NEW: &str = "0.2.0";

struct Rig {
    _dir: tempfile::TempDir,
    site: Site,
    vendor: Vendor,
    service: Service,
}

fn connector(version: &str) -> Release {
    Release::script("connector", version, "exec sleep 1000")
}

impl Rig {
    /// A PC whose updater runs under its supervisor, which is this patient.
    fn new(trial_seconds: u32) -> Self {
        let (dir, site) = (place(), Site::start());
        let root = dir.path().join("pc");
        let installed = [Release::supervised_updater(OLD), connector("7.2.0")];
        let vendor = Vendor::new("vendor", &installed);
        site.honest(&vendor, "7.2.0");
        site.installs(&root, &vendor, &[&installed[0], &installed[1]]);
        let service = Self::supervise(&root, trial_seconds);
        Self { _dir: dir, site, vendor, service }
    }

    fn supervise(root: &Path, trial_seconds: u32) -> Service {
        let mut command = Command::new(root.join("opt/lockstep/supervisor/lockstep-supervisor"));
        Service::with(root, command.arg("--root").arg(root).args(["--trial-seconds", &trial_seconds.to_string()]))
    }

    /// The vendor publishes these beside what is installed, and the PC hears of it.
    fn publish(&mut self, releases: &[Release]) {
        let all = [&self.vendor.releases, releases].concat();
        self.vendor = self.vendor.next(&all);
        self.site.honest(&self.vendor, "7.2.0");
        self.service.check();
    }

    fn on_trial(&self) -> bool {
        self.service.layout.trial().exists()
    }

    fn reported(&self, is_so: impl Fn(&protocol::device::ProductState) -> bool) -> bool {
        self.site.last_report().is_some_and(|device| is_so(&device.product(&ProductId::updater())))
    }

    /// It was tried, left, and reported; the old one is at work and does not try it again.
    fn was_left(mut self, words: &str) {
        self.service.wait("the new version was left and that is reported", || {
            self.reported(|updater| {
                let failed = updater.failed.iter().any(|f| f.version.to_string() == NEW && f.reason.contains(words));
                failed && updater.state == DeviceState::RolledBack
            })
        });
        assert_eq!(self.service.active("updater"), OLD);
        assert!(!self.on_trial());
        self.service.until("the old one serves", |status| status["updater"] == OLD);
        self.service.check();
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(self.service.active("updater"), OLD, "it is not tried again");
        assert!(!self.on_trial());

        // The vendor's next release is taken.
        self.publish(&[Release::supervised_updater("0.2.1")]);
        self.service.wait("0.2.1 has come up", || self.service.active("updater") == "0.2.1" && !self.on_trial());
    }

    fn supervisor_is_the_same(&mut self) -> bool {
        self.service.process.try_wait().unwrap().is_none()
    }
}

#[test]
fn a_newer_updater_is_staged_takes_over_and_proves_itself_and_then_what_needs_it_follows() {
    let mut rig = Rig::new(60);
    let needs_it = connector("7.2.1").with("updater", NEW);
    rig.publish(&[Release::supervised_updater(NEW), needs_it]);
    rig.service.wait("the new version is active", || rig.service.active("updater") == NEW);
    rig.service.wait("it has come up", || !rig.on_trial());
    rig.service.until("it serves", |status| status["updater"] == NEW);
    rig.service.wait("it is reported", || rig.reported(|u| u.state == DeviceState::Idle && u.failed.is_empty()));
    rig.service.wait("the connector that needs it is installed", || rig.service.connector() == "7.2.1");
    assert!(rig.supervisor_is_the_same());
    assert!(!rig.service.layout.state_before().exists());
}

#[test]
fn a_new_updater_that_exits_at_once_is_left() {
    let mut rig = Rig::new(60);
    rig.publish(&[Release::broken_updater(NEW, "exit 7")]);
    rig.was_left("ended 3 times before it had come up (exit status: 7)");
}

#[test]
fn a_new_updater_that_crashes_after_a_second_is_left() {
    let mut rig = Rig::new(60);
    rig.publish(&[Release::broken_updater(NEW, "sleep 1; kill -SEGV $$")]);
    rig.was_left("signal: 11");
}

#[test]
fn a_new_updater_that_hangs_without_a_sign_of_health_is_left() {
    // Long enough for the good version at the end of this test to prove itself on a busy machine.
    let mut rig = Rig::new(30);
    rig.publish(&[Release::broken_updater(NEW, "trap '' TERM; while :; do sleep 1; done")]);
    rig.was_left("no sign of health within 30 seconds");
}

#[test]
fn a_new_updater_that_cannot_read_the_state_or_spoils_it_is_left_and_the_old_one_has_its_own() {
    let mut rig = Rig::new(60);
    let floor = Release::supervised_updater("0.1.1").with("floor", OLD);
    rig.publish(&[floor]);
    rig.service.wait("0.1.1 has come up", || rig.service.active("updater") == "0.1.1" && !rig.on_trial());
    // What the state file says that nothing else does.
    let path = rig.service.layout.state();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"floor\": \"0.1.0\""), "{text}");
    let script = format!("echo '{{\"v\":9,\"products\":[]}}' > {}; exit 1", path.display());
    rig.publish(&[Release::broken_updater(NEW, &script)]);
    rig.service.wait("the new version was left", || {
        rig.reported(|u| u.failed.iter().any(|f| f.version.to_string() == NEW)) && !rig.on_trial()
    });
    assert_eq!(rig.service.active("updater"), "0.1.1");
    rig.service.until("the old one serves", |status| status["updater"] == "0.1.1");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"floor\": \"0.1.0\"") && text.contains("ended 3 times"), "{text}");
}

/// Waits longer than the trial of a version that is not in touch with the server.
fn wait_for_the_trials_end(rig: &Rig) {
    let began = std::time::Instant::now();
    while rig.on_trial() {
        assert!(began.elapsed() < Duration::from_secs(170), "the trial has not ended");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_new_updater_that_reaches_the_server_and_cannot_speak_to_it_is_left() {
    let mut rig = Rig::new(180);
    rig.site.world.lock().unwrap().garbles = Some(NEW.into());
    rig.publish(&[Release::supervised_updater(NEW)]);
    rig.service.wait("the new version is active", || rig.service.active("updater") == NEW);
    wait_for_the_trials_end(&rig);
    rig.was_left("could not speak with it");
}

#[test]
fn a_new_updater_that_begins_while_the_server_is_away_stays() {
    let mut rig = Rig::new(180);
    let current = rig.service.layout.current(&ProductId::updater());
    let is_new = move || fs::read_link(&current).is_ok_and(|to| to.ends_with(NEW));
    rig.site.world.lock().unwrap().is_down = Some(Box::new(is_new));
    rig.publish(&[Release::supervised_updater(NEW)]);
    rig.service.wait("the new version is active", || rig.service.active("updater") == NEW);
    wait_for_the_trials_end(&rig);
    rig.service.until("it serves", |status| status["updater"] == NEW);
    assert_eq!(rig.service.active("updater"), NEW);
    assert!(!rig.service.layout.trial_failed().exists());
}

/// The updaters of earlier releases, as they were published.
const RELEASED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/released");

#[test]
fn from_every_package_that_was_ever_released_the_updater_comes_to_this_one_by_itself() {
    let mut tried = 0;
    for package in fs::read_dir(RELEASED).unwrap() {
        let old = Release::published_updater(fs::read(package.unwrap().path()).unwrap());
        if old.platform != Platform::current() {
            continue;
        }
        let (dir, site) = (place(), Site::start());
        let root = dir.path().join("pc");
        let unpacked = dir.path().join("unpacked");
        fs::create_dir(&unpacked).unwrap();
        release::package::unpack(&old.package[..], &unpacked).unwrap();
        let installed = [old.clone(), connector("7.2.0")];
        let vendor = Vendor::new("vendor", &installed);
        site.honest(&vendor, "7.2.0");
        // By the old installer, and watched over by the old supervisor.
        site.installs_with(&unpacked.join("bin/lockstep-updater"), &root, &vendor, &[&installed[0], &installed[1]]);
        let service = Rig::supervise(&root, 60);
        service.until("the old one serves", |status| status["updater"] == old.version.to_string());

        let newer = [Release::supervised_updater("99.0.0"), connector("7.2.1").with("updater", "99.0.0")];
        let vendor = vendor.next(&[&installed[..], &newer[..]].concat());
        site.honest(&vendor, "7.2.0");
        service.check();
        service
            .wait("this one has come up", || service.active("updater") == "99.0.0" && !service.layout.trial().exists());
        service.until("it serves", |status| status["updater"] == "99.0.0");
        service.wait("what needs it is installed", || service.connector() == "7.2.1");
        tried += 1;
    }
    assert!(tried > 0, "no package in {RELEASED} is for this platform");
}

#[test]
fn from_a_package_without_a_supervisor_the_installer_leads_to_one_with_it_and_that_one_goes_on_by_itself() {
    let (dir, site) = (place(), Site::start());
    let root = dir.path().join("pc");
    let oldest = [Release::real_updater(OLD), connector("7.2.0")];
    let vendor = Vendor::new("vendor", &oldest);
    site.honest(&vendor, "7.2.0");
    site.installs(&root, &vendor, &[&oldest[0], &oldest[1]]);
    let program = root.join("opt/lockstep/updater/current/bin/lockstep-updater");
    let service = Service::start(&root, &program);

    let vendor = vendor.next(&[&oldest[..], &[Release::supervised_updater(NEW)]].concat());
    site.honest(&vendor, "7.2.0");
    service.check();
    service.until("it says that it cannot", |s| {
        s["why"]["updater"].as_str().is_some_and(|why| why.contains("0.2.0 is refused"))
    });
    assert_eq!(service.active("updater"), OLD);

    site.installs(&root, &vendor, &[&vendor.releases[2], &oldest[1]]);
    let supervisor = root.join("opt/lockstep/supervisor/lockstep-supervisor");
    let runs = |program: &Path| {
        file_id(Path::new(&format!("/proc/{}/exe", service.process.id()))).ok() == file_id(program).ok()
    };
    service.wait("the same process is the supervisor", || runs(&supervisor));
    service.until("the new version serves", |status| status["updater"] == NEW);

    let vendor = vendor.next(&[&vendor.releases[..], &[Release::supervised_updater("0.3.0")]].concat());
    site.honest(&vendor, "7.2.0");
    service.check();
    service.wait("0.3.0 has come up", || service.active("updater") == "0.3.0" && !service.layout.trial().exists());
    service.until("it serves", |status| status["updater"] == "0.3.0");
}
