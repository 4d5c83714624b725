//! Child processes that never outlive us, and commands that say what went wrong.
//!
//! Each background program leads a process group of its own, so that what it has started ends with it: a mail server's
//! sessions, a launcher's program. Ctrl-C and a termination signal end all groups before they end us.

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    net::TcpListener,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, Once, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

/// A program that runs beside us until it is stopped or dropped; what it prints goes to a log file.
#[derive(Debug)]
pub struct Background {
    name: String,
    child: Child,
    /// What it prints.
    pub log: PathBuf,
}

impl Background {
    /// Starts a program; what it prints is appended to `log`.
    ///
    /// # Errors
    /// When the program or the log cannot be opened.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        let err = out.try_clone()?;
        end_groups_when_interrupted();
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}: {command:?}"))?;
        groups(|all| all.insert(child.id()));
        Ok(Self { name: name.into(), child, log: log.into() })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How it ended: `None` while it runs, `Some(None)` when a signal ended it.
    pub fn exit_code(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().ok().flatten().map(|status| status.code())
    }

    /// Waits until the log has a line with `text`.
    ///
    /// # Errors
    /// When the program ends first or the time is up; the error shows the end of the log.
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> Result<()> {
        let seen = |log: &Path| std::fs::read_to_string(log).is_ok_and(|all| all.contains(text));
        let start = Instant::now();
        while !seen(&self.log) {
            if !self.is_running() || start.elapsed() > limit {
                bail!("{} never said {text:?}; its log ends with:\n{}", self.name, tail(&self.log));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Asks it to stop, and makes it stop after ten seconds.
    pub fn stop(&mut self) {
        if self.is_running() {
            signal(self.id(), "TERM");
            let start = Instant::now();
            while self.is_running() && start.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.kill();
    }

    /// Pulls its plug, and that of everything it has started.
    pub fn kill(&mut self) {
        if !groups(|all| all.remove(&self.child.id())) {
            return;
        }
        signal_group(self.child.id(), "KILL");
        // It may have been waited for already, which is what is wanted.
        let _ = self.child.wait();
    }
}

/// The groups that live.
fn groups<T>(change: impl FnOnce(&mut BTreeSet<u32>) -> T) -> T {
    static GROUPS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
    change(&mut GROUPS.lock().unwrap_or_else(PoisonError::into_inner))
}

fn end_groups_when_interrupted() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let end = || {
            for group in groups(std::mem::take) {
                signal_group(group, "KILL");
            }
            std::process::exit(130);
        };
        if let Err(error) = ctrlc::set_handler(end) {
            eprintln!("an interruption would leave processes behind: {error}");
        }
    });
}

fn signal_group(leader: u32, name: &str) {
    // A group whose last process has just ended cannot be signalled, which is fine: it has ended.
    let _ =
        Command::new("kill").args([&format!("-{name}"), "--", &format!("-{leader}")]).stderr(Stdio::null()).status();
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sends a signal to a process that we started.
pub fn signal(pid: u32, name: &str) {
    // A process that has just ended cannot be signalled, which is fine: it has ended.
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Runs a command to its end and gives its output, whatever its exit code.
///
/// # Errors
/// When it cannot be started.
pub fn run(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("starting {command:?}"))
}

/// Runs a command that must succeed, and gives what it printed.
///
/// # Errors
/// When it cannot be started or fails; the error shows what it printed.
pub fn must(command: &mut Command) -> Result<String> {
    let output = run(command)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{command:?} failed with {}:\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

/// Asks again and again until there is an answer.
///
/// # Errors
/// When the time is up: what was waited for, and the last error.
pub fn wait_until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        let last = match ask() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if start.elapsed() > limit {
            let why = last.map_or(String::new(), |e| format!(": {e:#}"));
            bail!("{what}: not within {limit:?}{why}");
        }
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// The last lines of a log.
pub fn tail(log: &Path) -> String {
    let all = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&all);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

/// A free port on the loopback address.
///
/// # Errors
/// When the machine has none left.
pub fn free_port() -> Result<u16> {
    Ok(free_ports::<1>()?[0])
}

/// Ports on the loopback address that were free a moment ago, each another one.
///
/// # Errors
/// When the machine has none left.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let held: Vec<TcpListener> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<io::Result<_>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// Whether we run as root.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}
