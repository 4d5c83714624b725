//! Access lists: made from their texts, given from the first instant on, and looked at.

#![expect(unsafe_code, reason = "Windows' calls for access lists take pointers")]

use std::{
    ffi::c_void,
    fs::{File, OpenOptions},
    io,
    os::windows::{fs::OpenOptionsExt, io::AsRawHandle},
    path::Path,
    ptr::null_mut,
};

use windows_sys::Win32::{
    Security::{
        ACCESS_ALLOWED_ACE, ACL,
        Authorization::{GetSecurityInfo, SE_FILE_OBJECT, SetSecurityInfo},
        DACL_SECURITY_INFORMATION, GetAce, OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION,
        PSECURITY_DESCRIPTOR, PSID,
    },
    Storage::FileSystem::{
        FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, READ_CONTROL, WRITE_DAC,
    },
};

use win32::{Descriptor, own_user, sid_text};

use super::{super::values, no_error, succeeded};

/// The access list for what Linux calls a mode: others may read, or not.
pub fn text(mode: u32, is_dir: bool) -> &'static str {
    match (mode & 0o077 != 0, is_dir) {
        (false, true) => values::PRIVATE_DIR,
        (true, true) => values::PUBLIC_DIR,
        (false, false) => values::PRIVATE_FILE,
        (true, false) => values::PUBLIC_FILE,
    }
}

/// Gives something that is there another access list. Links are not followed.
pub fn protect(path: &Path, mode: u32) -> io::Result<()> {
    let file = open_itself(path, READ_CONTROL | WRITE_DAC)?;
    let meta = file.metadata()?;
    if is_reparse_point(&meta) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a link"));
    }
    let descriptor = Descriptor::new(text(mode, meta.is_dir()))?;
    // SAFETY: an open handle, and a list inside a descriptor that lives through the call.
    no_error(unsafe {
        SetSecurityInfo(
            file.as_raw_handle(),
            SE_FILE_OBJECT,
            DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION,
            null_mut(),
            null_mut(),
            descriptor.dacl()?,
            null_mut(),
        )
    })
}

/// Whether something has the rights that a mode stands for: nobody else may change it. Programs have no mark here.
pub fn has_mode(path: &Path, _mode: u32) -> bool {
    written_by_us_only(path).is_ok()
}

/// Why users other than the system, administrators and this process's own could change what is at `path`; `Ok` if they could not.
///
/// # Errors
/// The reason in words.
pub fn written_by_us_only(path: &Path) -> Result<(), String> {
    looked_at(path, values::CHANGING)
}

/// Whether `path` is a directory such as `C:\`: others may add to it, but not take away or rename what is ours.
pub fn is_sticky_of_root(path: &Path) -> bool {
    path.is_dir() && looked_at(path, values::TAKING_AWAY).is_ok()
}

/// Whose something is.
pub fn owner(path: &Path) -> io::Result<String> {
    Ok(Rights::of(&open_itself(path, READ_CONTROL)?)?.owner)
}

fn looked_at(path: &Path, wrong: u32) -> Result<(), String> {
    let looking = |e: io::Error| format!("cannot be looked at: {e}");
    let file = open_itself(path, READ_CONTROL).map_err(looking)?;
    if is_reparse_point(&file.metadata().map_err(looking)?) {
        return Err("it is a link".into());
    }
    let own = own_user().map_err(looking)?;
    let is_ours = |sid: &str| sid == own || values::TRUSTED.contains(&sid);
    let rights = Rights::of(&file).map_err(looking)?;
    if !is_ours(&rights.owner) {
        return Err(format!("it belongs to {}", rights.owner));
    }
    match rights.allowed.iter().find(|(sid, mask)| mask & wrong != 0 && !is_ours(sid)) {
        Some((sid, mask)) => Err(format!("its access list lets {sid} change it ({mask:#x})")),
        None => Ok(()),
    }
}

/// What an access list allows, entry by entry; what it denies is left out, so this never looks better than it is.
struct Rights {
    owner: String,
    allowed: Vec<(String, u32)>,
}

/// `ACCESS_ALLOWED_ACE_TYPE`.
const ALLOWED: u8 = 0;
/// `ACCESS_DENIED_ACE_TYPE`.
const DENIED: u8 = 1;
/// `INHERIT_ONLY_ACE`: for what will be made below, not for this.
const INHERIT_ONLY: u8 = 8;

impl Rights {
    fn of(file: &File) -> io::Result<Self> {
        let (mut owner, mut dacl, mut descriptor): (PSID, *mut ACL, PSECURITY_DESCRIPTOR) =
            (null_mut(), null_mut(), null_mut());
        // SAFETY: an open handle and three places to write to; what comes is freed below.
        no_error(unsafe {
            GetSecurityInfo(
                file.as_raw_handle(),
                SE_FILE_OBJECT,
                OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
                &raw mut owner,
                null_mut(),
                &raw mut dacl,
                null_mut(),
                &raw mut descriptor,
            )
        })?;
        // SAFETY: what the call has given is to be freed so.
        let _freed = unsafe { Descriptor::from_raw(descriptor) };
        // SAFETY: the owner lies in the descriptor.
        let mut rights = Self { owner: unsafe { sid_text(owner)? }, allowed: Vec::new() };
        if dacl.is_null() {
            // No list at all: everybody may do everything.
            rights.allowed.push(("S-1-1-0".into(), u32::MAX));
            return Ok(rights);
        }
        // SAFETY: the list lies in the descriptor, which lives until the end of this function.
        for at in 0..u32::from(unsafe { (*dacl).AceCount }) {
            let mut entry: *mut c_void = null_mut();
            // SAFETY: as above; the number is below the list's own count.
            succeeded(unsafe { GetAce(dacl, at, &raw mut entry) })?;
            let entry = entry.cast::<ACCESS_ALLOWED_ACE>();
            // SAFETY: every entry begins with this header.
            let header = unsafe { (*entry).Header };
            match header.AceType {
                _ if header.AceFlags & INHERIT_ONLY != 0 => {}
                ALLOWED => {
                    // SAFETY: an entry of this type has these members, and a SID from the last one on.
                    let (sid, mask) = unsafe { (sid_text((&raw mut (*entry).SidStart).cast())?, (*entry).Mask) };
                    rights.allowed.push((sid, mask));
                }
                DENIED => {}
                // Conditional and object entries: not of us, and not understood here.
                other => rights.allowed.push((format!("an entry of type {other}"), u32::MAX)),
            }
        }
        Ok(rights)
    }
}

/// Opens a file or directory itself, not what a link leads to.
pub fn open_itself(path: &Path, access: u32) -> io::Result<File> {
    OpenOptions::new()
        .access_mode(access)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)
}

pub fn is_reparse_point(meta: &std::fs::Metadata) -> bool {
    use std::os::windows::fs::MetadataExt;
    meta.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0
}
