//! The real service with a debugger at its side, which counts the system calls that change its disk, over all threads, and
//! kills it at the n-th, or has that call fail.
//!
//! `strace -e inject=…:when=N` does the same for a program of one thread. It counts each thread for itself, though: the n-th
//! call of a thread that is always slower than another one is never reached. Hence this.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// What happens at the n-th call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing at all.
    None,
    /// The process is killed when it enters the call, which is not done.
    Kill(usize),
    /// This one call fails.
    Once(usize, Errno),
    /// This call and all after it fail, until the disk is healed.
    From(usize, Errno),
}

/// A call that would change the disk.
#[derive(Debug, Clone)]
pub struct Call {
    pub kind: &'static str,
    pub path: String,
}

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Exit(i32),
    Killed(Signal),
}

#[derive(Default)]
struct Shared {
    calls: Mutex<Vec<Call>>,
    injected: AtomicUsize,
    healed: AtomicBool,
    ended: Mutex<Option<Ended>>,
}

/// A process that is watched.
pub struct Traced {
    pub pid: u32,
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Traced {
    /// Starts a program whose changes below `root` count.
    pub fn start(program: &[&std::ffi::OsStr], root: &Path, log: &Path, fault: Fault) -> Self {
        let shared = Arc::new(Shared::default());
        let (sender, receiver) = std::sync::mpsc::channel();
        let log = File::create(log).unwrap();
        let mut command = Command::new("/bin/sh");
        // Waits to be watched from its first instruction on.
        command.args(["-c", "kill -STOP $$; exec \"$@\"", "sh"]).args(program);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let (root, watched) = (format!("{}/", root.display()), shared.clone());
        let thread = std::thread::spawn(move || {
            // Only the thread that started to watch a process may go on doing so, and wait for it.
            let pid = Pid::from_raw(command.spawn().unwrap().id().cast_signed());
            sender.send(pid).unwrap();
            let ended = Watch { pid, root, fault, shared: watched.clone(), threads: BTreeMap::new() }.run();
            *watched.ended.lock().unwrap() = Some(ended);
        });
        Self { pid: receiver.recv().unwrap().as_raw().cast_unsigned(), shared, thread: Some(thread) }
    }

    pub fn injected(&self) -> usize {
        self.shared.injected.load(Ordering::SeqCst)
    }

    /// From now on no call fails any more.
    pub fn heal(&self) {
        self.shared.healed.store(true, Ordering::SeqCst);
    }

    pub fn ended(&self) -> Option<Ended> {
        *self.shared.ended.lock().unwrap()
    }

    /// Asks it to end, and waits until it has.
    pub fn end(mut self) -> (Ended, Vec<Call>) {
        if self.ended().is_none() {
            // It may have ended just now.
            let _ = kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGTERM);
        }
        self.thread.take().unwrap().join().unwrap();
        (self.ended().unwrap(), std::mem::take(&mut *self.shared.calls.lock().unwrap()))
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // As above.
            let _ = kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL);
        }
    }
}

/// Where a thread is.
#[derive(Default)]
struct Thread {
    inside: bool,
    fails: Option<Errno>,
}

struct Watch {
    pid: Pid,
    root: String,
    fault: Fault,
    shared: Arc<Shared>,
    threads: BTreeMap<Pid, Thread>,
}

