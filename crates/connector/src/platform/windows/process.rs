//! This process, those that it starts, and how it is asked to end.

use std::{ffi::OsStr, os::windows::process::CommandExt, path::Path};

use windows_sys::Win32::{
    Foundation::CloseHandle,
    System::Threading::{CREATE_NO_WINDOW, OpenProcess, PROCESS_TERMINATE, TerminateProcess},
};

/// Waits for somebody's wish that the program ends: the event [`win32::stop_event`], or Ctrl-C, Ctrl-Break and the closing of a console
/// where there is one.
///
/// # Errors
/// When it cannot be waited for.
pub async fn asked_to_stop() -> std::io::Result<()> {
    use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_logoff, ctrl_shutdown};
    let (tell, event) = tokio::sync::oneshot::channel();
    // Nobody listens any more when the program ends anyway.
    win32::on_stop(move || tell.send(()).unwrap_or_default())?;
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
