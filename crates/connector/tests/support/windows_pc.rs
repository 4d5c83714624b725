//! A PC with Windows and one user: the cross-built program under Wine, as a user runs it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use ::mail_rig::process::Background;
use lockstep_connector::status::Status;
use wine_rig::{Pc, Screen};

use super::{
    mail_rig::{ALICE, MailRig},
    program::with_input,
};

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Where the program lies on the PC.
pub const EXE: &str = r"C:\app\bin\lockstep-connector.exe";

pub struct WindowsPc {
    pub pc: Pc,
    dir: tempfile::TempDir,
    /// `--root`, where it is not the PC's own.
    root: Option<&'static str>,
    pub imap_port: u16,
    pub smtp_port: u16,
    pub password: String,
}

impl WindowsPc {
    /// Switched on; with the site profile beside the program.
    pub fn new(name: &str, profile: &str, root: Option<&'static str>, screen: Option<&Screen>) -> Self {
        let mut pc = Pc::new(name).unwrap();
        if let Some(screen) = screen {
            pc.show_on(screen).unwrap();
        }
        pc.power_on().unwrap();
        for folder in [r"C:\app\bin", r"C:\pc\etc"] {
            fs::create_dir_all(pc.c().join(folder.trim_start_matches(r"C:\").replace('\\', "/"))).unwrap();
        }
        fs::copy(built(), pc.path(EXE)).unwrap();
        fs::write(pc.path(r"C:\app\site.json"), profile).unwrap();
        let dir = tempfile::tempdir().unwrap();
        Self { pc, dir, root, imap_port: 0, smtp_port: 0, password: String::new() }
    }

    /// A command of the program, from outside.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.pc.command("wine");
        command.arg(EXE).args(self.arguments(arguments));
        command
    }

    fn arguments<'a>(&self, arguments: &[&'a str]) -> Vec<&'a str> {
        let root = self.root.map(|root| ["--root", root]);
        arguments.iter().copied().chain(root.into_iter().flatten()).collect()
    }

    pub fn set_up(&mut self, rig: &MailRig, options: &[&str]) -> serde_json::Value {
        let all = ["setup", "--user", ALICE, "--password-stdin", "--json", "--imap-port", "0", "--smtp-port", "0"];
        let output = with_input(&mut self.command(&[&all, options].concat()), rig.password(ALICE));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        self.imap_port = made["imap_port"].as_u64().unwrap() as u16;
        self.smtp_port = made["smtp_port"].as_u64().unwrap() as u16;
        self.password = made["password"].as_str().unwrap().to_owned();
        made
    }

    pub fn start(&self) -> Background {
        let log = self.dir.path().join("log");
        self.pc.spawn("the connector", EXE, &self.arguments(&["run"]), &log).unwrap()
    }

    /// What a command does and says.
    pub fn says(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// The user's data directory, found by its account: the user's name is Wine's affair.
    pub fn data(&self) -> PathBuf {
        let users = fs::read_dir(self.pc.path(r"C:\users")).unwrap().map(|user| user.unwrap().path());
        let mut all = users.map(|user| user.join("AppData/Local/Lockstep/Connector"));
        all.find(|data| data.join("account.json").exists()).expect("a data directory")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.data().join("connector.log")).unwrap_or_default()
    }

    /// Waits until the status, which a running connector keeps, is as wanted.
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let start = Instant::now();
        loop {
            match Status::load(&self.data()) {
                Ok(Some(status)) if is_so(&status) => return status,
                // While it is replaced it may not be there for a moment.
                status => {
                    assert!(start.elapsed() < LONG, "never: {what}\n{status:?}\n{}", self.log());
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The program, cross-built by `cargo xtask test`.
fn built() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let program = target.join("programs/windows/lockstep-connector.exe");
    assert!(program.exists(), "{} is missing; cargo xtask test builds it", program.display());
    program
}
