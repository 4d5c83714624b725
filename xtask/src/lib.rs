//! Lockstep's chores, and the site in a box that `demo`, the whole-system tests and the benchmarks share.
//!
//! | module | room for |
//! |---|---|
//! | [`packages`] | the system packages that a step needs, installed or named |
//! | [`programs`] | building Lockstep's programs, older releases included |
//! | [`mail_rig`] | a real mail server, a real mail client, and child processes that never outlive us |
//! | [`browser`] | a real browser: Chromium |
//! | [`webmail`] | a real WebMail: Roundcube, and people who use it |
//! | [`elevation_rig`] | people who are asked for the administrator's password: sudo and polkit |
//! | [`story`] | a vendor, a site and its PCs, and the main job from beginning to end |
//! | [`nspawn`] | PCs with a real systemd: they boot, reboot and lose power |
//! | [`mod@dist`] | the programs as shipped, and Debian packages |
//! | [`mod@bench`] | the figures |
//! | [`soak`] | the long runs, resumable |

#![forbid(unsafe_code)]

pub mod bench;
pub mod browser;
pub mod ci;
pub mod demo;
pub mod dist;
pub mod docs;
pub mod nspawn;
pub mod packages;
pub mod programs;
pub mod soak;
pub mod story;
pub mod tests;
pub mod webmail;

use std::path::PathBuf;

pub use elevation_rig;
pub use mail_rig::{self, client as mail_client, process};

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").components().fold(PathBuf::new(), |mut path, part| {
        match part {
            std::path::Component::ParentDir => {
                path.pop();
            }
            other => path.push(other),
        }
        path
    })
}
