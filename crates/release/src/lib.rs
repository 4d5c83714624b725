//! Packages, and the trusted reading of a TUF repository.
//!
//! | module | room for |
//! |---|---|
//! | [`package`] | the `.lpk` format: pack, read, unpack |
//! | [`tuf`] | what the vendor signed, verified from the root pinned at installation |
//! | [`carried_root`] | the vendor's root that a program carries at its own end |
//! | [`safe_path`] | which relative paths may ever become files |
//! | `download` | fetching a package over HTTP (feature `download`) |
//! | [`durable`] | replacing a file so that a power cut leaves the old one or the new one |
//!
//! But for `download`, nothing here reads a clock or opens a connection: time and fetching come in as parameters.

#![deny(unsafe_code)]
// A panic ends the updater (docs/adr/0021).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod carried_root;
mod crypto;
#[cfg(feature = "download")]
pub mod download;
pub mod durable;
pub mod package;
mod platform;
pub mod safe_path;
pub mod tuf;
