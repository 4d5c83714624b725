//! Starting a program with the administrator's rights: User Account Control asks whoever sits there.
//!
//! UAC shows the program's name and who signed it, and nothing of our own; a program in the background that asks for it only
//! blinks in the task bar. So a question of ours comes first ([`announce`]): it says who asks and why, and answering it brings
//! this program to the front, and with it the prompt.
//!
//! | attack, or mishap | answer |
//! |---|---|
//! | an argument that is read as two, a program found elsewhere than meant | [`win32::run_elevated`] |
//! | a question that nobody answers | [`announce`] is taken back in time; UAC takes its own back after two minutes |
//! | asked where nobody can be asked | a user who runs with the administrator's rights already is not asked ([`is_elevated`]) |

use std::{ffi::OsStr, io, os::windows::io::AsRawHandle, path::Path, ptr::null_mut, time::Duration};

use win32::{run_elevated, wide};
use windows_sys::Win32::{
    Security::{GetTokenInformation, TOKEN_ELEVATION, TOKEN_QUERY, TokenElevation},
    System::{
        StationsAndDesktops::{GetProcessWindowStation, GetUserObjectInformationW, UOI_FLAGS, USEROBJECTFLAGS},
        Threading::GetCurrentThreadId,
    },
    UI::WindowsAndMessaging::{
        IDCANCEL, MB_DEFBUTTON1, MB_ICONINFORMATION, MB_OKCANCEL, MB_SETFOREGROUND, MB_TOPMOST, MESSAGEBOX_STYLE,
        MessageBoxW, PostThreadMessageW, WM_QUIT, WSF_VISIBLE,
    },
};

pub use win32::{Elevated, REFUSED};

/// What its boxes are called.
const TITLE: &str = "Lockstep Connector";

/// What the question before the prompt looks like: "OK" and "Cancel", in front of the other windows.
pub const QUESTION: MESSAGEBOX_STYLE = MB_OKCANCEL | MB_ICONINFORMATION | MB_DEFBUTTON1 | MB_SETFOREGROUND | MB_TOPMOST;

// As Windows documents them: MB_OKCANCEL 1, ICONINFORMATION 0x40, SETFOREGROUND 0x10000, TOPMOST 0x40000.
const _: () = assert!(QUESTION == 0x5_0041);

/// Runs `program` with the administrator's rights and waits for its end.
pub async fn elevate(program: &Path, arguments: &[&OsStr], patience: Duration) -> Elevated {
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let program = program.to_owned();
    let done = on_a_thread(move || run_elevated(&program, &words, patience)).await;
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
    win32::message::ask_yes_or_no(TITLE, question, usual)
}

/// Tells something in a window, until it is closed.
pub fn tell(text: &str) {
    win32::message::tell(TITLE, text);
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
