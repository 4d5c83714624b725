//! `lockstep-connector`: an offline mailbox for any mail program.
//!
//! It is an IMAP and submission server on 127.0.0.1 for the user's own mail program, and an IMAP and submission client
//! towards the mail server. Between the two stands the gate: when the site's server says that this version cannot work
//! with the mail server, nothing goes to or comes from it, and everything local goes on.
//!
//! | module | room for |
//! |---|---|
//! | [`profile`], [`account`], [`secrets`], [`live`], [`settings`] | which site, who, with which secrets, and what of it may change |
//! | [`setup`] | makes an account on this PC |
//! | [`gate`], [`gatekeeper`] | online, offline, upgrading: a pure machine, and who holds it |
//! | [`checkin`], [`server_client`], [`sse`] | asking the site's server and the local updater |
//! | [`installer`], [`autostart`] | upgrading without an updater, making room for the machine's connector; starting at login |
//! | [`notices`] | telling the user who is cut off: a desktop notification, a local message |
//! | [`upstream`], [`sync`] | IMAP towards the mail server: the client, and keeping both sides the same |
//! | [`submission`], [`outbox`] | submission towards the mail server: the client, and what waits to be sent |
//! | [`local`], [`opening`] | the local IMAP and submission servers, the thread that the store lives on, and its opening |
//! | [`run`], [`instance`], [`status`], [`self_check`] | the running program |
//! | [`diagnostics`], [`log_file`], `tray` | for whoever helps; the log on Windows; what its icon beside the clock shows |
//! | [`removal`], [`words`] | taking the connector away from an account; what a user can do, in their system's words |
//! | [`files`], [`clock`], [`backoff`], [`platform`] | private files, time, patience, systems |

pub mod account;
#[cfg_attr(windows, path = "platform/windows/run_key.rs")]
pub mod autostart;
pub mod backoff;
pub mod checkin;
pub mod clock;
pub mod diagnostics;
pub mod files;
pub mod gate;
pub mod gatekeeper;
pub mod installer;
pub mod instance;
pub mod live;
pub mod local;
pub mod log_file;
pub mod notices;
pub mod opening;
pub mod outbox;
pub mod platform;
pub mod profile;
pub mod removal;
pub mod run;
pub mod secrets;
pub mod self_check;
pub mod server_client;
pub mod settings;
pub mod setup;
pub mod sse;
pub mod status;
pub mod submission;
pub mod sync;
#[cfg(any(windows, test))]
pub mod tray;
pub mod upstream;
pub mod words;
