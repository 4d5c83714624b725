//! What Lockstep's programs say to each other, and the pure functions that decide.
//!
//! Nothing here does I/O, reads a clock or draws a random number: time and seeds come in as
//! parameters. [`directive()`] is what the site's server answers a device; [`admit()`] is what the device
//! makes of it; [`preflight`] composes the two for a server version that is not there yet. So the
//! prediction *is* the decision (DESIGN, invariant 5).
//!
//! | module | room for |
//! |---|---|
//! | [`product`] | product names, platforms, versions |
//! | [`catalog`] | what a release says about itself in the vendor's signed metadata |
//! | [`site`] | what the administrator chose; the profile that travels beside an installer |
//! | [`device`] | what a PC reports about itself |
//! | [`policy`] | the six upgrade policies, and the one for downgrades |
//! | [`window`] | maintenance windows |
//! | [`hold`] | what an administrator keeps from being installed |
//! | [`terms`] | what a site and a machine say beyond that, and whose word counts |
//! | [`directive()`] | the server's decision |
//! | [`admit()`] | the device's decision |
//! | [`explain`] | a decision in words: what, why, how, until when, by whom |
//! | [`preflight`] | both, for a hypothetical server version |
//! | [`message`] | the HTTP messages |
//! | [`ipc`] | the verbs between the updater and the user's programs |

#![forbid(unsafe_code)]
// A panic ends the updater (docs/adr/0021).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod admit;
pub mod catalog;
pub mod device;
mod directive;
pub mod explain;
pub mod hold;
pub mod ipc;
pub mod message;
pub mod policy;
pub mod preflight;
pub mod product;
pub mod site;
mod steps;
pub mod terms;
pub mod window;

pub use admit::{Admission, Refusal, admit, look_again, staging_room};
pub use directive::{Blocked, Decision, Directive, directive, next_server_version};

/// A product's or a server's version, as in Semantic Versioning 2.0.
pub use semver::Version;

/// A point in time, written as RFC 3339 in every message.
pub use jiff::Timestamp;
