//! Where libraries are looked for.

#![expect(unsafe_code, reason = "the call is not in the standard library")]

use windows_sys::Win32::System::LibraryLoader::{LOAD_LIBRARY_SEARCH_SYSTEM32, SetDefaultDllDirectories};

/// From here on libraries without a path come from Windows' own folder alone: not from the program's, where a user may have put
/// one beside an installer that an administrator runs, nor from the working directory or `PATH`. Those that the program names in its
/// file are loaded before; they are Windows' own, most of them from where nothing else is looked at (`KnownDLLs`).
pub fn from_windows_only() {
    // SAFETY: a number only. Windows 10 always has it; what has not goes on as before.
    unsafe { SetDefaultDllDirectories(LOAD_LIBRARY_SEARCH_SYSTEM32) };
}
