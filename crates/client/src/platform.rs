//! What differs between operating systems: the kind of connection, and its name.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::{Stream, connect, socket};
#[cfg(windows)]
pub use windows::{Stream, connect, socket};
