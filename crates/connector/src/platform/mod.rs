//! What differs between the systems that the connector runs on.

#[cfg(unix)]
mod desktop;
#[cfg(unix)]
pub use desktop::Desktop;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::*;

#[cfg(any(windows, test))]
pub(crate) mod values;

#[cfg(windows)]
pub(crate) mod windows;
#[cfg(windows)]
pub use windows::*;
