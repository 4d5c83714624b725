//! Linux and its relatives.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions, Permissions},
    io::IsTerminal,
    os::unix::{
        fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use protocol::Version;

/// Name of the way to the administrator's rights that is taken where nothing else is configured: polkit's.
pub const ELEVATION: &str = "pkexec";

/// Whether what starts the machine's connector when somebody logs in is the machine's affair: no, each user's.
pub fn machine_starts_it() -> bool {
    false
}

/// The file that holds the PC's name (hostname(5)).
pub fn hostname_file(root: &Path) -> Option<PathBuf> {
    Some(root.join("etc/hostname"))
}

/// The number of the first person among a PC's users (`UID_MIN` of login.defs(5), as it comes).
pub const FIRST_USER: u32 = 1000;

/// This user's number.
pub fn user_number() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The PC's name as the kernel knows it (uname(2)).
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Creates a file, which must not exist yet, that only its owner can read and write.
///
/// # Errors
/// From the file system.
pub fn create_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Takes every right on a file or directory from everybody but its owner.
///
/// # Errors
/// From the file system.
pub fn make_private(path: &Path, is_directory: bool) -> std::io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(if is_directory { 0o700 } else { 0o600 }))
}

/// Replaces `to` by `from`, in the same directory, in one step that has reached the disk when this returns.
///
/// # Errors
/// From the file system.
pub fn replace_durably(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::rename(from, to)?;
    File::open(to.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// The machine's settings, which only an administrator can write.
pub fn settings(root: &Path) -> PathBuf {
    root.join("etc/lockstep")
}

/// The programs that are installed for everybody.
pub fn programs(root: &Path) -> PathBuf {
    root.join("opt/lockstep")
}

/// What starts the machine's connector.
pub fn launcher(root: &Path) -> PathBuf {
    root.join("opt/lockstep/updater/current/bin/lockstep-launcher")
}

/// The version that a product's `current` leads to.
pub fn active_version(product: &Path) -> Option<Version> {
    let current = product.join("current");
    let version = std::fs::read_link(&current).ok()?.file_name()?.to_str()?.parse().ok()?;
    current.is_dir().then_some(version)
}

/// The updater's version among the installed programs. `None`: it is not there, or [`launcher`] says as much.
pub fn listed_updater(_root: &Path) -> Option<String> {
    None
}

/// Asks for the mail password of `user` on the terminal.
///
/// # Errors
/// From the terminal, or when there is none.
pub fn ask_password(user: &str) -> std::io::Result<String> {
    if !std::io::stdin().is_terminal() {
        let help = "there is no terminal to ask for the password; give it on standard input with --password-stdin";
        return Err(std::io::Error::new(std::io::ErrorKind::Unsupported, help));
    }
    rpassword::prompt_password(format!("Mail password of {user}: "))
}

/// Where a user's data belongs (XDG Base Directory Specification): `$XDG_DATA_HOME` or `~/.local/share`.
pub fn user_data() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")))?;
    Some(base.join("lockstep").join("connector"))
}

/// The system's keyring: the Secret Service of the user's session (freedesktop.org), reached over D-Bus. `None` where
/// there is no session bus, as on a server or in a plain terminal login.
///
/// # Errors
/// When there is a bus and no Secret Service answers on it. It may block for as long as the bus does.
pub fn system_keyring() -> Option<keyring_core::Result<Arc<keyring_core::CredentialStore>>> {
    std::env::var_os("DBUS_SESSION_BUS_ADDRESS").filter(|address| !address.is_empty())?;
    Some(zbus_secret_service_keyring_store::Store::new().map(|store| store as Arc<keyring_core::CredentialStore>))
}

/// Lets the kernel find out within about two minutes that the other side is gone, as after sleep or a change of network.
///
/// # Errors
/// From the kernel; the connection works without it.
pub fn keep_alive(stream: &tokio::net::TcpStream) -> std::io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepcnt(stream, 4)?;
    Ok(())
}

/// Waits for the system's or the user's wish that the program ends (SIGTERM, SIGINT).
///
/// # Errors
/// When signals cannot be waited for.
pub async fn asked_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Asks a process of this user's to end (SIGTERM).
///
/// # Errors
/// From the kernel.
pub fn ask_to_stop(pid: u32) -> std::io::Result<()> {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(std::io::ErrorKind::InvalidInput)?;
    Ok(kill_process(pid, Signal::TERM)?)
}

/// Asks, on the terminal, a question that is answered with yes or no. `None`: there is nobody to ask, or no answer.
pub fn ask_yes_or_no(question: &str, usual: bool) -> Option<bool> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    eprint!("{question} [{}] ", if usual { "Y/n" } else { "y/N" });
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok()?;
    match answer.trim().to_lowercase().as_str() {
        "" => Some(usual),
        "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

/// Opens a file for reading and writing, making it if need be: it is this user's own, a regular file, and has no other
/// name.
///
/// # Errors
/// From the file system; `PermissionDenied` for any other kind of file.
pub fn open_private(path: &Path) -> std::io::Result<File> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(no_follow);
    let file = options.open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.nlink() != 1 || meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, "not a private file of this user"));
    }
    Ok(file)
}

/// Bytes that this user may still write where `path` is. `None`: unknown.
pub fn disk_free(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

/// Whether there is a way to ask for the administrator's rights here.
///
/// # Errors
/// Never, on Linux.
pub fn can_elevate() -> Result<(), &'static str> {
    Ok(())
}

/// Polkit's prompt and sudo's say themselves what they are for.
#[expect(clippy::unused_async, reason = "the same on every system")]
pub async fn announce(_title: &str, _text: &str, _patience: Duration) -> bool {
    true
}

/// This process as `pkcheck --process` wants it: number, start time, user. The number alone could be another process's
/// tomorrow.
pub fn own_process() -> String {
    let pid = std::process::id();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // proc_pid_stat(5): the start time is the 22nd field, the 20th after the name, which may hold anything but ends
    // with the last parenthesis.
    let start = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19));
    match start {
        Some(start) => format!("{pid},{start},{}", rustix::process::getuid().as_raw()),
        None => pid.to_string(),
    }
}

/// Gives a command a session of its own: no terminal that it could ask on or be stopped by, and one group to end.
#[expect(unsafe_code, reason = "a session can only be made in the child")]
pub fn detach(command: &mut tokio::process::Command) {
    // SAFETY: setsid(2) is async-signal-safe, and the closure does nothing else: it neither allocates nor takes locks.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(drop).map_err(Into::into));
    }
}

/// Ends every process of a session made by [`detach`] that this user may end.
pub fn end_session(leader: u32) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let leader = i32::try_from(leader).ok().and_then(Pid::from_raw);
    if let Some(leader) = leader
        && let Err(error) = kill_process_group(leader, Signal::TERM)
    {
        tracing::debug!(%error, "the prompt could not be taken back");
    }
}

/// Goes on as another program, in this very process. Comes back only when that fails.
pub fn become_program(program: &Path, arguments: &[&OsStr]) -> std::io::Error {
    std::process::Command::new(program).args(arguments).exec()
}

/// Where the desktop looks for what to start when the user logs in (Desktop Application Autostart Specification).
/// `None`: there is no desktop.
pub fn autostart() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !set("DISPLAY") && !set("WAYLAND_DISPLAY") {
        return None;
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(config.join("autostart"))
}
