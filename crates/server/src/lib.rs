//! `lockstep-server`: mirrors signed releases, takes check-ins, decides, warns.
//!
//! One program, one directory, no other service. The flow through it:
//!
//! ```text
//! vendor ─► mirror ──► http (/tuf) ─► PCs
//!             │ catalog
//! server's version ─► site ─► protocol::directive() ◄── clients (check-in) ◄── PCs
//!                       │            │                       │
//!                       └► push ◄────┘                     store
//!                                                            │
//!                     console, admin, warning_log ◄── preflight
//! ```
//!
//! | module | room for |
//! |---|---|
//! | [`start`] | the first start, and every start |
//! | [`config`] | `server.toml` |
//! | [`store`] | SQLite |
//! | [`mirror`], [`mirror_tasks`] | the vendor's releases, verified and served again |
//! | [`server_version`], [`site`] | what the protected servers run, and what the site wants |
//! | [`clients`], [`push`] | enrolment, check-ins, login, tickets, "ask again, now" |
//! | [`mail_gate`] | the mail server asks at each login whether a connector is too old |
//! | [`mail_login`] | a password checked by a login to the mail server |
//! | [`preflight`], [`warning_log`] | who would be cut off, by name |
//! | [`cut_off`] | who is cut off now, which PCs report trouble |
//! | [`console`], [`integration`], [`admin`] | pages and API |
//! | [`http`], [`tls`] | routes, guards, connections |

#![forbid(unsafe_code)]

pub mod admin;
pub mod app;
pub mod clients;
pub mod config;
pub mod console;
pub mod cut_off;
pub mod failure;
pub mod http;
pub mod integration;
pub mod mail_gate;
pub mod mail_login;
pub mod mirror;
pub mod mirror_tasks;
pub mod plain_text;
pub mod platform;
pub mod preflight;
pub mod push;
pub mod rate_limit;
pub mod secrets;
pub mod server_version;
pub mod settings;
pub mod site;
pub mod start;
pub mod store;
pub mod switches;
pub mod tls;
pub mod warning_log;
pub mod wishes;

#[cfg(test)]
mod tests;
