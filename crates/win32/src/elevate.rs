//! Starting a program with the administrator's rights: User Account Control asks whoever sits there.
//!
//! | attack, or mishap | answer |
//! |---|---|
//! | an argument that is read as two, or as an option | quoted by the rules of `CommandLineToArgvW` ([`command_line()`]); no shell |
//! | a program found elsewhere than meant | its full path; the system's directory as the current one |
//! | a prompt that nobody answers | User Account Control takes it back after two minutes |

#![expect(unsafe_code, reason = "the shell's call takes pointers")]

use std::{io, path::Path, ptr::null, time::Duration};

use windows_sys::Win32::{
    Foundation::{CloseHandle, ERROR_CANCELLED, WAIT_OBJECT_0, WAIT_TIMEOUT},
    System::{
        Com::{COINIT_APARTMENTTHREADED, COINIT_DISABLE_OLE1DDE, CoInitializeEx, CoUninitialize},
        SystemInformation::GetSystemDirectoryW,
        Threading::{GetExitCodeProcess, WaitForSingleObject},
    },
    UI::{
        Shell::{
            SEE_MASK_FLAG_NO_UI, SEE_MASK_NOASYNC, SEE_MASK_NOCLOSEPROCESS, SEE_MASK_UNICODE, SHELLEXECUTEINFOW,
            ShellExecuteExW,
        },
        WindowsAndMessaging::SW_HIDE,
    },
};

use crate::{command_line, wide};

/// The verb that makes the shell ask for the administrator's rights.
pub const VERB: &str = "runas";

/// How the shell is asked: the process is handed over, the work is done before the call returns (the thread that makes it does
/// nothing else), and errors are told, not shown.
pub const MASK: u32 = SEE_MASK_NOCLOSEPROCESS | SEE_MASK_NOASYNC | SEE_MASK_FLAG_NO_UI | SEE_MASK_UNICODE;

/// What the system says when the prompt is answered with no (`ERROR_CANCELLED`).
pub const REFUSED: i32 = ERROR_CANCELLED.cast_signed();

// As Windows documents them: SEE_MASK_NOCLOSEPROCESS 0x40, NOASYNC 0x100, FLAG_NO_UI 0x400, UNICODE 0x4000; 1223.
const _: () = assert!(MASK == 0x4540 && REFUSED == 1223);

/// What became of a program that was to run with the administrator's rights.
#[derive(Debug)]
pub enum Elevated {
    /// It ran; its exit code.
    Ended(u32),
    /// The prompt was answered with no.
    Refused,
    /// It did not end in time, and goes on.
    StillRuns,
    /// It was not started.
    Failed(io::Error),
}

/// Runs `program` with the administrator's rights and waits for its end, so long at most. It sets up COM for the thread that it is
/// called on, which should have been made for it.
pub fn run_elevated(program: &Path, words: &[impl AsRef<str>], patience: Duration) -> Elevated {
    let parameters = wide(command_line(words));
    let (verb, file) = (wide(VERB), wide(program));
    let directory = system_directory();
    let mut order = SHELLEXECUTEINFOW {
        cbSize: u32::try_from(size_of::<SHELLEXECUTEINFOW>()).unwrap_or_default(),
        fMask: MASK,
        lpVerb: verb.as_ptr(),
        lpFile: file.as_ptr(),
        lpParameters: parameters.as_ptr(),
        lpDirectory: directory.as_ptr(),
        nShow: SW_HIDE,
        ..Default::default()
    };
    let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX - 1);
    // SAFETY: COM is set up for this thread alone and taken down on it; the order's texts end with a zero and outlive the
    // call; the process is closed once.
    unsafe {
        let com = CoInitializeEx(null(), (COINIT_APARTMENTTHREADED | COINIT_DISABLE_OLE1DDE).cast_unsigned());
        let started = ShellExecuteExW(&raw mut order);
        let error = io::Error::last_os_error();
        if com >= 0 {
            CoUninitialize();
        }
        if started == 0 {
            return not_started(error);
        }
        if order.hProcess.is_null() {
            return Elevated::Failed(io::Error::other("the system has not said which process it started"));
        }
        let ended = match WaitForSingleObject(order.hProcess, millis) {
            WAIT_OBJECT_0 => {
                let mut code = 0;
                match GetExitCodeProcess(order.hProcess, &raw mut code) {
                    0 => Elevated::Failed(io::Error::last_os_error()),
                    _ => Elevated::Ended(code),
                }
            }
            WAIT_TIMEOUT => Elevated::StillRuns,
            _ => Elevated::Failed(io::Error::last_os_error()),
        };
        CloseHandle(order.hProcess);
        ended
    }
}

/// Where nobody but an administrator can put anything that a program might find.
fn system_directory() -> [u16; 261] {
    let mut path = [0; 261];
    // SAFETY: so much room is there, and the last unit stays zero. Where it does not fit, there is none, which is the usual one.
    unsafe { GetSystemDirectoryW(path.as_mut_ptr(), 260) };
    path
}

fn not_started(error: io::Error) -> Elevated {
    if error.raw_os_error() == Some(REFUSED) { Elevated::Refused } else { Elevated::Failed(error) }
}
