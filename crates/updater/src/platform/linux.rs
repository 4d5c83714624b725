//! Linux: modes, links, kernel credentials, `/proc`, systemd's notification.
//!
//! | attack | answer |
//! |---|---|
//! | a file that a user planted under a name the service uses | `open_private`: `O_NOFOLLOW`, a regular file, own, link count 1 |
//! | a process id that is used again by another program | start time compared before and after the program is looked at |
//! | a copy of the program under the same name | compared by device and inode, not by path |

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use tokio::net::{UnixListener, UnixStream};

use super::{FileId, Peer, Process, User};

/// The user and group that health checks run as: nobody.
const NOBODY: u32 = 65534;

/// One connection of a user's program.
pub type Stream = UnixStream;

/// Whether this process may do everything.
pub fn is_root() -> bool {
    own_uid() == 0
}

/// The user this process runs as.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Makes a directory, and its missing parents with mode 0755, and makes new names durable. An existing one is given the mode.
///
/// # Errors
/// Whatever the file system says; also when something other than a directory is there.
pub fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|p| !p.exists()) {
        make_dir(parent, 0o755)?;
    }
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            if !fs::symlink_metadata(path)?.is_dir() {
                return Err(io::Error::new(io::ErrorKind::NotADirectory, "something else is there"));
            }
        }
        other => {
            other?;
            // Else a power cut could take a directory away together with everything that was made durable in it.
            path.parent().map_or(Ok(()), sync_dir)?;
        }
    }
    // Not left to the umask: a directory ends in its final rights whatever the service was started with. By descriptor: should the
    // name be exchanged for a link just now, what that leads to keeps its rights.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::DIRECTORY;
    let dir = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    dir.set_permissions(fs::Permissions::from_mode(mode))
}

/// Makes a new directory with this mode, at no instant with more; an existing one is an error.
///
/// # Errors
/// Whatever the file system says.
pub fn make_new_dir(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().mode(mode).create(path)?;
    // The umask may have cut it.
    set_mode(path, mode)
}

/// Sets a file's or directory's mode.
///
/// # Errors
/// Whatever the file system says.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Whether a file has exactly this mode.
pub fn has_mode(path: &Path, mode: u32) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.mode() & 0o7777 == mode)
}

/// Makes a new file with this mode; an existing one is an error.
///
/// # Errors
/// Whatever the file system says.
pub fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(file)
}

/// Opens or makes a file that only this user can reach, for reading and writing.
///
/// # Errors
/// Whatever the file system says; also when what is there is a link, is linked elsewhere or is someone else's.
pub fn open_private(path: &Path) -> io::Result<File> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.nlink() != 1 || meta.uid() != own_uid() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a private file of this service"));
    }
    Ok(file)
}

/// Opens or makes a file that several processes lock.
///
/// # Errors
/// As [`open_private`].
pub fn open_lock(path: &Path) -> io::Result<File> {
    open_private(path)
}

/// Makes a pointer to a version: a symbolic link.
///
/// # Errors
/// Whatever the file system says.
pub fn make_pointer(target: &Path, pointer: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, pointer)
}

/// Where a pointer leads: `versions` and the version's name.
///
/// # Errors
/// Whatever the file system says.
pub fn read_pointer(pointer: &Path) -> io::Result<PathBuf> {
    fs::read_link(pointer)
}

/// Renames, replacing a file at `to`.
///
/// # Errors
/// Whatever the file system says.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Removes a file.
///
/// # Errors
/// Whatever the file system says.
pub fn remove_file(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// Removes a directory with everything in it.
///
/// # Errors
/// Whatever the file system says.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path)
}

/// Exchanges two names of one file system in one step.
///
/// # Errors
/// Whatever the file system says; also when it cannot do that.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

/// An exchange is one step here, so there is never half of one.
///
/// # Errors
/// None.
pub fn finish_exchange(_one: &Path, _other: &Path) -> io::Result<()> {
    Ok(())
}

/// Everything lies below the root.
pub fn known_layout(_root: &Path) -> Option<(PathBuf, PathBuf)> {
    None
}

/// Whether a directory lies above the root.
pub fn is_above(root: &Path, dir: &Path) -> bool {
    !dir.starts_with(root)
}

/// There is no Group Policy here.
///
/// # Errors
/// None.
pub fn group_policy(_name: &str) -> io::Result<Option<crate::settings::group_policy::Value>> {
    Ok(None)
}

/// The very file that this process runs, even when its name is gone or taken by another.
///
/// # Errors
/// Whatever the file system says.
pub fn own_program() -> io::Result<File> {
    File::open("/proc/self/exe")
}

/// Whether another program stands in the place of the one that this process was started from. Only a process that was
/// started from below `versions` has such a place.
pub fn is_replaced(versions: &Path, current: &Path) -> bool {
    let own = Path::new("/proc/self/exe");
    match (runs_from(versions), file_id(own), file_id(current)) {
        (true, Ok(own), Ok(current)) => own != current,
        _ => false,
    }
}

