//! Whose a process is, as its token says.

#![expect(unsafe_code, reason = "Windows' calls for tokens take pointers")]

use std::{
    io,
    os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle},
    ptr::null_mut,
    sync::OnceLock,
};

use windows_sys::Win32::{
    Foundation::{HANDLE, LocalFree},
    Security::{
        Authorization::ConvertStringSidToSidW, CheckTokenMembership, CopySid, DuplicateTokenEx, GetTokenInformation,
        SecurityIdentification, TOKEN_DUPLICATE, TOKEN_INFORMATION_CLASS, TOKEN_QUERY, TOKEN_USER, TokenImpersonation,
        TokenSessionId, TokenUser,
    },
    System::Threading::{GetCurrentProcess, OpenProcessToken},
};

use super::{sddl::sid_text, succeeded, wide};

/// The system itself.
const SYSTEM: &str = "S-1-5-18";
/// The group of administrators.
pub const ADMINISTRATORS: &str = "S-1-5-32-544";

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
    let token = open(process.as_raw_handle(), TOKEN_QUERY | TOKEN_DUPLICATE)?;
    let sid = user(&token)?;
    let session = number(&token, TokenSessionId)?;
    let is_administrator = sid == SYSTEM || is_member(&token)?;
    Ok(Identity { sid, session, is_administrator })
}

/// The user this process runs as.
pub fn own_user() -> io::Result<String> {
    static OWN: OnceLock<String> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return Ok(own.clone());
    }
    let own = user(&own_token(TOKEN_QUERY)?)?;
    Ok(OWN.get_or_init(|| own).clone())
}

/// Whether this process is the system's or an administrator's.
pub fn is_administrator() -> bool {
    let look = || {
        let token = own_token(TOKEN_QUERY | TOKEN_DUPLICATE)?;
        Ok::<_, io::Error>(user(&token)? == SYSTEM || is_member(&token)?)
    };
    look().unwrap_or(false)
}

/// This process's token.
pub fn own_token(access: u32) -> io::Result<OwnedHandle> {
    // SAFETY: a constant that stands for this process.
    open(unsafe { GetCurrentProcess() }, access)
}

fn open(process: HANDLE, access: u32) -> io::Result<OwnedHandle> {
    let mut token = null_mut();
    // SAFETY: an open process, and a place to write to.
    succeeded(unsafe { OpenProcessToken(process, access, &raw mut token) })?;
    // SAFETY: a fresh handle, which nobody else has.
    Ok(unsafe { OwnedHandle::from_raw_handle(token) })
}

fn user(token: &OwnedHandle) -> io::Result<String> {
    // Aligned for the structure that it begins with; the SID behind it has at most 68 bytes.
    let mut room = [0_u64; 32];
    let mut length = 0;
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
    let sid = unsafe { (*room.as_ptr().cast::<TOKEN_USER>()).User.Sid };
    sid_text(sid)
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
