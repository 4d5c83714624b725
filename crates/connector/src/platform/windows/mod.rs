//! Windows.
//!
//! | module | room for |
//! |---|---|
//! | [`access`] | files and folders that belong to this user alone |
//! | [`elevate`] | asking for the administrator's rights |
//! | [`folders`] | where things belong |
//! | [`password`] | asking for the mail password where there is no terminal |
//! | [`process`] | this process and those that it starts |
//! | [`registry`] | reading and writing values |
//! | [`tray`] | the icon beside the clock, its menu, its notifications and the status window |

// Everything here is calls to the system; each of them says why it is sound.
#![expect(unsafe_code, reason = "calls to the system take pointers")]

mod access;
pub mod elevate;
mod folders;
mod icon;
mod password;
mod process;
pub mod registry;
pub mod tray;

use std::{sync::Arc, time::Duration};

pub use access::{create_private, make_private, open_private, replace_durably};
pub use elevate::{Elevated, announce, ask_yes_or_no, can_elevate, can_show_windows, elevate, is_elevated, tell};
pub use folders::{
    active_version, autostart, disk_free, hostname, hostname_file, launcher, listed_updater, machine_starts_it,
    programs, settings, user_data,
};
pub use password::ask_password;
pub use process::{asked_to_stop, become_program, detach, end_session, own_process};
pub use tray::Desktop;
pub(crate) use win32::wide;
pub use win32::{ask_to_stop, console};

/// Name of the way to the administrator's rights that is taken where nothing else is configured: User Account Control.
pub const ELEVATION: &str = "uac";

/// The last part of the first account's SID that a person has made (1000 is the administrators' own).
pub const FIRST_USER: u32 = 1001;

/// The last part of this user's SID (its RID).
pub fn user_number() -> u32 {
    let sid = win32::own_user().ok();
    sid.and_then(|sid| sid.rsplit('-').next()).and_then(|rid| rid.parse().ok()).unwrap_or(FIRST_USER)
}

/// The system's keyring: the Credential Manager, where a secret is kept under the user's own key (`CredWrite`).
///
/// # Errors
/// When it cannot be opened.
pub fn system_keyring() -> Option<keyring_core::Result<Arc<keyring_core::CredentialStore>>> {
    Some(windows_native_keyring_store::Store::new().map(|store| store as Arc<keyring_core::CredentialStore>))
}

/// Lets the system find out within about two minutes that the other side is gone, as after sleep or a change of network
/// (`SIO_KEEPALIVE_VALS`).
///
/// # Errors
/// From the system; the connection works without it.
pub fn keep_alive(stream: &tokio::net::TcpStream) -> std::io::Result<()> {
    use std::os::windows::io::AsRawSocket;

    use windows_sys::Win32::Networking::WinSock::{SIO_KEEPALIVE_VALS, SOCKET, WSAIoctl, tcp_keepalive};
    let millis = |seconds| u32::try_from(Duration::from_secs(seconds).as_millis()).unwrap_or(u32::MAX);
    let wanted = tcp_keepalive { onoff: 1, keepalivetime: millis(60), keepaliveinterval: millis(5) };
    let mut returned = 0;
    // SAFETY: the socket is open while `stream` is borrowed; input and its size match, and there is no output.
    let failed = unsafe {
        WSAIoctl(
            stream.as_raw_socket() as SOCKET,
            SIO_KEEPALIVE_VALS,
            (&raw const wanted).cast(),
            u32::try_from(size_of_val(&wanted)).unwrap_or_default(),
            std::ptr::null_mut(),
            0,
            &raw mut returned,
            std::ptr::null_mut(),
            None,
        )
    };
    if failed == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
