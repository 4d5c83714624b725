//! lockstep-updater: the privileged service on every PC.
//!
//! It fetches what the vendor signed, makes it complete beside what runs, switches to it when the site's server says that it
//! is time, checks that it works here, and switches back by itself if not.
//!
//! | module | room for |
//! |---|---|
//! | [`machine`] | what is done about one product: pure |
//! | [`driver`] | carries it out |
//! | [`slots`] | versions on the disk: plan, journal, execute, recover |
//! | [`source`] | where decisions, metadata and packages come from |
//! | [`client`], [`push`], [`sse`] | the site's server |
//! | [`download`] | packages, resumable and verified |
//! | [`health`] | the machine-level rule |
//! | [`ipc`] | the socket that users' programs talk to |
//! | [`launcher`] | runs as the user: starts the active version, restarts it |
//! | [`identity`], [`record`], [`site`], [`layout`] | what is kept where |
//! | [`self_update`], [`services`] | the updater's own new version on trial; the machine's services |
//! | [`settings`] | what an administrator chose for this PC |
//! | [`history`] | what happened here |
//! | [`check`], [`diagnose`] | what people do with the service |
//! | [`install`], [`service`], [`status`] | the program's commands |
//! | [`platform`] | what differs between operating systems |

#![deny(unsafe_code)]
// A panic ends the updater (docs/adr/0021).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod check;
pub mod client;
pub mod diagnose;
pub mod download;
pub mod driver;
pub mod health;
pub mod history;
pub mod identity;
pub mod install;
pub mod ipc;
pub mod launcher;
pub mod layout;
pub mod machine;
pub mod platform;
pub mod push;
pub mod record;
pub mod self_update;
pub mod service;
pub mod services;
pub mod settings;
pub mod site;
pub mod slots;
pub mod source;
pub mod sse;
pub mod status;
pub mod texts;

/// An error and everything that led to it, in one line.
pub fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        // A transparent wrapper repeats its source.
        if !words.ends_with(&cause_words) {
            words.push_str(": ");
            words.push_str(&cause_words);
        }
        source = cause.source();
    }
    words
}
