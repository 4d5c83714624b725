//! Windows: access lists, pointer files, kernel credentials, jobs, the service manager.
//!
//! | attack | answer |
//! |---|---|
//! | a file that a user planted under a name the service uses | directories that only we can write; `open_private`: not a link, link count 1, ours |
//! | a process id that is used again by another program | its start time is compared before and after |
//! | a copy of the program under the same name | compared by volume and file number, not by path |
//! | another program makes the pipe first | first instance only; the pipe's owner is looked at by the client |
//! | what was verified is exchanged while it is used | it is held open without sharing for writing and deleting ([`open_private`]) |
//!
//! | module | room for |
//! |---|---|
//! | [`values`](super::values) | what is said to Windows word for word |
//! | `sddl` | access lists, made and looked at |
//! | `files` | directories, files, renames |
//! | `removal` | deleting what may be in use |
//! | `places` | known folders |
//! | `events` | the program's log as entries of the event log |
//! | `ending` | being asked to end |
//! | `process`, `token` | processes, and whose they are |
//! | `unprivileged` | self-checks |
//! | `foreign` | a directory of somebody else's |
//! | `pipe` | the socket that users' programs talk to |
//! | `registry` | the machine's part of it; Group Policy |
//! | [`listed`] | the entry among the installed programs |
//! | [`service`] | the service manager and the event log |

mod ending;
mod events;
mod files;
mod foreign;
pub mod listed;
mod pipe;
mod places;
mod process;
mod registry;
mod removal;
mod sddl;
pub mod service;
mod token;
mod unprivileged;

pub use ending::{asked_to_end, asked_to_end_by_the_user};
pub use events::log_to_events;
pub use files::*;
pub use foreign::ForeignDir;
pub use pipe::{Listener, Stream, forget_socket};
pub use places::{is_above, known_layout};
pub use process::*;
pub use registry::group_policy;
pub use removal::{remove_file, remove_tree, take_running_aside};
pub use sddl::{has_mode, is_sticky_of_root, written_by_us_only};
pub use unprivileged::Unprivileged;

use std::io;

use win32::{no_error, succeeded, wide};

/// Whether the computer was short of something just then: memory, page file, handles (System Error Codes, 8, 14, 1450, 1455).
pub fn is_short_of_something(error: &io::Error) -> bool {
    [8, 14, 1450, 1455].map(Some).contains(&error.raw_os_error())
}

/// Windows ends no process for want of memory.
pub fn was_killed(_status: &std::process::ExitStatus) -> bool {
    false
}

/// Whether this process may do everything: it runs as the system or as an administrator who has agreed to it.
pub fn is_root() -> bool {
    token::is_administrator()
}

/// The service manager is told by the supervisor.
pub fn notify_ready() {}

/// The service manager has no watchdog.
pub fn notify_alive() {}

/// The service manager has no watchdog.
pub fn watchdog() -> Option<std::time::Duration> {
    None
}
