//! Fuzz targets for everything that reads bytes from outside; see [`targets`].

pub mod remembered;
pub mod targets;
#[cfg(feature = "updater")]
pub mod updater;