/// Whether this process was started from below a directory.
pub fn runs_from(dir: &Path) -> bool {
    let own = fs::read_link("/proc/self/exe");
    own.and_then(|program| Ok(program.starts_with(dir.canonicalize()?))).unwrap_or(false)
}

/// The version below a directory of versions that this process was started from.
pub fn runs_version(versions: &Path) -> Option<protocol::Version> {
    let program = fs::read_link("/proc/self/exe").ok()?;
    let below = program.strip_prefix(versions.canonicalize().ok()?).ok()?;
    below.iter().next()?.to_str()?.parse().ok()
}

/// Whether a process is this one's parent, and runs as the same user.
pub fn is_parent(pid: u32) -> bool {
    let parent = rustix::process::getppid().and_then(|parent| u32::try_from(parent.as_raw_nonzero().get()).ok());
    parent == Some(pid) && fs::metadata(format!("/proc/{pid}")).is_ok_and(|m| m.uid() == own_uid())
}

/// Becomes another program, in the place of this one. Returns only when that fails.
pub fn become_program(program: &Path, arguments: &[&std::ffi::OsStr]) -> io::Error {
    use std::os::unix::process::CommandExt;
    std::process::Command::new(program).args(arguments).exec()
}

/// Makes a directory's entries durable.
///
/// # Errors
/// Whatever the file system says.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Why users other than root and this process's own could change what is at `path`; `Ok` if they could not.
///
/// # Errors
/// The reason in words.
pub fn written_by_us_only(path: &Path) -> Result<(), String> {
    let meta = fs::symlink_metadata(path).map_err(|e| format!("cannot be looked at: {e}"))?;
    if meta.is_symlink() {
        return Err("it is a symbolic link".into());
    }
    if meta.uid() != 0 && meta.uid() != own_uid() {
        return Err(format!("it belongs to user {}", meta.uid()));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(format!("its mode {:04o} lets others write", meta.mode() & 0o7777));
    }
    Ok(())
}

/// Whether `path` is a directory such as `/tmp`: everybody may add to it, nobody may rename another's entries.
pub fn is_sticky_of_root(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_dir() && m.mode() & 0o1000 != 0 && m.uid() == 0)
}

/// Bytes that this process can still write below `path`. `None`: unknown.
pub fn free_space(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The PC's name, as the kernel has it.
pub fn kernel_hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Which file or directory this is.
///
/// # Errors
/// Whatever the file system says.
pub fn file_id(path: &Path) -> io::Result<FileId> {
    fs::metadata(path).map(|m| FileId { device: m.dev(), inode: m.ino() })
}

/// What a process runs. `None`: there is no such process, or it changed while it was looked at.
pub fn process(pid: i32) -> Option<Process> {
    let started = start_time(pid)?;
    let program = file_id(Path::new(&format!("/proc/{pid}/exe"))).ok()?;
    (start_time(pid)? == started).then_some(Process { started, program })
}

/// Field 22 of `/proc/<pid>/stat` (proc(5)); the program's name before it may hold anything, so counting
/// starts after its closing bracket.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.get(stat.rfind(')')? + 2..)?.split(' ').nth(19)?.parse().ok()
}

