//! The program itself, as a user runs it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use lockstep_connector::status::Status;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_lockstep-connector");

/// A PC with one user: a root directory and a data directory.
pub struct Pc {
    dir: tempfile::TempDir,
}

impl Pc {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A command of the program, without a session bus.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.env_remove("DBUS_SESSION_BUS_ADDRESS");
        command.args([name, "--root"]).arg(self.root()).arg("--data").arg(self.data());
        command
    }

    pub fn setup(&self, user: &str, password: &str) -> Output {
        let mut setup = self.command("setup");
        setup.args(["--user", user, "--password-stdin", "--json", "--imap-port", "0", "--smtp-port", "0"]);
        with_input(&mut setup, password)
    }

    pub fn start(&self) -> Running {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let child = self.command("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Running(child)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn status(&self) -> Option<Status> {
        let output = self.command("status").arg("--json").output().unwrap();
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Waits until the status is as wanted.
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let start = Instant::now();
        loop {
            match self.status() {
                Some(status) if is_so(&status) => return status,
                status => {
                    assert!(start.elapsed() < Duration::from_secs(20), "never: {what}\n{status:?}\n{}", self.log())
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A running connector; killed when it is dropped.
pub struct Running(pub Child);

impl Running {
    /// Asks it to stop; gives how long that took.
    pub fn stop(mut self) -> Duration {
        let start = Instant::now();
        assert!(Command::new("kill").arg(self.0.id().to_string()).status().unwrap().success());
        assert!(self.0.wait().unwrap().success(), "it ends well");
        start.elapsed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn with_input(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{input}\n").as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub fn mode_of(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
