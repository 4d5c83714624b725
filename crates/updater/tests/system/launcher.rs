//! The real launcher and real processes: it restarts what it should, when it should, and nothing else.

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lockstep_updater::{
    driver::Published,
    ipc::{self, Hub},
    platform::{self, Listener},
};
use protocol::{Timestamp, Version};
use tokio::sync::{mpsc, watch};

use crate::fixture::{Pc, connector, eventually, version};

/// Notes its start, and runs until it is asked to end.
const STAYS: &str = r#"echo "$0 $*" >> "$LOG"; trap 'echo ended >> "$LOG"; exit 0' TERM; while :; do sleep 0.02; done"#;

struct Desk {
    pc: Pc,
    published: watch::Sender<Published>,
    launcher: Option<Child>,
}

impl Desk {
    fn new(scripts: &[(&str, &str)]) -> Self {
        let pc = Pc::new();
        for (number, script) in scripts {
            let (_, package) = pc.package(number, script);
            pc.stage(&package, number);
        }
        pc.activate(scripts[0].0);
        Self { pc, published: watch::Sender::new(Published::default()), launcher: None }
    }

    fn listen(&self) {
        let hub = Hub {
            published: self.published.subscribe(),
            fetching: watch::Sender::default().subscribe(),
            events: mpsc::channel(1).0,
            tickets: watch::Sender::new(None).subscribe(),
            slots: self.pc.slots.clone(),
            layout: self.pc.layout.clone(),
            version: Version::new(0, 1, 0),
            server: String::new(),
            clock: Timestamp::now,
            limits: Mutex::default(),
        };
        tokio::spawn(ipc::listen(Listener::bind(&self.pc.layout.socket()).unwrap(), Arc::new(hub)));
    }

    fn start(&mut self) {
        let child = Command::new(env!("CARGO_BIN_EXE_lockstep-launcher"))
            .arg("--root")
            .arg(self.pc.layout.root())
            .args(["connector", "--", "run", "a b"])
            .env("LOG", self.pc.dir.path().join("log"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.launcher = Some(child);
    }

    fn order(&self, number: &str) {
        self.published.send_modify(|p| drop(p.restart.insert(connector(), version(number))));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.pc.dir.path().join("log")).unwrap_or_default()
    }

    fn starts(&self, number: &str) -> usize {
        self.log().lines().filter(|l| l.contains(&format!("/versions/{number}/bin/program run a b"))).count()
    }

    fn stop(&mut self) -> Option<i32> {
        let mut launcher = self.launcher.take().unwrap();
        platform::terminate(launcher.id());
        launcher.wait().unwrap().code()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if self.launcher.is_some() {
            self.stop();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_runs_the_active_version_and_restarts_at_once_when_told() {
    let mut desk = Desk::new(&[("7.2.0", STAYS), ("7.3.0", STAYS)]);
    desk.listen();
    desk.start();
    eventually("7.2.0 runs", || desk.starts("7.2.0") == 1).await;
    desk.pc.activate("7.3.0");
    let began = Instant::now();
    desk.order("7.3.0");
    eventually("7.3.0 runs", || desk.starts("7.3.0") == 1).await;
    // The program's own farewell takes up to 20 ms of that, the look-out of this test 10 ms.
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    assert_eq!(desk.stop(), Some(0));
    assert_eq!(desk.log().lines().filter(|l| *l == "ended").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_ordered_while_the_updater_was_away_is_not_missed() {
    let mut desk = Desk::new(&[("7.2.0", STAYS), ("7.3.0", STAYS)]);
    desk.start();
    eventually("7.2.0 runs", || desk.starts("7.2.0") == 1).await;
    desk.pc.activate("7.3.0");
    desk.order("7.3.0");
    desk.listen();
    eventually("7.3.0 runs", || desk.starts("7.3.0") == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_switch_restarts_nothing_and_neither_does_a_standing_order() {
    let mut desk = Desk::new(&[("7.2.0", STAYS), ("7.3.0", STAYS)]);
    desk.order("7.2.0");
    desk.listen();
    desk.start();
    eventually("7.2.0 runs", || desk.starts("7.2.0") == 1).await;
    desk.pc.activate("7.3.0");
    desk.published.send_modify(|p| p.problem = Some("something else".into()));
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!((desk.starts("7.2.0"), desk.starts("7.3.0")), (1, 0));
}

/// `--once`, for commands that people give: a wrong password is not tried for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_run_once_and_its_exit_code_is_the_launchers() {
    for code in [0, 3] {
        let desk = Desk::new(&[("7.2.0", &format!(r#"echo "$0 $*" >> "$LOG"; exit {code}"#))]);
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep-launcher"));
        command.arg("--root").arg(desk.pc.layout.root()).args(["--once", "connector", "--", "run", "a b"]);
        let status = command.env("LOG", desk.pc.dir.path().join("log")).stderr(Stdio::null()).status().unwrap();
        assert_eq!((status.code(), desk.starts("7.2.0")), (Some(code), 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_crashes_is_started_again_and_one_that_ends_well_is_not() {
    let crash = r#"echo "$0 $*" >> "$LOG"; [ "$(wc -l < "$LOG")" -lt 2 ] && exit 9; exit 0"#;
    let mut desk = Desk::new(&[("7.2.0", crash)]);
    desk.start();
    let mut launcher = desk.launcher.take().unwrap();
    eventually("the launcher ends", || launcher.try_wait().unwrap().is_some()).await;
    assert_eq!(launcher.wait().unwrap().code(), Some(0));
    assert_eq!(desk.starts("7.2.0"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_are_not_tried_again() {
    let mut desk = Desk::new(&[("7.2.0", r#"echo "$0 $*" >> "$LOG"; exit 2"#)]);
    desk.start();
    let mut launcher = desk.launcher.take().unwrap();
    eventually("the launcher ends", || launcher.try_wait().unwrap().is_some()).await;
    assert_eq!(launcher.wait().unwrap().code(), Some(2));
    assert_eq!(desk.starts("7.2.0"), 1);
}
