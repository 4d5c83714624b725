//! The socket that users' programs talk to: a named pipe.
//!
//! | attack | answer |
//! |---|---|
//! | another program has made a pipe of this name before | first instance only: the service does not start |
//! | another program makes a second instance of it | the access list lets users read and write, not make instances |
//! | a caller of another computer | the pipe rejects remote clients, and its access list refuses the network |
//! | a caller claims to be somebody else | the kernel says which process it is, and that process's token whose; where it does not, the connection is refused |
//! | a process id that is used again by then | the process must be older than the connection |

#![expect(unsafe_code, reason = "an access list is given to the pipe by pointer")]

use std::{io, os::windows::io::AsRawHandle, path::Path, time::SystemTime};

use tokio::{
    net::windows::named_pipe::{NamedPipeServer, PipeMode, ServerOptions},
    sync::Mutex,
};
use windows_sys::Win32::System::Pipes::GetNamedPipeClientProcessId;

use win32::Descriptor;

use super::{
    super::{Peer, User, values},
    process::identity,
    succeeded,
};

/// One connection of a user's program.
pub type Stream = NamedPipeServer;

/// The pipe that users' programs talk to.
#[derive(Debug)]
pub struct Listener {
    name: std::ffi::OsString,
    /// There is always one that waits, so the name is never free.
    waiting: Mutex<NamedPipeServer>,
}

impl Listener {
    /// Makes the pipe, which everybody who has signed in can use.
    ///
    /// # Errors
    /// Whatever the system says; also when there is a pipe of this name already.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let name = path.as_os_str().to_owned();
        let first = instance(&name, values::PIPE_FIRST_INSTANCE)?;
        Ok(Self { name, waiting: Mutex::new(first) })
    }

    /// The next connection, and whose it is.
    ///
    /// # Errors
    /// Whatever the system says; also when it does not say whose the connection is, which is closed then.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        let mut waiting = self.waiting.lock().await;
        waiting.connect().await?;
        let now = SystemTime::now();
        let next = instance(&self.name, false)?;
        let stream = std::mem::replace(&mut *waiting, next);
        let peer = peer(&stream, now)?;
        Ok((stream, peer))
    }
}

/// A pipe leaves nothing behind.
pub fn forget_socket(_path: &Path) {}

fn instance(name: &std::ffi::OsStr, first: bool) -> io::Result<NamedPipeServer> {
    let descriptor = Descriptor::new(values::PIPE)?;
    let mut attributes = descriptor.attributes();
    let mut options = ServerOptions::new();
    options.pipe_mode(PipeMode::Byte).reject_remote_clients(values::PIPE_REJECTS_REMOTE).first_pipe_instance(first);
    // SAFETY: a structure as Windows expects it, whose list lives through the call.
    unsafe { options.create_with_security_attributes_raw(name, (&raw mut attributes).cast()) }
}

fn peer(stream: &NamedPipeServer, now: SystemTime) -> io::Result<Peer> {
    let mut pid = 0;
    // SAFETY: an open pipe and a place to write to.
    succeeded(unsafe { GetNamedPipeClientProcessId(stream.as_raw_handle(), &raw mut pid) })?;
    let (identity, started) = identity(pid)?;
    if started > file_time(now) {
        return Err(io::Error::new(io::ErrorKind::NotConnected, "the process that connected has ended"));
    }
    Ok(Peer {
        user: User::Sid(identity.sid),
        is_administrator: identity.is_administrator,
        session: Some(identity.session),
        pid: Some(pid.cast_signed()),
        started: Some(started),
    })
}

/// 100 nanoseconds since 1601, in which Windows counts.
fn file_time(time: SystemTime) -> u64 {
    const SECONDS_TO_1970: u64 = 11_644_473_600;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (since.as_secs() + SECONDS_TO_1970) * 10_000_000 + u64::from(since.subsec_nanos() / 100)
}
