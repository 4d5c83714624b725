//! The mail gate with a real Dovecot, the real server program, and the lines that `lockstep mail-gate` prints.

#![cfg(target_os = "linux")]

mod client;
mod hostile;
mod logins;
mod sessions;
mod site;
#[path = "../../src/tests/site/vendor.rs"]
#[expect(dead_code, reason = "other tests publish more kinds of releases")]
mod vendor;
