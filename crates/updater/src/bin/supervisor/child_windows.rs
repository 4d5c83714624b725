//! The updater as this program's child, on Windows: in a job that ends with this process, and asked to end by closing its standard
//! input, which needs neither a console nor a name that others could find.

use std::{
    io,
    os::windows::{io::AsHandle, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use lockstep_updater::platform::{Job, without_window};

use super::End;

/// Which process supervises; the updater looks whether that is its parent.
const SUPERVISOR: &str = "LOCKSTEP_SUPERVISOR";
/// An updater that is asked to end has this long.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often the updater is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The word of whoever started this program that it is to end.
#[derive(Debug, Clone, Default)]
pub struct Signals(Arc<(Mutex<bool>, Condvar)>);

impl Signals {
    /// It is to end.
    pub fn end(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits for that word, so long at most; says whether it has come.
    fn within(&self, wait: Duration) -> bool {
        let asked = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        *self.0.1.wait_timeout_while(asked, wait, |asked| !*asked).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The running updater.
pub struct Updater {
    child: Child,
    job: Job,
}

/// Starts the updater. Should this process be killed, Windows ends the updater too: two must never be at work.
pub fn start(program: &Path, root: &Path) -> io::Result<Updater> {
    let job = Job::new()?;
    let mut command = Command::new(program);
    command.creation_flags(without_window());
    command.args(["run", "--root"]).arg(root).env(SUPERVISOR, std::process::id().to_string()).stdin(Stdio::piped());
    let mut child = command.spawn()?;
    if let Err(error) = job.take(child.as_handle()) {
        child.kill()?;
        return Err(error);
    }
    Ok(Updater { child, job })
}

/// Waits until the updater has ended, or this program is asked to, or the deadline of a trial has come while
/// `is_on_trial`.
pub fn watch(
    updater: &mut Updater,
    signals: &mut Signals,
    mut deadline: Option<Instant>,
    is_on_trial: impl Fn() -> bool,
) -> End {
    loop {
        match updater.child.try_wait() {
            Ok(Some(status)) => return End::Itself(status.to_string()),
            Ok(None) => {}
            Err(error) => return End::Itself(error.to_string()),
        }
        if signals.within(LOOK) {
            drop(updater.child.stdin.take());
            let until = Instant::now() + FAREWELL;
            while Instant::now() < until && !matches!(updater.child.try_wait(), Ok(Some(_))) {
                std::thread::sleep(LOOK / 5);
            }
            updater.job.end();
            return End::Asked;
        }
        if deadline.is_some_and(|_| !is_on_trial()) {
            deadline = None;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            updater.job.end();
            return End::Silent;
        }
    }
}

/// Waits before another start. Says whether this program was asked to end meanwhile.
pub fn pause(signals: &mut Signals, wait: Duration) -> bool {
    signals.within(wait)
}
