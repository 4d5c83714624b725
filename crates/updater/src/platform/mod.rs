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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// The process that connected. `None`: the kernel does not tell (another container).
    pub pid: Option<i32>,
    /// When that process started, in clock ticks since boot: a process id alone can be used again.
    pub started: Option<u64>,
}

/// A running process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// When it started, in clock ticks since boot.
    pub started: u64,
    /// The program it runs.
    pub program: FileId,
}
