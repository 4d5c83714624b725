//! PCs with Windows programs, for the tests: Wine prefixes that are switched on, run programs and lose power.
//!
//! A fresh PC costs a few hundredths of a second: its files are hard links to a base prefix that is made once ([`base()`]).
//! Each has its own registry, its own `wineserver` (the machine's kernel, as it were) and, if it is wanted, its own network and host
//! name. Only what was started here is ended: `wineserver -k` of that very prefix.
//!
//! | module | room for |
//! |---|---|
//! | [`mod@base`] | the prefix that every PC begins as, made once |
//! | [`pc`] | a PC: power, files |
//! | [`run`] | running programs: command lines word for word, whole exit codes |
//! | [`registry`] | reading and writing its registry |
//! | [`consent`] | a user without an administrator's rights, and what they are asked |
//! | [`place`] | a network and a host name of its own |
//! | [`screen`] | a screen, and pictures of it |
//!
//! What Wine does not enforce (access lists, impersonation, services' recovery) tests here cannot show; docs/windows-checklist.md
//! lists it. The packages are not installed here; `cargo xtask test` does that.

#![forbid(unsafe_code)]
#![cfg(unix)]

pub mod base;
pub mod consent;
pub mod pc;
pub mod place;
pub mod registry;
pub mod run;
pub mod screen;

pub use base::base;
pub use consent::{Answer, Asked};
pub use pc::Pc;
pub use registry::{Key, Value};
pub use run::Ran;
pub use screen::Screen;

use std::{process::Command, time::Duration};

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(90);

/// A command with what Wine wants to know: quiet, no downloads of Mono and Gecko, no entries in the desktop's menus.
fn wine_command(program: &str, prefix: &std::path::Path) -> Command {
    let mut command = Command::new(program);
    for name in ["DISPLAY", "WAYLAND_DISPLAY", "WINEARCH", "WINELOADER", "WINESERVER"] {
        command.env_remove(name);
    }
    command.env("WINEPREFIX", prefix).env("WINEDEBUG", "-all");
    command.env("WINEDLLOVERRIDES", "mscoree=;mshtml=;winemenubuilder.exe=");
    // Wine makes a user's folders links to folders of the home directory: never to ours.
    command.env("HOME", prefix).env("XDG_CONFIG_HOME", prefix.join("nothing"));
    command
}
