//! Files and folders that belong to this user alone.
//!
//! | attack | answer |
//! |---|---|
//! | another user of a terminal server reads mail or secrets | an access list of its own, protected against inheriting: SYSTEM and this user ([`private`]), from the file's first moment |
//! | a link planted where a private file is expected | reparse points are not followed, and a file with a second name is refused |
//! | power lost just after a file was replaced | written through ([`replace_durably`]) |

use std::{
    fs::File,
    io,
    os::windows::io::{AsRawHandle, FromRawHandle},
    path::Path,
    ptr::null_mut,
};

use win32::{Descriptor, no_error, own_user, succeeded, wide};
use windows_sys::Win32::{
    Foundation::{GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE},
    Security::{
        Authorization::{SE_FILE_OBJECT, SetNamedSecurityInfoW},
        DACL_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION,
    },
    Storage::FileSystem::{
        BY_HANDLE_FILE_INFORMATION, CREATE_NEW, CreateFileW, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_NORMAL,
        FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_OPEN_REPARSE_POINT, FILE_SHARE_DELETE, FILE_SHARE_READ,
        FILE_SHARE_WRITE, GetFileInformationByHandle, OPEN_ALWAYS,
    },
};

use crate::platform::values::private;

/// Creates a file, which must not exist yet, that only its owner can read and write.
///
/// # Errors
/// From the file system.
pub fn create_private(path: &Path) -> io::Result<File> {
    open(path, GENERIC_WRITE, CREATE_NEW)
}

/// Opens a file for reading and writing, making it if need be: it is a regular file, and has no other name. Its folder is
/// this user's own, so nobody else can have put it there.
///
/// # Errors
/// From the file system; `PermissionDenied` for any other kind of file.
pub fn open_private(path: &Path) -> io::Result<File> {
    let file = open(path, GENERIC_READ | GENERIC_WRITE, OPEN_ALWAYS)?;
    let mut about = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open as long as `file` lives, and `about` outlives the call.
    succeeded(unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut about) })?;
    let odd = FILE_ATTRIBUTE_REPARSE_POINT | FILE_ATTRIBUTE_DIRECTORY;
    if about.dwFileAttributes & odd != 0 || about.nNumberOfLinks != 1 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a private file of this user"));
    }
    Ok(file)
}

fn open(path: &Path, access: u32, disposition: u32) -> io::Result<File> {
    let descriptor = Descriptor::new(&private(own_user()?, false))?;
    let attributes = descriptor.attributes();
    // SAFETY: the name ends with a zero, and name and attributes outlive the call.
    let handle = unsafe {
        CreateFileW(
            wide(path).as_ptr(),
            access,
            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            &raw const attributes,
            disposition,
            FILE_ATTRIBUTE_NORMAL | FILE_FLAG_OPEN_REPARSE_POINT,
            null_mut(),
        )
    };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle is valid, and nobody else owns it.
    Ok(unsafe { File::from_raw_handle(handle) })
}

/// Takes every right on a file or directory from everybody but its owner and the system.
///
/// # Errors
/// From the file system.
pub fn make_private(path: &Path, is_directory: bool) -> io::Result<()> {
    let descriptor = Descriptor::new(&private(own_user()?, is_directory))?;
    // SAFETY: the name ends with a zero; the list is a part of the descriptor, which outlives the call.
    no_error(unsafe {
        SetNamedSecurityInfoW(
            wide(path).as_ptr(),
            SE_FILE_OBJECT,
            DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION,
            null_mut(),
            null_mut(),
            descriptor.dacl()?,
            null_mut(),
        )
    })
}

/// Replaces `to` by `from` in one step that has reached the disk when this returns.
///
/// # Errors
/// From the file system; then `to` is what it was.
pub fn replace_durably(from: &Path, to: &Path) -> io::Result<()> {
    win32::replace(from, to)
}
