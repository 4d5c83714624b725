//! This process, those that it starts, and how it is asked to end.

use std::{ffi::OsStr, os::windows::process::CommandExt, path::Path};

use windows_sys::Win32::{
    Foundation::{CloseHandle, HANDLE, WAIT_OBJECT_0},
    System::Threading::{
        CREATE_NO_WINDOW, CreateEventW, EVENT_MODIFY_STATE, INFINITE, OpenEventW, OpenProcess, PROCESS_TERMINATE,
        SetEvent, TerminateProcess, WaitForSingleObject,
    },
};

use super::wide;

/// The name of the event that whoever started the connector sets to make it end; only this user's processes of this session
/// can.
pub fn stop_event(pid: u32) -> String {
    format!(r"Local\LockstepStop-{pid}")
}

/// Waits for somebody's wish that the program ends: the event [`stop_event`], or Ctrl-C, Ctrl-Break and the closing of a console
/// where there is one.
///
/// # Errors
/// When it cannot be waited for.
pub async fn asked_to_stop() -> std::io::Result<()> {
    use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_logoff, ctrl_shutdown};
    let event = stop_requested()?;
    let (mut c, mut brk, mut close) = (ctrl_c()?, ctrl_break()?, ctrl_close()?);
    let (mut logoff, mut shutdown) = (ctrl_logoff()?, ctrl_shutdown()?);
    tokio::select! {
        _ = c.recv() => {}
        _ = brk.recv() => {}
        _ = close.recv() => {}
        _ = logoff.recv() => {}
        _ = shutdown.recv() => {}
        Ok(()) = event => {}
    }
    Ok(())
}

/// A handle that may be waited for on another thread.
struct Event(HANDLE);

// SAFETY: handles of events belong to the process, not to a thread.
unsafe impl Send for Event {}

fn stop_requested() -> std::io::Result<tokio::sync::oneshot::Receiver<()>> {
    // SAFETY: the name ends with a zero. Anybody else may have made the event before, who then is this user as well.
    let event = unsafe { CreateEventW(std::ptr::null(), 1, 0, wide(stop_event(std::process::id())).as_ptr()) };
    if event.is_null() {
        return Err(std::io::Error::last_os_error());
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    let event = Event(event);
    std::thread::Builder::new().name("stop".into()).stack_size(64 * 1024).spawn(move || {
        let event = event;
        // SAFETY: the handle stays open: this thread is its only owner, and ends with the process.
        if unsafe { WaitForSingleObject(event.0, INFINITE) } == WAIT_OBJECT_0 {
            // Nobody listens any more when the program ends anyway.
            let _ = tell.send(());
        }
    })?;
    Ok(told)
}

/// Asks a connector of this user's, in this session, to end: see [`stop_event`].
///
/// # Errors
/// From the system: none with that number waits for it.
pub fn ask_to_stop(pid: u32) -> std::io::Result<()> {
    // SAFETY: the name ends with a zero; the handle is closed once and not used afterwards.
    unsafe {
        let event = OpenEventW(EVENT_MODIFY_STATE, 0, wide(stop_event(pid)).as_ptr());
        if event.is_null() {
            return Err(std::io::Error::last_os_error());
        }
        let set = SetEvent(event);
        let error = std::io::Error::last_os_error();
        CloseHandle(event);
        if set == 0 { Err(error) } else { Ok(()) }
    }
}

/// This process, in words of a system that has such probes; Windows has none.
pub fn own_process() -> String {
    std::process::id().to_string()
}

/// Gives a command no window.
pub fn detach(command: &mut tokio::process::Command) {
    command.creation_flags(CREATE_NO_WINDOW);
}

/// Ends a process that this user may end. What runs with the administrator's rights goes on.
pub fn end_session(leader: u32) {
    // SAFETY: the handle is closed once and not used afterwards.
    unsafe {
        let process = OpenProcess(PROCESS_TERMINATE, 0, leader);
        if !process.is_null() {
            TerminateProcess(process, 1);
            CloseHandle(process);
        }
    }
}

/// Goes on as another program, which waits for this one to end. Comes back only when it cannot be started.
pub fn become_program(program: &Path, arguments: &[&OsStr]) -> std::io::Error {
    match std::process::Command::new(program).args(arguments).creation_flags(CREATE_NO_WINDOW).spawn() {
        Ok(_) => std::process::exit(0),
        Err(error) => error,
    }
}
