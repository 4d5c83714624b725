//! The figures, each from real parts in release builds.

pub mod cut_over;
pub mod migrate;
pub mod updater;
pub mod windows;
