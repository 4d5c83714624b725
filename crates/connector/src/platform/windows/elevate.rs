//! Starting a program with the administrator's rights: User Account Control asks whoever sits there.
//!
//! UAC shows the program's name and who signed it, and nothing of our own; a program in the background that asks for it only
//! blinks in the task bar. So a question of ours comes first ([`announce`]): it says who asks and why, and answering it brings
//! this program to the front, and with it the prompt.
//!
//! | attack, or mishap | answer |
//! |---|---|
//! | an argument that is read as two, or as an option | quoted by the rules of `CommandLineToArgvW` ([`command_line`]); no shell |
//! | a program found elsewhere than meant | its full path; the system's directory as the current one |
//! | a prompt that nobody answers | [`announce`] is taken back in time; UAC takes its own back after two minutes |
//! | asked where nobody can be asked | a user who runs with the administrator's rights already is not asked ([`is_elevated`]) |

use std::{ffi::OsStr, io, os::windows::io::AsRawHandle, path::Path, ptr::null_mut, time::Duration};

use windows_sys::Win32::{
    Foundation::{CloseHandle, ERROR_CANCELLED, WAIT_OBJECT_0, WAIT_TIMEOUT},
    Security::{GetTokenInformation, TOKEN_ELEVATION, TOKEN_QUERY, TokenElevation},
    System::{
        Com::{COINIT_APARTMENTTHREADED, COINIT_DISABLE_OLE1DDE, CoInitializeEx, CoUninitialize},
        StationsAndDesktops::{GetProcessWindowStation, GetUserObjectInformationW, UOI_FLAGS, USEROBJECTFLAGS},
        SystemInformation::GetSystemDirectoryW,
        Threading::{GetCurrentThreadId, GetExitCodeProcess, WaitForSingleObject},
    },
    UI::{
        Shell::{
            SEE_MASK_FLAG_NO_UI, SEE_MASK_NOASYNC, SEE_MASK_NOCLOSEPROCESS, SEE_MASK_UNICODE, SHELLEXECUTEINFOW,
            ShellExecuteExW,
        },
        WindowsAndMessaging::{
            IDCANCEL, IDNO, IDYES, MB_DEFBUTTON1, MB_DEFBUTTON2, MB_ICONINFORMATION, MB_ICONQUESTION, MB_OKCANCEL,
            MB_SETFOREGROUND, MB_TOPMOST, MB_YESNOCANCEL, MESSAGEBOX_STYLE, MessageBoxW, PostThreadMessageW, SW_HIDE,
            WM_QUIT, WSF_VISIBLE,
        },
    },
};

use win32::{command_line, wide};

/// The verb that makes the shell ask for the administrator's rights.
pub const VERB: &str = "runas";

/// How the shell is asked: the process is handed over, the work is done before the call returns (the thread that makes it does
/// nothing else), and errors are told, not shown.
pub const MASK: u32 = SEE_MASK_NOCLOSEPROCESS | SEE_MASK_NOASYNC | SEE_MASK_FLAG_NO_UI | SEE_MASK_UNICODE;

/// What the system says when the prompt is answered with no (`ERROR_CANCELLED`).
pub const REFUSED: i32 = ERROR_CANCELLED.cast_signed();

/// What the question before the prompt looks like: "OK" and "Cancel", in front of the other windows.
pub const QUESTION: MESSAGEBOX_STYLE = MB_OKCANCEL | MB_ICONINFORMATION | MB_DEFBUTTON1 | MB_SETFOREGROUND | MB_TOPMOST;

// As Windows documents them: SEE_MASK_NOCLOSEPROCESS 0x40, NOASYNC 0x100, FLAG_NO_UI 0x400, UNICODE 0x4000; 1223; MB_OKCANCEL 1,
// ICONINFORMATION 0x40, SETFOREGROUND 0x10000, TOPMOST 0x40000.
const _: () = assert!(MASK == 0x4540 && REFUSED == 1223 && QUESTION == 0x5_0041);

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

/// Runs `program` with the administrator's rights and waits for its end.
pub async fn elevate(program: &Path, arguments: &[&OsStr], patience: Duration) -> Elevated {
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    let (program, parameters) = (program.to_owned(), command_line(&words));
    let done = on_a_thread(move || start(&program, &parameters, patience)).await;
    done.unwrap_or_else(|| Elevated::Failed(io::Error::other("the thread that asks has ended")))
}

