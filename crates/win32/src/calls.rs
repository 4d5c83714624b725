//! Texts as Windows takes and gives them; what it says of failures.

#![expect(unsafe_code, reason = "texts that Windows gives are pointers")]

use std::{
    ffi::{OsStr, OsString},
    io,
    os::windows::ffi::{OsStrExt, OsStringExt},
};

/// Text as Windows takes it: UTF-16 with a zero at its end.
pub fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

/// Text as Windows gives it.
///
/// # Safety
/// It must end with a zero, and stay as it is during the call.
pub unsafe fn text(text: *const u16) -> OsString {
    // SAFETY: the caller's: there is a zero.
    let length = (0..).take_while(|at| unsafe { *text.add(*at) } != 0).count();
    // SAFETY: so many units are there.
    OsString::from_wide(unsafe { std::slice::from_raw_parts(text, length) })
}

/// `Err` with what Windows says, for 0.
///
/// # Errors
/// The last error of this thread.
pub fn succeeded(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `Err` with an error number, unless it is 0.
///
/// # Errors
/// That one.
pub fn no_error(code: u32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.cast_signed())) }
}
