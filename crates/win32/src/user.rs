//! Whose a process is, as its token says.

#![expect(unsafe_code, reason = "Windows' calls for tokens take pointers")]

use std::{
    io,
    os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle},
    ptr::null_mut,
    sync::OnceLock,
};

use windows_sys::Win32::{
    Foundation::LocalFree,
    Security::{Authorization::ConvertSidToStringSidW, GetTokenInformation, PSID, TOKEN_QUERY, TOKEN_USER, TokenUser},
    System::Threading::{GetCurrentProcess, OpenProcessToken},
};

use crate::{succeeded, text};

/// The system itself.
pub const SYSTEM: &str = "S-1-5-18";
/// The group of administrators.
pub const ADMINISTRATORS: &str = "S-1-5-32-544";

/// The user this process runs as, `S-1-5-…`.
///
/// # Errors
/// Whatever Windows says.
pub fn own_user() -> io::Result<&'static str> {
    static OWN: OnceLock<String> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return Ok(own);
    }
    let own = user_of(&own_token(TOKEN_QUERY)?)?;
    Ok(OWN.get_or_init(|| own))
}

/// This process's token.
///
/// # Errors
/// Whatever Windows says.
pub fn own_token(access: u32) -> io::Result<OwnedHandle> {
    // SAFETY: a constant that stands for this process, and is never closed.
    open_token(unsafe { BorrowedHandle::borrow_raw(GetCurrentProcess()) }, access)
}

/// A process's token.
///
/// # Errors
/// Whatever Windows says.
pub fn open_token(process: BorrowedHandle<'_>, access: u32) -> io::Result<OwnedHandle> {
    let mut token = null_mut();
    // SAFETY: an open process, and a place to write to.
    succeeded(unsafe { OpenProcessToken(process.as_raw_handle(), access, &raw mut token) })?;
    // SAFETY: a fresh handle, which nobody else has.
    Ok(unsafe { OwnedHandle::from_raw_handle(token) })
}

/// The user that a token stands for.
///
/// # Errors
/// Whatever Windows says.
pub fn user_of(token: &OwnedHandle) -> io::Result<String> {
    // Aligned for the structure that it begins with; the SID behind it has at most 68 bytes (`SECURITY_MAX_SID_SIZE`).
    let (mut room, mut length) = ([0_u64; 32], 0);
    // SAFETY: so much room is there.
    succeeded(unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            room.as_mut_ptr().cast(),
            size_of_val(&room) as u32,
            &raw mut length,
        )
    })?;
    // SAFETY: the call has put this structure there; its SID lies behind it, in the same room.
    unsafe { sid_text((*room.as_ptr().cast::<TOKEN_USER>()).User.Sid) }
}

/// A SID as text.
///
/// # Safety
/// It must be one.
///
/// # Errors
/// Whatever Windows says.
pub unsafe fn sid_text(sid: PSID) -> io::Result<String> {
    let mut found = null_mut();
    // SAFETY: the caller's: a SID; the text is freed below.
    succeeded(unsafe { ConvertSidToStringSidW(sid, &raw mut found) })?;
    // SAFETY: Windows has ended the text with a zero.
    let words = unsafe { text(found) }.to_string_lossy().into_owned();
    // SAFETY: to be freed so, and not used any more.
    unsafe { LocalFree(found.cast()) };
    Ok(words)
}
