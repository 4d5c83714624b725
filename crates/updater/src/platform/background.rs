//! Work that must not slow down the person at the PC: on a thread of its own, which gives way to everything else.
//!
//! Linux: nice 19 and the idle I/O class (ioprio_set(2)) belong to one thread, so the service itself, and above all the switch to a
//! new version, stays as quick as it is; its unit permits both system calls. An I/O scheduler without classes ignores the second.

use tokio::sync::oneshot;

/// Bytes; unpacking needs far less.
const STACK: usize = 1024 * 1024;

/// Runs `work` on such a thread. It goes on when nobody waits for it any more.
pub fn in_background(work: impl FnOnce() + Send + 'static) {
    let run = move || {
        give_way();
        work();
    };
    if let Err(error) = std::thread::Builder::new().name("background".into()).stack_size(STACK).spawn(run) {
        // The work is gone with it, and whoever waits for its result is told so.
        tracing::error!(%error, "no thread can be started");
    }
}

/// As [`in_background`], and waits for what comes of it. `None`: no thread could be started, or the work panicked where that does not
/// end the process.
pub async fn from_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    // Nobody waits any more when the caller was given up meanwhile.
    in_background(move || drop(done.send(work())));
    result.await.ok()
}

#[cfg(target_os = "linux")]
fn give_way() {
    // Both can only be refused by a seccomp filter; then the work is done at the usual priority.
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        tracing::debug!(%error, "the priority of background work cannot be lowered");
    }
    if let Err(error) = io_class::set_idle() {
        tracing::debug!(%error, "the I/O priority of background work cannot be lowered");
    }
}

/// Elsewhere the work is done at the usual priority, for now.
#[cfg(not(target_os = "linux"))]
fn give_way() {}

/// ioprio_set(2) and ioprio_get(2), which no library wraps.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "two system calls that take numbers only")]
mod io_class {
    /// `IOPRIO_WHO_PROCESS`; with the id 0, the calling thread.
    const WHO_PROCESS: libc::c_int = 1;
    /// `IOPRIO_CLASS_IDLE`, in its place (`IOPRIO_CLASS_SHIFT`).
    pub const IDLE: libc::c_int = 3 << 13;

    pub fn set_idle() -> std::io::Result<()> {
        // SAFETY: three integers; the kernel reads and writes no memory of ours.
        match unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, IDLE) } {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Class and level of the calling thread.
    #[cfg(test)]
    pub fn get() -> libc::c_long {
        // SAFETY: two integers; the kernel reads and writes no memory of ours.
        unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Field 19 of `/proc/thread-self/stat` (proc(5)).
    fn nice() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        stat[stat.rfind(')').unwrap() + 2..].split(' ').nth(16).unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn background_work_gives_way_and_nothing_else_does() {
        let before = (nice(), io_class::get());
        let there = from_background(|| (nice(), io_class::get())).await.unwrap();
        assert_eq!(there, (19, libc::c_long::from(io_class::IDLE)));
        assert_eq!((nice(), io_class::get()), before);
        assert_eq!(tokio::task::spawn_blocking(nice).await.unwrap(), before.0);
    }

    #[tokio::test]
    async fn work_that_panics_is_not_waited_for() {
        assert_eq!(from_background(|| -> u8 { panic!("as the test wants") }).await, None);
    }
}