/// Asks the user whether to go on, in words of our own. `false`: the answer was no, or none came in time. Where nothing can be
/// shown the system's own prompt has to do.
pub async fn announce(title: &str, text: &str, patience: Duration) -> bool {
    let (title, text) = (wide(title), wide(text));
    let (tell, thread) = tokio::sync::oneshot::channel();
    let asking = on_a_thread(move || {
        // SAFETY: the call has no memory to look at.
        // Nobody needs the thread's number when nobody waits any more.
        let _ = tell.send(unsafe { GetCurrentThreadId() });
        // SAFETY: both texts end with a zero and outlive the call.
        unsafe { MessageBoxW(null_mut(), text.as_ptr(), title.as_ptr(), QUESTION) }
    });
    match tokio::time::timeout(patience, asking).await {
        Ok(answer) => answer != Some(IDCANCEL),
        Err(_) => {
            if let Ok(thread) = thread.await {
                // SAFETY: the call has no memory to look at; the box's own loop ends by it.
                unsafe { PostThreadMessageW(thread, WM_QUIT, 0, 0) };
            }
            false
        }
    }
}

/// Asks, in a window, a question that is answered with yes or no. `None`: there is nobody to ask, or it was closed.
pub fn ask_yes_or_no(question: &str, usual: bool) -> Option<bool> {
    let (title, text) = (wide("Lockstep Connector"), wide(question));
    let button = if usual { MB_DEFBUTTON1 } else { MB_DEFBUTTON2 };
    let style = MB_YESNOCANCEL | MB_ICONQUESTION | button | MB_SETFOREGROUND | MB_TOPMOST;
    // SAFETY: both texts end with a zero and outlive the call.
    match unsafe { MessageBoxW(null_mut(), text.as_ptr(), title.as_ptr(), style) } {
        IDYES => Some(true),
        IDNO => Some(false),
        _ => None,
    }
}

/// Tells something in a window, until it is closed.
pub fn tell(text: &str) {
    let (title, text) = (wide("Lockstep Connector"), wide(text));
    let style = MB_ICONINFORMATION | MB_SETFOREGROUND | MB_TOPMOST;
    // SAFETY: both texts end with a zero and outlive the call.
    unsafe { MessageBoxW(null_mut(), text.as_ptr(), title.as_ptr(), style) };
}

/// Whether this process's windows are seen by somebody: its window station is one that shows (`WSF_VISIBLE`), as a service's is not.
pub fn can_show_windows() -> bool {
    let mut flags = USEROBJECTFLAGS::default();
    // SAFETY: the station is this process's own and stays; so much room is there.
    let told = unsafe {
        GetUserObjectInformationW(
            GetProcessWindowStation(),
            UOI_FLAGS,
            (&raw mut flags).cast(),
            u32::try_from(size_of::<USEROBJECTFLAGS>()).unwrap_or_default(),
            null_mut(),
        )
    };
    told != 0 && flags.dwFlags & WSF_VISIBLE.cast_unsigned() != 0
}

/// Whether there is a way to ask for the administrator's rights here.
///
/// # Errors
/// Never, on Windows.
pub fn can_elevate() -> Result<(), &'static str> {
    Ok(())
}

/// Whether this process has the administrator's rights already, so that nobody would be asked.
pub fn is_elevated() -> bool {
    let Ok(token) = win32::own_token(TOKEN_QUERY) else { return false };
    let mut elevation = TOKEN_ELEVATION::default();
    let size = u32::try_from(size_of_val(&elevation)).unwrap_or_default();
    let mut returned = 0;
    // SAFETY: an open token; the buffer is as big as is said.
    let told = unsafe {
        let token = token.as_raw_handle();
        GetTokenInformation(token, TokenElevation, (&raw mut elevation).cast(), size, &raw mut returned)
    };
    told != 0 && elevation.TokenIsElevated != 0
}

fn start(program: &Path, parameters: &str, patience: Duration) -> Elevated {
    let (verb, file, parameters) = (wide(VERB), wide(program), wide(parameters));
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
        let com = CoInitializeEx(std::ptr::null(), (COINIT_APARTMENTTHREADED | COINIT_DISABLE_OLE1DDE).cast_unsigned());
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

/// On a thread of its own: the shell and message boxes block, and have a message loop of their own.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("elevation".into());
    thread
        .spawn(move || {
            // Nobody waits any more when it took too long.
            let _ = tell.send(work());
        })
        .inspect_err(|error| tracing::error!(%error, "nobody can be asked"))
        .ok()?;
    told.await.ok()
}
