//! The real programs for Windows, under Wine: the same driver, journal, slots and recovery as on Linux.
//!
//! `cargo xtask test` builds them once, before any test. What Wine does not enforce stands in docs/windows-checklist.md.

mod cuts;
mod held;
mod hostile;
mod pc;
mod service;
mod upgrade;
