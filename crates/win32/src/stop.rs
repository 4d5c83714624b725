//! How a program of a user's session that has no console is asked to end: an event whose name holds its process id. Only this user's
//! programs of this session can set it.

#![expect(unsafe_code, reason = "Windows' calls for events take pointers")]

use std::{
    io,
    os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle},
    ptr::null,
};

use windows_sys::Win32::{
    Foundation::WAIT_OBJECT_0,
    System::Threading::{CreateEventW, EVENT_MODIFY_STATE, INFINITE, OpenEventW, SetEvent, WaitForSingleObject},
};

use crate::{succeeded, wide};

/// The name of the event that makes a process end.
pub fn stop_event(pid: u32) -> String {
    format!(r"Local\LockstepStop-{pid}")
}

/// The wish that a process ends. It is kept until that has happened: a process that has just been started finds it when it
/// looks for the first time.
#[derive(Debug)]
pub struct StopWish {
    _event: OwnedHandle,
}

impl StopWish {
    /// Asks a process to end.
    ///
    /// # Errors
    /// When an event of that name is somebody else's.
    pub fn of(pid: u32) -> io::Result<Self> {
        let event = event(pid)?;
        // SAFETY: an open event.
        succeeded(unsafe { SetEvent(event.as_raw_handle()) })?;
        Ok(Self { _event: event })
    }
}

/// Asks a process to end that waits for it already.
///
/// # Errors
/// From the system: none with that number waits for it.
pub fn ask_to_stop(pid: u32) -> io::Result<()> {
    // SAFETY: the name ends with a zero.
    let event = unsafe { OpenEventW(EVENT_MODIFY_STATE, 0, wide(stop_event(pid)).as_ptr()) };
    if event.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh handle, which nobody else has.
    let event = unsafe { OwnedHandle::from_raw_handle(event) };
    // SAFETY: an open event.
    succeeded(unsafe { SetEvent(event.as_raw_handle()) })
}

/// Calls `tell` on another thread as soon as somebody wishes that this process ends.
///
/// # Errors
/// When it cannot be waited for.
pub fn on_stop(tell: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let event = event(std::process::id())?;
    let wait = move || {
        // SAFETY: an open event, which this thread alone owns.
        if unsafe { WaitForSingleObject(event.as_raw_handle(), INFINITE) } == WAIT_OBJECT_0 {
            tell();
        }
    };
    std::thread::Builder::new().name("stop".into()).stack_size(64 * 1024).spawn(wait).map(drop)
}

/// The event of a process. Whoever of the two comes first makes it; it stays set.
fn event(pid: u32) -> io::Result<OwnedHandle> {
    // SAFETY: the name ends with a zero; no attributes.
    let event = unsafe { CreateEventW(null(), 1, 0, wide(stop_event(pid)).as_ptr()) };
    if event.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh handle, which nobody else has.
    Ok(unsafe { OwnedHandle::from_raw_handle(event) })
}
