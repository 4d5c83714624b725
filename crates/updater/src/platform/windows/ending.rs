//! Being asked to end: by a person at the console, by Windows, or by the supervisor.
//!
//! The supervisor holds this process's standard input open and closes it when the service is to end. That needs no name that others
//! could find, and it also tells that the supervisor itself is gone.

use std::{io, io::Read};

use tokio::{signal::windows, sync::oneshot};

/// Waits until this process is asked to end: Ctrl+C, Ctrl+Break, a closed console, Windows' end, or the supervisor.
///
/// # Errors
/// When it cannot be asked at all.
pub async fn asked_to_end() -> io::Result<()> {
    let (mut c, mut brk) = (windows::ctrl_c()?, windows::ctrl_break()?);
    let (mut close, mut shutdown) = (windows::ctrl_close()?, windows::ctrl_shutdown()?);
    let (told, input_ended) = oneshot::channel();
    let mut kept = None;
    if crate::self_update::is_supervised() {
        std::thread::Builder::new().name("supervisor".into()).stack_size(64 * 1024).spawn(move || {
            let mut byte = [0];
            // Nothing is ever written there; whatever comes but bytes is the end.
            while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
            // Nobody waits any more when the service ends for another reason.
            told.send(()).unwrap_or_default();
        })?;
    } else {
        // Kept, or its end would look like the supervisor's word.
        kept = Some(told);
    }
    tokio::select! {
        _ = c.recv() => {}
        _ = brk.recv() => {}
        _ = close.recv() => {}
        _ = shutdown.recv() => {}
        _ = input_ended => {}
    }
    drop(kept);
    Ok(())
}

/// As [`asked_to_end`], for a program of the user's session, which has no console as a rule: its event ([`win32::stop_event`]) too.
///
/// # Errors
/// When it cannot be asked at all.
pub async fn asked_to_end_by_the_user() -> io::Result<()> {
    let (tell, told) = oneshot::channel();
    // Nobody waits any more when the program ends anyway.
    win32::on_stop(move || tell.send(()).unwrap_or_default())?;
    tokio::select! {
        ended = asked_to_end() => ended,
        _ = told => Ok(()),
    }
}
