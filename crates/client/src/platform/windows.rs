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
        io::{AsRawHandle, FromRawHandle, IntoRawHandle, OwnedHandle},
    },
    path::{Path, PathBuf},
    ptr::null_mut,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::net::windows::named_pipe::NamedPipeClient;
use windows_sys::Win32::{
    Foundation::{ERROR_PIPE_BUSY, LocalFree},
    Security::{
        Authorization::{GetSecurityInfo, SE_KERNEL_OBJECT},
        EqualSid, GetTokenInformation, IsWellKnownSid, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID,
        TOKEN_QUERY, TOKEN_USER, TokenUser, WinBuiltinAdministratorsSid, WinLocalSystemSid,
    },
    Storage::FileSystem::{FILE_FLAG_OVERLAPPED, SECURITY_IDENTIFICATION, SECURITY_SQOS_PRESENT},
    System::Threading::{GetCurrentProcess, OpenProcessToken},
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
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result.cast_signed()));
    }
    // SAFETY: the owner lies in the descriptor, which is freed after.
    let known =
        [WinLocalSystemSid, WinBuiltinAdministratorsSid].iter().any(|sid| unsafe { IsWellKnownSid(owner, *sid) != 0 });
    let trusted = if known { Ok(true) } else { is_own(owner) };
    // SAFETY: to be freed so, and not used any more.
    unsafe { LocalFree(descriptor) };
    trusted
}

fn is_own(sid: PSID) -> io::Result<bool> {
    let mut token = null_mut();
    // SAFETY: a constant that stands for this process, and a place to write to.
    if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh handle, which nobody else has.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    // Aligned for the structure that it begins with; the SID behind it has at most 68 bytes.
    let (mut room, mut length) = ([0_u64; 32], 0);
    // SAFETY: so much room is there.
    let found = unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            room.as_mut_ptr().cast(),
            size_of_val(&room) as u32,
            &raw mut length,
        )
    };
    if found == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has put this structure there, whose SID lies behind it; both SIDs are valid.
    Ok(unsafe { EqualSid((*room.as_ptr().cast::<TOKEN_USER>()).User.Sid, sid) } != 0)
}
