//! A program without a console of its own, so that no black window appears at sign-in. Typed into a terminal, it prints there.

#![expect(unsafe_code, reason = "Windows' calls for consoles take pointers")]

use windows_sys::Win32::{
    Foundation::{GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE},
    Storage::FileSystem::{CreateFileW, FILE_SHARE_READ, FILE_SHARE_WRITE, OPEN_EXISTING},
    System::Console::{
        ATTACH_PARENT_PROCESS, AttachConsole, GetConsoleCP, GetStdHandle, STD_ERROR_HANDLE, STD_HANDLE,
        STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, SetStdHandle,
    },
};

use crate::wide;

/// Uses the terminal that the program was started from, if there is one. What was redirected stays so.
pub fn attach() {
    // SAFETY: the call has no memory to look at. Without a console nothing happens, which is as good.
    if unsafe { AttachConsole(ATTACH_PARENT_PROCESS) } == 0 {
        return;
    }
    for (which, name) in [(STD_INPUT_HANDLE, "CONIN$"), (STD_OUTPUT_HANDLE, "CONOUT$"), (STD_ERROR_HANDLE, "CONOUT$")] {
        if !is_there(which) {
            open(which, name);
        }
    }
}

/// Whether there is a console: the terminal that the program was started from.
pub fn is_attached() -> bool {
    // SAFETY: the call has no memory to look at.
    unsafe { GetConsoleCP() != 0 }
}

/// Whether somebody could read what is written to standard error: a terminal, a file, a pipe.
pub fn has_stderr() -> bool {
    is_there(STD_ERROR_HANDLE)
}

fn is_there(which: STD_HANDLE) -> bool {
    // SAFETY: the call has no memory to look at.
    let handle = unsafe { GetStdHandle(which) };
    !handle.is_null() && handle != INVALID_HANDLE_VALUE
}

fn open(which: STD_HANDLE, name: &str) {
    // SAFETY: the name ends with a zero. The handle stays open for as long as the program runs, as standard handles do.
    unsafe {
        let sharing = FILE_SHARE_READ | FILE_SHARE_WRITE;
        let nothing = std::ptr::null_mut();
        let access = GENERIC_READ | GENERIC_WRITE;
        let handle = CreateFileW(wide(name).as_ptr(), access, sharing, std::ptr::null(), OPEN_EXISTING, 0, nothing);
        if handle != INVALID_HANDLE_VALUE {
            SetStdHandle(which, handle);
        }
    }
}
