//! Asking for the mail password where there is no terminal: the system's own dialog.

use std::{io, ptr::null};

use windows_sys::Win32::{
    Foundation::{ERROR_CANCELLED, NO_ERROR},
    Security::Credentials::{
        CREDUI_FLAGS_ALWAYS_SHOW_UI, CREDUI_FLAGS_DO_NOT_PERSIST, CREDUI_FLAGS_GENERIC_CREDENTIALS,
        CREDUI_FLAGS_KEEP_USERNAME, CREDUI_INFOW, CREDUI_MAX_USERNAME_LENGTH, CredUIPromptForCredentialsW,
    },
};

use super::wide;

/// The system's flags: a user name and a password of our own kind, which only we keep; the name stays as it is.
pub const FLAGS: u32 = CREDUI_FLAGS_GENERIC_CREDENTIALS
    | CREDUI_FLAGS_ALWAYS_SHOW_UI
    | CREDUI_FLAGS_DO_NOT_PERSIST
    | CREDUI_FLAGS_KEEP_USERNAME;

// GENERIC_CREDENTIALS 0x40000, ALWAYS_SHOW_UI 0x80, DO_NOT_PERSIST 2, KEEP_USERNAME 0x100000, as Windows documents them.
const _: () = assert!(FLAGS == 0x14_0082);

/// Characters of a password, the most that the system's dialog takes (`CREDUI_MAX_PASSWORD_LENGTH`).
const PASSWORD_LENGTH: usize = 256;

/// Asks for the mail password of `user`.
///
/// # Errors
/// `Interrupted` when the user cancels; else from the system.
pub fn ask_password(user: &str) -> io::Result<String> {
    let (caption, text) = (wide("Lockstep Connector"), wide(format!("The mail password of {user}")));
    let about = CREDUI_INFOW {
        cbSize: u32::try_from(size_of::<CREDUI_INFOW>()).unwrap_or_default(),
        pszMessageText: text.as_ptr(),
        pszCaptionText: caption.as_ptr(),
        ..Default::default()
    };
    let mut name: Vec<u16> = wide(user);
    name.resize(CREDUI_MAX_USERNAME_LENGTH as usize + 1, 0);
    let mut password = vec![0u16; PASSWORD_LENGTH + 1];
    let mut save = 0;
    // SAFETY: the buffers are as big as is said, the texts end with a zero, and all outlive the call.
    let failed = unsafe {
        CredUIPromptForCredentialsW(
            &raw const about,
            wide("Lockstep Connector").as_ptr(),
            null(),
            0,
            name.as_mut_ptr(),
            u32::try_from(name.len()).unwrap_or_default(),
            password.as_mut_ptr(),
            u32::try_from(password.len()).unwrap_or_default(),
            &raw mut save,
            FLAGS,
        )
    };
    let length = password.iter().position(|&unit| unit == 0).unwrap_or(password.len());
    let text = String::from_utf16_lossy(&password[..length]);
    password.fill(0);
    match failed {
        NO_ERROR => Ok(text),
        ERROR_CANCELLED => Err(io::Error::new(io::ErrorKind::Interrupted, "no password was given")),
        error => Err(io::Error::from_raw_os_error(error.cast_signed())),
    }
}