/// Whether any process runs a program below `dir`.
///
/// # Errors
/// Whatever `/proc` says; then nothing may be assumed.
pub fn is_running_below(dir: &Path) -> io::Result<bool> {
    let dir = dir.canonicalize()?;
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        // A process that ended meanwhile, or a kernel thread, has no program.
        if fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe.starts_with(&dir)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A program that runs without rights: as nobody when this process is root, in `/`, with an empty environment.
#[derive(Debug)]
pub struct Unprivileged {
    child: tokio::process::Child,
    leader: Option<u32>,
}

impl Unprivileged {
    /// Starts it.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn start(program: &Path, arguments: &[String]) -> io::Result<Self> {
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).env_clear().current_dir("/").kill_on_drop(true).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if is_root() {
            // The standard library also drops the supplementary groups when a user is set by root.
            command.gid(NOBODY).uid(NOBODY);
        }
        let child = command.spawn()?;
        let leader = child.id();
        Ok(Self { child, leader })
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Whatever the system says.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it and whatever it has started, at once.
    pub fn end(&self) {
        if let Some(pid) = self.leader.and_then(|l| i32::try_from(l).ok()).and_then(rustix::process::Pid::from_raw) {
            // The group may be gone already, which is what is wanted.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

/// A user's program ends with whoever has started it, as a terminal wants it.
pub fn in_own_group(_command: &mut tokio::process::Command) {}

/// Whether this process or the whole computer was short of something just then: memory, processes, open files.
pub fn is_short_of_something(error: &io::Error) -> bool {
    [libc::EAGAIN, libc::ENOMEM, libc::ENFILE, libc::EMFILE].map(Some).contains(&error.raw_os_error())
}

/// Whether a process was ended by a signal that it cannot cause by a mistake of its own, as the kernel does when memory is short.
pub fn was_killed(status: &std::process::ExitStatus) -> bool {
    std::os::unix::process::ExitStatusExt::signal(status) == Some(libc::SIGKILL)
}

/// The wish that a process ends; kept until that has happened.
#[derive(Debug)]
pub struct Asked(());

/// Asks a process to end.
pub fn terminate(pid: u32) -> Asked {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        // The process may be gone already, which is what is wanted.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    Asked(())
}

/// Tells systemd that the service is ready (sd_notify(3)); does nothing when systemd did not start it.
pub fn notify_ready() {
    notify(b"READY=1");
}

/// Tells systemd that the service is alive (sd_notify(3)); does nothing when systemd did not start it.
pub fn notify_alive() {
    notify(b"WATCHDOG=1");
}

/// How often systemd should be told that the service is alive: twice in the time after which it takes it for hung
/// (`WATCHDOG_USEC`, sd_watchdog_enabled(3)). `None`: it does not watch. The process that it means (`WATCHDOG_PID`) may be the
/// supervisor, which lets us speak.
pub fn watchdog() -> Option<std::time::Duration> {
    let limit: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (limit > 0).then(|| std::time::Duration::from_micros(limit) / 2)
}

fn notify(state: &[u8]) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let sent = notify_address(&address)
        .and_then(|address| std::os::unix::net::UnixDatagram::unbound()?.send_to_addr(state, &address));
    if let Err(error) = sent {
        let what = String::from_utf8_lossy(state);
        tracing::warn!(%error, what = &*what, "systemd could not be told");
    }
}

/// systemd writes an abstract address with a leading `@`.
fn notify_address(address: &std::ffi::OsStr) -> io::Result<std::os::unix::net::SocketAddr> {
    use std::os::{linux::net::SocketAddrExt, unix::ffi::OsStrExt};
    match address.as_bytes().strip_prefix(b"@") {
        Some(name) => std::os::unix::net::SocketAddr::from_abstract_name(name),
        None => std::os::unix::net::SocketAddr::from_pathname(Path::new(address)),
    }
}

/// The socket that users' programs talk to.
#[derive(Debug)]
pub struct Listener(UnixListener);

impl Listener {
    /// Binds the socket with mode 0666, replacing what a service that was killed left behind. The caller
    /// makes sure that only it can write to the socket's directory.
    ///
    /// # Errors
    /// Whatever the system says; also when another service still answers there.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another updater is running"));
        }
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        set_mode(path, 0o666)?;
        Ok(Self(listener))
    }

    /// The next connection, and whose it is (`SO_PEERCRED`, unix(7)).
    ///
    /// # Errors
    /// Whatever the system says.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        let (stream, _) = self.0.accept().await?;
        let credentials = stream.peer_cred()?;
        let pid = credentials.pid().filter(|pid| *pid > 0);
        let peer = Peer {
            user: User::Uid(credentials.uid()),
            is_administrator: credentials.uid() == 0,
            session: None,
            pid,
            started: pid.and_then(start_time),
        };
        Ok((stream, peer))
    }
}

/// Removes the socket of a service that has ended: it would only confuse. A new one replaces it anyway.
pub fn forget_socket(path: &Path) {
    drop(fs::remove_file(path));
}

/// Waits until this process is asked to end: SIGTERM, SIGINT or SIGHUP.
///
/// # Errors
/// When signals cannot be received at all.
pub async fn asked_to_end() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut hup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        _ = hup.recv() => {}
    }
    Ok(())
}

/// As [`asked_to_end`], for a program of the user's session.
///
/// # Errors
/// As [`asked_to_end`].
pub async fn asked_to_end_by_the_user() -> io::Result<()> {
    asked_to_end().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_program_file() {
        let me = process(std::process::id().cast_signed()).unwrap();
        assert_eq!(me.program, file_id(&std::env::current_exe().unwrap()).unwrap());
        assert!(process(i32::MAX).is_none());
    }

    #[test]
    fn a_private_file_is_not_a_link_and_not_linked() {
        let dir = tempfile::tempdir().unwrap();
        let canary = dir.path().join("canary");
        fs::write(&canary, "untouched").unwrap();
        make_pointer(&canary, &dir.path().join("soft")).unwrap();
        fs::hard_link(&canary, dir.path().join("hard")).unwrap();
        assert!(open_private(&dir.path().join("soft")).is_err());
        assert!(open_private(&dir.path().join("hard")).is_err());
        assert!(open_private(&dir.path().join("own")).is_ok());
        assert_eq!(fs::read_to_string(&canary).unwrap(), "untouched");
    }

    #[test]
    fn a_program_that_runs_keeps_its_directory_in_use() {
        let exe = std::env::current_exe().unwrap();
        assert!(is_running_below(exe.parent().unwrap()).unwrap());
        assert!(!is_running_below(tempfile::tempdir().unwrap().path()).unwrap());
    }
}
