//! Several users at work at once on one computer, as on a terminal server: one updater, a launcher and a program for each, as real users
//! of their own. What one of them agrees to interrupts nobody else, unless the policy says so.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use lockstep_updater::{
    ipc::{self, Hub},
    platform::{self, Listener},
};
use protocol::{Timestamp, Version, device::DeviceState, policy::UpgradePolicy};
use tokio::sync::watch;

use crate::{
    driver_rig::Rig,
    fixture::{connector, eventually, version},
};

/// Notes which version it is, and runs until it is asked to end.
const NOTES: &str = r#"[ "$1" = self-check ] && exit 0; echo "$0" >> "$LOG"; exec "${0%/*}/sleep" 1000"#;

/// One of the users, signed in.
struct Session {
    uid: u32,
    log: PathBuf,
    launcher: Child,
}

impl Session {
    fn open(rig: &Rig, uid: u32) -> Self {
        let log = rig.pc.dir.path().join(format!("log-{uid}"));
        fs::write(&log, "").unwrap();
        platform::set_mode(&log, 0o666).unwrap();
        let mut launcher = as_user(uid, env!("CARGO_BIN_EXE_lockstep-launcher"));
        launcher.arg("--root").arg(rig.pc.layout.root()).args(["connector", "--", "run"]).env("LOG", &log);
        Self { uid, log, launcher: launcher.stderr(Stdio::null()).spawn().unwrap() }
    }

    /// The versions that this user's program was started as, first to last.
    fn ran(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap();
        let version = |line: &str| line.split("/versions/").nth(1)?.split('/').next().map(str::to_owned);
        text.lines().filter_map(version).collect()
    }

    /// The user's own command.
    fn consents(&self, rig: &Rig) -> (bool, String) {
        let mut consent = as_user(self.uid, env!("CARGO_BIN_EXE_lockstep-updater"));
        let output = consent.args(["consent", "--root"]).arg(rig.pc.layout.root()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        platform::terminate(self.launcher.id());
        // Gone already is as good.
        let _ = self.launcher.wait();
    }
}

fn as_user(uid: u32, program: &str) -> Command {
    let id = uid.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", program]).current_dir("/");
    command
}

fn listen(rig: &Rig) {
    let hub = Hub {
        published: rig.watch(),
        fetching: watch::Sender::default().subscribe(),
        events: rig.events.clone(),
        tickets: watch::Sender::new(None).subscribe(),
        slots: rig.pc.slots.clone(),
        layout: rig.pc.layout.clone(),
        version: Version::new(0, 1, 0),
        server: String::new(),
        clock: Timestamp::now,
        limits: Mutex::default(),
    };
    tokio::spawn(ipc::listen(Listener::bind(&rig.pc.layout.socket()).unwrap(), Arc::new(hub)));
}

/// A computer with 7.2.0, and alice and bob at work; 7.3.0 is ready.
async fn at_work(policy: UpgradePolicy) -> (Rig, Session, Session) {
    let rig = Rig::new(&[("7.2.0", NOTES), ("7.3.0", NOTES)]).await;
    rig.state(DeviceState::Staged).await;
    listen(&rig);
    let (alice, bob) = (Session::open(&rig, 60001), Session::open(&rig, 60002));
    eventually("both are at work", || [&alice, &bob].iter().all(|s| s.ran() == ["7.2.0"])).await;
    rig.policy(policy);
    (rig, alice, bob)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_users_consent_restarts_nobody_elses_program() {
    let (rig, alice, bob) = at_work(UpgradePolicy::AskMustAccept).await;
    rig.flip("7.3.0").await;
    rig.state(DeviceState::AwaitingConsent).await;
    let (agreed, said) = alice.consents(&rig);
    assert!(agreed && said.contains("7.3.0"), "{said}");
    eventually("alice's program is the new one", || alice.ran() == ["7.2.0", "7.3.0"]).await;
    assert!(!alice.consents(&rig).0, "nothing waits for her any more");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bob.ran(), ["7.2.0"], "bob goes on with what he has");
    assert!(rig.versions().contains(&version("7.2.0")), "which is still there");
    rig.confirm("7.3.0").await;
    // A program of the new version has said that it works; bob's is still an older one.
    let (agreed, said) = bob.consents(&rig);
    assert!(agreed && said.contains("connector restarts as 7.3.0"), "{said}");
    eventually("bob's too", || bob.ran() == ["7.2.0", "7.3.0"]).await;
    assert_eq!(alice.ran(), ["7.2.0", "7.3.0"], "she is not disturbed again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_necessary_is_put_off_by_the_others_until_the_deadline_and_no_longer() {
    let (rig, alice, bob) = at_work(UpgradePolicy::AskMustAccept).await;
    let grace = 8;
    rig.world.site.lock().unwrap().products.get_mut(&connector()).unwrap().grace_seconds = Some(grace);
    rig.flip("7.3.0").await;
    rig.state(DeviceState::AwaitingConsent).await;
    let asked = std::time::Instant::now();
    assert!(alice.consents(&rig).0);
    eventually("alice's program is the new one", || alice.ran() == ["7.2.0", "7.3.0"]).await;
    if asked.elapsed() < Duration::from_secs(u64::from(grace / 2)) {
        assert_eq!(bob.ran(), ["7.2.0"]);
    }
    // Killed and started again, the service still knows until when.
    let rig = rig.restart().await;
    eventually("everybody's, at the deadline", || rig.now().restart.get(&connector()) == Some(&version("7.3.0"))).await;
    assert!(asked.elapsed() >= Duration::from_secs(u64::from(grace - 2)), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_policy_restarts_everybody_and_so_does_an_administrators_word() {
    let (rig, alice, bob) = at_work(UpgradePolicy::Silent).await;
    rig.flip("7.3.0").await;
    let all = |sessions: [&Session; 2]| sessions.iter().all(|s| s.ran() == ["7.2.0", "7.3.0"]);
    eventually("the policy decides for all", || all([&alice, &bob])).await;

    let (rig, alice, bob) = at_work(UpgradePolicy::AskMustAccept).await;
    rig.flip("7.3.0").await;
    rig.state(DeviceState::AwaitingConsent).await;
    assert!(rig.consent().await.is_ok(), "root's");
    eventually("so does root", || all([&alice, &bob])).await;
}
