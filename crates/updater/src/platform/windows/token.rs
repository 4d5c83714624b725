//! Whose a process is, as its token says.

#![expect(unsafe_code, reason = "Windows' calls for tokens take pointers")]

use std::{
    io,
    os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle},
    ptr::null_mut,
};

use windows_sys::Win32::{
    Foundation::LocalFree,
    Security::{
        Authorization::ConvertStringSidToSidW, CheckTokenMembership, CopySid, DuplicateTokenEx, GetTokenInformation,
        SecurityIdentification, TOKEN_DUPLICATE, TOKEN_INFORMATION_CLASS, TOKEN_QUERY, TokenImpersonation,
        TokenSessionId,
    },
};

use win32::{ADMINISTRATORS, SYSTEM, open_token, own_token, user_of};

use super::{succeeded, wide};

/// A user, as a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's SID.
    pub sid: String,
    /// The session: 0 for services, another one for each person at the computer or a terminal.
    pub session: u32,
    /// The system, or an administrator who has agreed to it.
    pub is_administrator: bool,
}

/// Whose a process is.
pub fn of_process(process: BorrowedHandle<'_>) -> io::Result<Identity> {
    let token = open_token(process, TOKEN_QUERY | TOKEN_DUPLICATE)?;
    let sid = user_of(&token)?;
    let session = number(&token, TokenSessionId)?;
    let is_administrator = sid == SYSTEM || is_member(&token)?;
    Ok(Identity { sid, session, is_administrator })
}

/// Whether this process is the system's or an administrator's.
pub fn is_administrator() -> bool {
    let look = || {
        let token = own_token(TOKEN_QUERY | TOKEN_DUPLICATE)?;
        Ok::<_, io::Error>(user_of(&token)? == SYSTEM || is_member(&token)?)
    };
    look().unwrap_or(false)
}

fn number(token: &OwnedHandle, class: TOKEN_INFORMATION_CLASS) -> io::Result<u32> {
    let (mut number, mut length) = (0_u32, 0);
    // SAFETY: room for a number.
    succeeded(unsafe {
        GetTokenInformation(token.as_raw_handle(), class, (&raw mut number).cast(), 4, &raw mut length)
    })?;
    Ok(number)
}

/// Whether administrators are among a token's groups, and not only to be refused something.
fn is_member(token: &OwnedHandle) -> io::Result<bool> {
    let mut copy = null_mut();
    // SAFETY: an open token; a place to write to. The call below takes tokens of this kind only.
    succeeded(unsafe {
        DuplicateTokenEx(
            token.as_raw_handle(),
            TOKEN_QUERY,
            std::ptr::null(),
            SecurityIdentification,
            TokenImpersonation,
            &raw mut copy,
        )
    })?;
    // SAFETY: a fresh handle, which nobody else has.
    let copy = unsafe { OwnedHandle::from_raw_handle(copy) };
    let administrators = sid(ADMINISTRATORS)?;
    let mut is = 0;
    // SAFETY: an open token, a SID that lives through the call, and a place to write to.
    succeeded(unsafe {
        CheckTokenMembership(copy.as_raw_handle(), administrators.as_ptr().cast_mut().cast(), &raw mut is)
    })?;
    Ok(is != 0)
}

/// A SID from its text.
pub fn sid(text: &str) -> io::Result<[u64; 9]> {
    let (text, mut found) = (wide(text), null_mut());
    // SAFETY: a text that ends with a zero, and a place to write to; what comes is freed below.
    succeeded(unsafe { ConvertStringSidToSidW(text.as_ptr(), &raw mut found) })?;
    // SECURITY_MAX_SID_SIZE is 68.
    let mut sid = [0_u64; 9];
    // SAFETY: so much room is there, and both are valid.
    let copied = succeeded(unsafe { CopySid(size_of_val(&sid) as u32, sid.as_mut_ptr().cast(), found) });
    // SAFETY: to be freed so, and not used any more.
    unsafe { LocalFree(found) };
    copied.map(|()| sid)
}
