//! The updater as this program's child.

#![expect(unsafe_code, reason = "a child that dies with its parent needs a call between fork and exec")]

use std::{
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal};
use signal_hook::consts::SIGCHLD;
pub use signal_hook::iterator::Signals;

use super::End;

/// Which process supervises; the updater looks whether that is its parent.
const SUPERVISOR: &str = "LOCKSTEP_SUPERVISOR";
/// An updater that is asked to end has this long.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often a version on trial is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Starts the updater. Should this process be killed, the kernel ends the updater too: two must never be at work.
pub fn start(program: &Path, root: &Path) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.args(["run", "--root"]).arg(root).env(SUPERVISOR, std::process::id().to_string());
    let parent = getpid();
    // SAFETY: between fork and exec only two system calls are made, which allocate nothing and take no lock.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        });
    }
    command.spawn()
}

/// Waits until the updater has ended, or this program is asked to, or the deadline of a trial has come while
/// `is_on_trial`. Without a deadline it sleeps until a signal comes.
pub fn watch(
    updater: &mut Child,
    signals: &mut Signals,
    mut deadline: Option<Instant>,
    is_on_trial: impl Fn() -> bool,
) -> End {
    loop {
        match updater.try_wait() {
            Ok(Some(status)) => return End::Itself(status.to_string()),
            Ok(None) => {}
            Err(error) => return End::Itself(error.to_string()),
        }
        let asked = match deadline {
            Some(_) => {
                sleep(LOOK);
                signals.pending().any(|signal| signal != SIGCHLD)
            }
            None => signals.wait().any(|signal| signal != SIGCHLD),
        };
        if asked {
            tell(updater, Signal::TERM);
            let until = Instant::now() + FAREWELL;
            while Instant::now() < until && !matches!(updater.try_wait(), Ok(Some(_))) {
                sleep(LOOK / 5);
            }
            end(updater);
            return End::Asked;
        }
        if deadline.is_some_and(|_| !is_on_trial()) {
            deadline = None;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            end(updater);
            return End::Silent;
        }
    }
}

/// Waits before another start. Says whether this program was asked to end meanwhile.
pub fn pause(signals: &mut Signals, wait: Duration) -> bool {
    let until = Instant::now() + wait;
    loop {
        if signals.pending().any(|signal| signal != SIGCHLD) {
            return true;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        sleep(left.min(LOOK));
    }
}

/// Ends the updater if it has not ended yet.
fn end(updater: &mut Child) {
    if !matches!(updater.try_wait(), Ok(Some(_))) {
        tell(updater, Signal::KILL);
        if let Err(error) = updater.wait() {
            eprintln!("lockstep-supervisor: the updater cannot be waited for: {error}");
        }
    }
}

fn tell(updater: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(updater.id()).ok().and_then(Pid::from_raw) {
        // It is not reaped yet, so the number is still its own; it may have ended, which is what is wanted.
        let _ = kill_process(pid, signal);
    }
}
