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
    sync::OnceLock,
};

use windows_sys::Win32::{
    Foundation::{CloseHandle, GENERIC_READ, GENERIC_WRITE, HANDLE, INVALID_HANDLE_VALUE, LocalFree},
    Security::{
        ACL,
        Authorization::{
            ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
            SE_FILE_OBJECT, SetNamedSecurityInfoW,
        },
        DACL_SECURITY_INFORMATION, GetSecurityDescriptorDacl, GetTokenInformation, PROTECTED_DACL_SECURITY_INFORMATION,
        PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER, TokenUser,
    },
    Storage::FileSystem::{
        BY_HANDLE_FILE_INFORMATION, CREATE_NEW, CreateFileW, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_NORMAL,
        FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_OPEN_REPARSE_POINT, FILE_SHARE_DELETE, FILE_SHARE_READ,
        FILE_SHARE_WRITE, GetFileInformationByHandle, MOVEFILE_REPLACE_EXISTING, MOVEFILE_WRITE_THROUGH, MoveFileExW,
        OPEN_ALWAYS,
    },
    System::Threading::{GetCurrentProcess, OpenProcessToken},
};

use super::wide;
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
    if unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut about) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let odd = FILE_ATTRIBUTE_REPARSE_POINT | FILE_ATTRIBUTE_DIRECTORY;
    if about.dwFileAttributes & odd != 0 || about.nNumberOfLinks != 1 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a private file of this user"));
    }
    Ok(file)
}

fn open(path: &Path, access: u32, disposition: u32) -> io::Result<File> {
    let descriptor = Descriptor::new(&private(user_sid()?, false))?;
    let attributes = SECURITY_ATTRIBUTES {
        nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or_default(),
        lpSecurityDescriptor: descriptor.0,
        bInheritHandle: 0,
    };
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
    let descriptor = Descriptor::new(&private(user_sid()?, is_directory))?;
    let (mut present, mut defaulted, mut list): (_, _, *mut ACL) = (0, 0, null_mut());
    // SAFETY: the descriptor is valid as long as `descriptor` lives, and so is the list, which is a part of it.
    let failed = unsafe {
        if GetSecurityDescriptorDacl(descriptor.0, &raw mut present, &raw mut list, &raw mut defaulted) == 0 {
            return Err(io::Error::last_os_error());
        }
        SetNamedSecurityInfoW(
            wide(path).as_ptr(),
            SE_FILE_OBJECT,
            DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION,
            null_mut(),
            null_mut(),
            list,
            null_mut(),
        )
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(failed.cast_signed())) }
}

/// Replaces `to` by `from` in one step that has reached the disk when this returns.
///
/// # Errors
/// From the file system; then `to` is what it was.
pub fn replace_durably(from: &Path, to: &Path) -> io::Result<()> {
    // SAFETY: both names end with a zero and outlive the call.
    let moved = unsafe {
        MoveFileExW(wide(from).as_ptr(), wide(to).as_ptr(), MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH)
    };
    if moved == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The user that this process runs as, `S-1-5-…`.
pub(super) fn user_sid() -> io::Result<&'static str> {
    static SID: OnceLock<String> = OnceLock::new();
    if let Some(sid) = SID.get() {
        return Ok(sid);
    }
    let sid = ask_for_sid()?;
    Ok(SID.get_or_init(|| sid))
}

fn ask_for_sid() -> io::Result<String> {
    let mut token: HANDLE = null_mut();
    // SAFETY: the pseudo handle of this process is always valid; `token` outlives the call and is closed below.
    if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // A SID has 68 bytes at most (SECURITY_MAX_SID_SIZE); eight-byte words keep the structure aligned.
    let mut buffer = [0u64; 16];
    let size = u32::try_from(size_of_val(&buffer)).unwrap_or_default();
    let mut needed = 0;
    // SAFETY: the buffer is as big as is said, and aligned for what is written.
    let told = unsafe { GetTokenInformation(token, TokenUser, buffer.as_mut_ptr().cast(), size, &raw mut needed) };
    let error = io::Error::last_os_error();
    // SAFETY: the handle was opened above, and is not used any more.
    unsafe { CloseHandle(token) };
    if told == 0 {
        return Err(error);
    }
    // SAFETY: the call above has put a TOKEN_USER at the buffer's beginning, whose SID lies in the same buffer.
    let sid = unsafe { (*buffer.as_ptr().cast::<TOKEN_USER>()).User.Sid };
    let mut text = null_mut();
    // SAFETY: the SID is valid, see above.
    if unsafe { ConvertSidToStringSidW(sid, &raw mut text) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system has given a text that ends with a zero and that is ours to free.
    unsafe {
        let length = (0..).take_while(|&at| *text.add(at) != 0).count();
        let sid = String::from_utf16_lossy(std::slice::from_raw_parts(text, length));
        LocalFree(text.cast());
        Ok(sid)
    }
}

/// A security descriptor that the system has made from text.
struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    fn new(text: &str) -> io::Result<Self> {
        let mut made = null_mut();
        // SAFETY: the text ends with a zero, and `made` outlives the call.
        let done = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                wide(text).as_ptr(),
                SDDL_REVISION_1,
                &raw mut made,
                null_mut(),
            )
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(Self(made)) }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: made by the system, for us to free, once.
        unsafe { LocalFree(self.0) };
    }
}
