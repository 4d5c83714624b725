//! What differs between operating systems. Everything else in this crate is the same everywhere.

mod background;
mod memory;
pub use background::{from_background, in_background};
pub use memory::{give_memory_back, prefer_small_memory};

#[cfg(unix)]
mod foreign;
#[cfg(unix)]
mod linux;
#[cfg(unix)]
pub use foreign::ForeignDir;
#[cfg(unix)]
pub use linux::*;

#[cfg(any(windows, test))]
#[path = "windows/values.rs"]
#[cfg_attr(not(windows), expect(dead_code, reason = "the tests hold what is said to Windows on every system"))]
mod values;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::*;

/// Which file a path or a process's program really is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// The file system.
    pub device: u64,
    /// The file on it.
    pub inode: u64,
}

/// Who is at the other end of a connection, as the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub user: User,
    /// Whether that is an administrator: root, or Windows' own system, or a Windows administrator who has agreed to it.
    pub is_administrator: bool,
    /// On Windows, the session: 0 for services, another one for each person at the computer or a terminal.
    pub session: Option<u32>,
    /// The process that connected. `None`: the kernel does not tell (another container).
    pub pid: Option<i32>,
    /// When that process started, as the system counts: a process id alone can be used again.
    pub started: Option<u64>,
}

/// A user of this computer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum User {
    /// Linux: its number.
    Uid(u32),
    /// Windows: its security identifier, such as `S-1-5-21-…-1001`.
    Sid(String),
}

impl User {
    /// As tickets name it: on Windows the last number of the SID (its RID), which is the user's own within one domain or computer.
    pub fn number(&self) -> u32 {
        match self {
            Self::Uid(uid) => *uid,
            Self::Sid(sid) => sid.rsplit('-').next().and_then(|rid| rid.parse().ok()).unwrap_or(u32::MAX),
        }
    }
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uid(uid) => uid.fmt(f),
            Self::Sid(sid) => sid.fmt(f),
        }
    }
}

/// A running process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// When it started: clock ticks since boot on Linux, 100 nanoseconds since 1601 on Windows.
    pub started: u64,
    /// The program it runs.
    pub program: FileId,
}
