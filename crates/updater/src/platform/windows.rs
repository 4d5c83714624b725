//! Windows: compiles, and says honestly at run time that the service does not run there yet.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
};

use super::{FileId, Peer, Process};

/// One connection of a user's program.
pub type Stream = tokio::io::DuplexStream;

fn not_yet<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "the updater does not run on Windows yet"))
}

/// Whether this process may do everything: not known here yet, so never assumed.
pub fn is_root() -> bool {
    false
}

/// Users have no numbers here.
pub fn own_uid() -> u32 {
    0
}

/// As on Linux.
///
/// # Errors
/// Always, for now.
pub fn make_dir(_path: &Path, _mode: u32) -> io::Result<()> {
    not_yet()
}

/// As on Linux.
///
/// # Errors
/// Always, for now.
pub fn make_new_dir(_path: &Path, _mode: u32) -> io::Result<()> {
    not_yet()
}

/// As on Linux.
///
/// # Errors
/// Always, for now.
pub fn set_mode(_path: &Path, _mode: u32) -> io::Result<()> {
    not_yet()
}

/// Modes are not here.
pub fn has_mode(_path: &Path, _mode: u32) -> bool {
    false
}

/// As on Linux.
///
/// # Errors
/// Whatever the file system says.
pub fn create_new(path: &Path, _mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// As on Linux.
///
/// # Errors
/// Always, for now.
pub fn open_private(_path: &Path) -> io::Result<File> {
    not_yet()
}

/// As on Linux.
///
/// # Errors
/// Always, for now.
pub fn symlink(_target: &Path, _link: &Path) -> io::Result<()> {
    not_yet()
}

/// As on Linux.
///
/// # Errors
/// Always, for now.
pub fn exchange(_one: &Path, _other: &Path) -> io::Result<()> {
    not_yet()
}

/// As on Linux.
///
/// # Errors
/// Always, for now.
pub fn own_program() -> io::Result<File> {
    not_yet()
}

/// As on Linux.
pub fn is_replaced(_versions: &Path, _current: &Path) -> bool {
    false
}

/// Nothing is started from below a directory of versions yet.
pub fn runs_from(_dir: &Path) -> bool {
    false
}

/// As [`runs_from`].
pub fn runs_version(_versions: &Path) -> Option<protocol::Version> {
    None
}

/// There is no supervisor on Windows yet.
pub fn is_parent(_pid: u32) -> bool {
    false
}

/// As on Linux.
pub fn become_program(_program: &Path, _arguments: &[&std::ffi::OsStr]) -> io::Error {
    io::ErrorKind::Unsupported.into()
}

/// As on Linux.
#[derive(Debug)]
pub struct ForeignDir(());

impl ForeignDir {
    /// As on Linux.
    ///
    /// # Errors
    /// Always, for now.
    pub fn open(_path: &Path) -> io::Result<Self> {
        not_yet()
    }

    /// As on Linux.
    ///
    /// # Errors
    /// Always, for now.
    pub fn dir(&self, _name: &str) -> io::Result<Option<Self>> {
        not_yet()
    }

    /// As on Linux.
    ///
    /// # Errors
    /// Always, for now.
    pub fn file(&self, _name: &str) -> io::Result<Option<File>> {
        not_yet()
    }

    /// As on Linux.
    ///
    /// # Errors
    /// Always, for now.
    pub fn names(&self, _most: usize) -> io::Result<Vec<String>> {
        not_yet()
    }

    /// As on Linux.
    ///
    /// # Errors
    /// Always, for now.
    pub fn is_dir(&self, _name: &str) -> io::Result<bool> {
        not_yet()
    }
}

/// As on Linux.
///
/// # Errors
/// Always, for now.
pub fn sync_dir(_path: &Path) -> io::Result<()> {
    not_yet()
}

/// As on Linux.
///
/// # Errors
/// Always, for now.
pub fn written_by_us_only(_path: &Path) -> Result<(), String> {
    Err("the updater does not run on Windows yet".into())
}

/// As on Linux.
pub fn is_sticky_of_root(_path: &Path) -> bool {
    false
}

/// As on Linux.
pub fn free_space(_path: &Path) -> Option<u64> {
    None
}

/// The PC's name.
pub fn kernel_hostname() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "unnamed".into())
}

/// As on Linux.
///
/// # Errors
/// Always, for now.
pub fn file_id(_path: &Path) -> io::Result<FileId> {
    not_yet()
}

/// As on Linux.
pub fn process(_pid: i32) -> Option<Process> {
    None
}

/// As on Linux.
///
/// # Errors
/// Always, for now.
pub fn is_running_below(_dir: &Path) -> io::Result<bool> {
    not_yet()
}

/// As on Linux.
pub fn unprivileged(program: &Path, arguments: &[String]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).env_clear().kill_on_drop(true);
    command
}

/// As on Linux.
pub fn kill_group(_leader: u32) {}

/// As on Linux.
pub fn terminate(_pid: u32) {}

/// systemd is not here.
pub fn notify_ready() {}

/// As on Linux; the service manager has no watchdog.
pub fn notify_alive() {}

/// As on Linux; the service manager has no watchdog.
pub fn watchdog() -> Option<std::time::Duration> {
    None
}

/// As on Linux.
#[derive(Debug)]
pub struct Listener(());

impl Listener {
    /// As on Linux.
    ///
    /// # Errors
    /// Always, for now.
    pub fn bind(path: &Path) -> io::Result<Self> {
        fs::metadata(path)?;
        not_yet()
    }

    /// As on Linux.
    ///
    /// # Errors
    /// Always, for now.
    #[expect(clippy::unused_async, reason = "as on Linux")]
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        not_yet()
    }
}

/// Waits until this process is asked to end.
///
/// # Errors
/// When it cannot be asked at all.
pub async fn asked_to_end() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