impl Watch {
    fn run(mut self) -> Ended {
        let stopped = waitpid(self.pid, Some(WaitPidFlag::WUNTRACED | WaitPidFlag::__WNOTHREAD)).unwrap();
        assert!(matches!(stopped, WaitStatus::Stopped(_, Signal::SIGSTOP)), "{stopped:?}");
        // A child of the service, such as a self-check, is not watched; all its threads are.
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(self.pid, options).unwrap();
        kill(self.pid, Signal::SIGCONT).unwrap();
        let mut started = false;
        loop {
            let (thread, signal) = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).unwrap() {
                WaitStatus::PtraceSyscall(thread) => {
                    if started {
                        self.syscall(thread);
                    }
                    (thread, None)
                }
                WaitStatus::PtraceEvent(thread, _, event) => {
                    if event == libc::PTRACE_EVENT_EXEC {
                        started = true;
                        // What follows is the end of the call that has just replaced the program.
                        self.threads.insert(thread, Thread { inside: true, fails: None });
                    }
                    (thread, None)
                }
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                WaitStatus::Exited(thread, code) if thread == self.pid => return Ended::Exit(code),
                WaitStatus::Signaled(thread, signal, _) if thread == self.pid => return Ended::Killed(signal),
                _ => continue,
            };
            match ptrace::syscall(thread, signal) {
                // It was killed meanwhile.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// At the beginning or the end of a system call.
    fn syscall(&mut self, id: Pid) {
        let thread = self.threads.entry(id).or_default();
        thread.inside = !thread.inside;
        let (inside, fails) = (thread.inside, thread.fails.take());
        let Ok(mut registers) = ptrace::getregs(id) else { return };
        if !inside {
            if let Some(errno) = fails {
                registers.rax = (-i64::from(errno as i32)).cast_unsigned();
                // Fails only when the process was killed meanwhile.
                let _ = ptrace::setregs(id, registers);
            }
            return;
        }
        let Some(call) = change(id, &registers).filter(|call| call.path.starts_with(&self.root)) else { return };
        let number = {
            let mut calls = self.shared.calls.lock().unwrap();
            calls.push(call);
            calls.len()
        };
        let errno = match self.fault {
            Fault::Kill(n) if n == number => {
                self.shared.injected.fetch_add(1, Ordering::SeqCst);
                kill(self.pid, Signal::SIGKILL).unwrap();
                return;
            }
            Fault::Once(n, errno) if n == number => errno,
            Fault::From(n, errno) if n <= number && !self.shared.healed.load(Ordering::SeqCst) => errno,
            _ => return,
        };
        self.shared.injected.fetch_add(1, Ordering::SeqCst);
        // No such call: the kernel does nothing, and what it answers is replaced above.
        registers.orig_rax = u64::MAX;
        ptrace::setregs(id, registers).unwrap();
        self.threads.entry(id).or_default().fails = Some(errno);
    }
}

/// What a call would change. `None`: it changes no file.
fn change(thread: Pid, registers: &libc::user_regs_struct) -> Option<Call> {
    let (a, b, c, d) = (registers.rdi, registers.rsi, registers.rdx, registers.r10);
    let fd = |fd: u64| link(&format!("/proc/{thread}/fd/{}", fd.cast_signed()));
    let path = |address: u64| resolve(thread, None, address);
    let at = |dir: u64, address: u64| resolve(thread, Some(dir), address);
    let creates = |flags: u64| flags & (libc::O_CREAT | libc::O_TRUNC).cast_unsigned() as u64 != 0;
    let (kind, path) = match registers.orig_rax.cast_signed() {
        libc::SYS_write => ("write", fd(a)),
        libc::SYS_pwrite64 => ("pwrite64", fd(a)),
        libc::SYS_writev => ("writev", fd(a)),
        libc::SYS_pwritev | libc::SYS_pwritev2 => ("pwritev", fd(a)),
        libc::SYS_copy_file_range => ("copy_file_range", fd(c)),
        libc::SYS_sendfile => ("sendfile", fd(a)),
        libc::SYS_fallocate => ("fallocate", fd(a)),
        libc::SYS_fsync => ("fsync", fd(a)),
        libc::SYS_fdatasync => ("fdatasync", fd(a)),
        libc::SYS_ftruncate => ("ftruncate", fd(a)),
        libc::SYS_fchmod => ("fchmod", fd(a)),
        libc::SYS_fchown => ("fchown", fd(a)),
        libc::SYS_truncate => ("truncate", path(a)),
        libc::SYS_rename => ("rename", path(b)),
        libc::SYS_renameat | libc::SYS_renameat2 => ("renameat2", at(c, d)),
        libc::SYS_link => ("link", path(b)),
        libc::SYS_linkat => ("linkat", at(c, d)),
        libc::SYS_symlink => ("symlink", path(b)),
        libc::SYS_symlinkat => ("symlinkat", at(b, c)),
        libc::SYS_unlink => ("unlink", path(a)),
        libc::SYS_unlinkat => ("unlinkat", at(a, b)),
        libc::SYS_rmdir => ("rmdir", path(a)),
        libc::SYS_mkdir => ("mkdir", path(a)),
        libc::SYS_mkdirat => ("mkdirat", at(a, b)),
        libc::SYS_chmod => ("chmod", path(a)),
        libc::SYS_fchmodat => ("fchmodat", at(a, b)),
        libc::SYS_open if creates(b) => ("open", path(a)),
        libc::SYS_openat if creates(c) => ("openat", at(a, b)),
        libc::SYS_creat => ("creat", path(a)),
        _ => return None,
    };
    Some(Call { kind, path: path? })
}

fn link(path: &str) -> Option<String> {
    Some(fs::read_link(path).ok()?.display().to_string())
}

/// The path that a string in the process's memory means, from a directory that it has open or is in.
fn resolve(thread: Pid, dir: Option<u64>, address: u64) -> Option<String> {
    let path = string(thread, address)?;
    if path.is_absolute() {
        return Some(path.display().to_string());
    }
    let dir = dir.map(|dir| (dir as u32).cast_signed()).filter(|dir| *dir != libc::AT_FDCWD);
    let base = dir.map_or_else(|| "cwd".to_owned(), |dir| format!("fd/{dir}"));
    Some(Path::new(&link(&format!("/proc/{thread}/{base}"))?).join(path).display().to_string())
}

fn string(thread: Pid, address: u64) -> Option<PathBuf> {
    let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut bytes = vec![0; 4096];
    // Up to the end of the page at least; a path does not cross into unmapped memory before its end.
    let first = usize::try_from(4096 - address % 4096).ok()?;
    memory.read_exact_at(&mut bytes[..first], address).ok()?;
    if !bytes[..first].contains(&0) {
        memory.read_exact_at(&mut bytes[first..], address + first as u64).ok()?;
    }
    let end = bytes.iter().position(|b| *b == 0)?;
    Some(PathBuf::from(String::from_utf8_lossy(&bytes[..end]).into_owned()))
}
