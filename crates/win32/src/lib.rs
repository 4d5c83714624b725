//! What more than one of Lockstep's programs asks of Windows. What one alone needs lies in its own `platform/windows`.
//!
//! | module | room for |
//! |---|---|
//! | [`command_line()`] | words that stay what they are |
//! | `calls` | texts as Windows takes and gives them; what it says of failures |
//! | `access` | access lists |
//! | `user` | whose a process is |
//! | `files` | known folders, renames, free space |
//! | `console` | output of a program that has no console of its own |
//! | `libraries` | where libraries come from |
//! | `elevate` | the administrator's rights, for which somebody is asked |
//! | `message` | boxes with words in them |
//! | `stop` | asking such a program to end |

#![deny(unsafe_code)]

mod command_line;
pub use command_line::command_line;

#[cfg(windows)]
mod access;
#[cfg(windows)]
mod calls;
#[cfg(windows)]
pub mod console;
#[cfg(windows)]
mod elevate;
#[cfg(windows)]
mod files;
#[cfg(windows)]
mod libraries;
#[cfg(windows)]
pub mod message;
#[cfg(windows)]
mod stop;
#[cfg(windows)]
mod user;

#[cfg(windows)]
pub use access::Descriptor;
#[cfg(windows)]
pub use calls::{no_error, succeeded, text, wide};
#[cfg(windows)]
pub use elevate::{Elevated, MASK, REFUSED, VERB, run_elevated};
#[cfg(windows)]
pub use files::{free_space, known_folder, replace};
#[cfg(windows)]
pub use libraries::from_windows_only;
#[cfg(windows)]
pub use stop::{StopWish, ask_to_stop, on_stop, stop_event};
#[cfg(windows)]
pub use user::{ADMINISTRATORS, SYSTEM, open_token, own_token, own_user, sid_text, user_of};
