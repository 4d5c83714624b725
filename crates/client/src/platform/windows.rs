//! A named pipe.
//!
//! | attack | answer |
//! |---|---|
//! | another user's program has made a pipe of this name | the pipe must belong to the system, to the administrators or to this very user ([`is_trusted`]) |
//! | the server does as if it were this user | it may know who asks, and no more (`SECURITY_IDENTIFICATION`) |

#![expect(unsafe_code, reason = "Windows' calls for a pipe's owner take pointers")]

use std::{
    fs::OpenOptions,
    io,
    os::windows::{
        fs::OpenOptionsExt,
        io::{AsRawHandle, IntoRawHandle, OwnedHandle},
    },
    path::{Path, PathBuf},
    ptr::null_mut,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::net::windows::named_pipe::NamedPipeClient;
use windows_sys::Win32::{
    Foundation::ERROR_PIPE_BUSY,
    Security::{
        Authorization::{GetSecurityInfo, SE_KERNEL_OBJECT},
        OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID,
    },
    Storage::FileSystem::{FILE_FLAG_OVERLAPPED, SECURITY_IDENTIFICATION, SECURITY_SQOS_PRESENT},
};

pub type Stream = NamedPipeClient;

/// The pipe of the updater on a whole computer.
const PIPE: &str = r"\\.\pipe\lockstep-updater";
/// `FILE_GENERIC_READ | FILE_GENERIC_WRITE` without `FILE_CREATE_PIPE_INSTANCE`, which users do not have.
const ACCESS: u32 = 0x0012_019b;
/// How long to wait until the updater has another instance of its pipe ready.
const AGAIN: Duration = Duration::from_millis(20);

/// The pipe of the updater that is installed under `root`: of its own for each root, so that several can be at work.
pub fn socket(root: &Path) -> PathBuf {
    if root == Path::new("/") {
        return PIPE.into();
    }
    let name = root.to_string_lossy().replace('/', "\\").to_lowercase();
    let digest = Sha256::digest(name.trim_end_matches('\\'));
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{PIPE}-{hex}").into()
}

/// Connects to the updater's pipe; waits while all its instances are taken, so the caller sets a limit.
///
/// # Errors
/// Whatever the system says: `NotFound` when nobody is there; `PermissionDenied` when it is not the updater's.
pub async fn connect(socket: &Path) -> io::Result<Stream> {
    let pipe = loop {
        let opened = OpenOptions::new()
            .access_mode(ACCESS)
            .security_qos_flags(SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION)
            .custom_flags(FILE_FLAG_OVERLAPPED)
            .open(socket);
        match opened {
            Err(e) if e.raw_os_error() == Some(ERROR_PIPE_BUSY.cast_signed()) => tokio::time::sleep(AGAIN).await,
            other => break other?,
        }
    };
    let pipe = OwnedHandle::from(pipe);
    if !is_trusted(&pipe)? {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "this pipe belongs to somebody else"));
    }
    // SAFETY: a handle of a pipe that was opened for overlapped use, and is given away here.
    unsafe { NamedPipeClient::from_raw_handle(pipe.into_raw_handle()) }
}

/// Whether the pipe belongs to the system, to the administrators, or to this very user, who could do as much without it.
fn is_trusted(pipe: &OwnedHandle) -> io::Result<bool> {
    let (mut owner, mut descriptor): (PSID, PSECURITY_DESCRIPTOR) = (null_mut(), null_mut());
    // SAFETY: an open handle and two places to write to; what comes is freed below.
    let result = unsafe {
        GetSecurityInfo(
            pipe.as_raw_handle(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            null_mut(),
            null_mut(),
            null_mut(),
            &raw mut descriptor,
        )
    };
    win32::no_error(result)?;
    // SAFETY: what the call has given is to be freed so.
    let _freed = unsafe { win32::Descriptor::from_raw(descriptor) };
    // SAFETY: the owner lies in the descriptor.
    let owner = unsafe { win32::sid_text(owner)? };
    Ok([win32::SYSTEM, win32::ADMINISTRATORS].contains(&owner.as_str()) || owner == win32::own_user()?)
}
