//! A PC without an updater: somebody with a real account, asked by real sudo, runs a connector of their own.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};

use ::mail_rig::process::Background;
use elevation_rig::{Answer, Elevation, Person};
use lockstep_connector::status::Status;
use protocol::message::Gate;

use super::{
    mail_rig::{ALICE, MailRig},
    program::{PROGRAM, with_input},
    site::Site,
    vendor::Vendor,
};

/// The key of the vendor that the PC's `root.json` is of.
pub const VENDOR: [u8; 32] = [7; 32];

/// Who sits at it.
const NAME: &str = "person";

pub struct PersonsPc {
    dir: tempfile::TempDir,
    pub elevation: Elevation,
    uid: u32,
    /// The account at the local servers.
    pub imap_port: u16,
    pub smtp_port: u16,
    pub password: String,
}

impl PersonsPc {
    /// A PC whose user has set up a connector; `uid` is different in each test. The vendor's repository is in
    /// [`PersonsPc::vendor`], with connector and updater to install.
    pub fn new(rig: &MailRig, site: &Arc<Site>, uid: u32, answer: Option<Answer>) -> Self {
        Self::with(rig, site, uid, answer, Elevation::sudo, &["--elevation", "sudo -A"])
    }

    /// As [`PersonsPc::new`], with polkit and what the connector makes of it by itself.
    pub fn with_polkit(rig: &MailRig, site: &Arc<Site>, uid: u32, answer: Option<Answer>) -> Self {
        Self::with(rig, site, uid, answer, Elevation::polkit, &[])
    }

    fn with(
        rig: &MailRig,
        site: &Arc<Site>,
        uid: u32,
        answer: Option<Answer>,
        make: fn(&Path, &[Person]) -> anyhow::Result<Elevation>,
        options: &[&str],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let person = match answer {
            Some(answer) => Person::new(NAME, uid, answer),
            None => Person::administrator(NAME, uid),
        };
        let elevation = make(&dir.path().join("elevation"), &[person]).unwrap();
        let mut pc = Self { dir, elevation, uid, imap_port: 0, smtp_port: 0, password: String::new() };
        for folder in ["root/etc", "app/bin", "data", "home"] {
            fs::create_dir_all(pc.path(folder)).unwrap();
        }
        fs::write(pc.path("root/etc/hostname"), "pc-test\n").unwrap();
        fs::copy(PROGRAM, pc.program()).unwrap();
        let vendor = pc.vendor(VENDOR);
        vendor.publish(1, &["7.2.0", "7.3.0"], &["0.1.0"], &pc.program());
        site.mirror(&vendor.repository());
        fs::copy(vendor.root(), pc.path("app/root.json")).unwrap();
        fs::write(pc.path("app/site.json"), site.profile()).unwrap();
        for owned in ["data", "home"] {
            chown(pc.path(owned), Some(uid), Some(uid)).unwrap();
        }
        let mut setup = pc.command(&["setup", "--user", ALICE, "--password-stdin", "--json"]);
        setup.args(["--imap-port", "0", "--smtp-port", "0"]).args(options);
        let output = with_input(&mut setup, rig.password(ALICE));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        pc.imap_port = made["imap_port"].as_u64().unwrap() as u16;
        pc.smtp_port = made["smtp_port"].as_u64().unwrap() as u16;
        pc.password = made["password"].as_str().unwrap().to_owned();
        pc
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A vendor with this key, in a folder of its own.
    pub fn vendor(&self, key: [u8; 32]) -> Vendor {
        Vendor::new(&self.path(&format!("vendor-{}", key[0])), key)
    }

    pub fn program(&self) -> PathBuf {
        self.path("app/bin/lockstep-connector")
    }

    /// A command of the connector, as the person.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.elevation.as_person(NAME, &self.program()).unwrap();
        command.env("HOME", self.path("home")).args(arguments);
        command.arg("--root").arg(self.path("root")).arg("--data").arg(self.path("data"));
        command
    }

    pub fn start(&self) -> Background {
        Background::start("the connector", &mut self.command(&["run"]), &self.path("log")).unwrap()
    }

    /// What `upgrade` does and says.
    pub fn upgrade(&self) -> Output {
        self.command(&["upgrade"]).output().unwrap()
    }

    /// How often the person has been asked for the administrator's password.
    pub fn asked(&self) -> usize {
        self.elevation.asked(NAME).unwrap().len()
    }

    pub fn answer(&self, answer: Answer) {
        self.elevation.answer(NAME, answer).unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn status(&self) -> Option<Status> {
        let output = self.command(&["status", "--json"]).output().unwrap();
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    pub fn wait_for(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let start = Instant::now();
        loop {
            match self.status() {
                Some(status) if is_so(&status) => return status,
                status => assert!(
                    start.elapsed() < Duration::from_secs(60),
                    "never: {what}\n{status:#?}\n{}\n{}",
                    self.log(),
                    self.elevation.log()
                ),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn wait_for_gate(&self, gate: Gate) -> Status {
        self.wait_for(&format!("{gate:?}"), |status| status.running && status.gate == gate)
    }

    /// Waits until the process runs the machine's connector; then it has made room for it without being started anew.
    pub fn wait_until_taken_over(&self, process: &Background) {
        let exe = PathBuf::from(format!("/proc/{}/exe", process.id()));
        let start = Instant::now();
        let machines = self.path("root/opt/lockstep/connector/versions/7.3.0/bin/lockstep-connector");
        while fs::read_link(&exe).ok().as_deref() != Some(Path::new(&machines)) {
            assert!(start.elapsed() < Duration::from_secs(60), "never taken over\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Runs a script of the user's mail program, in Python, against the local servers; gives what it prints.
    pub fn mail_program(&self, script: &str) -> String {
        let prelude = "import imaplib, smtplib, sys, re\n\
             host, imap_port, smtp_port, user, password = '127.0.0.1', int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]\n\
             def ok(answer):\n    assert answer[0] == 'OK', answer\n    return answer[1]\n";
        let mut python = Command::new("/usr/bin/python3");
        python.arg("-c").arg(format!("{prelude}{script}"));
        python.args([&self.imap_port.to_string(), &self.smtp_port.to_string(), ALICE, &self.password]);
        let output = python.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}\n{}", self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    /// The user's number.
    pub fn uid(&self) -> u32 {
        self.uid
    }
}
