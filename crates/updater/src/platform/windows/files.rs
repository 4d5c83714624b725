//! Directories and files with their access lists from the first instant on; pointers; renames that wait for a virus scanner.

#![expect(unsafe_code, reason = "Windows' calls for files take pointers")]

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::windows::{
        fs::OpenOptionsExt,
        io::{AsRawHandle, FromRawHandle},
    },
    path::{Path, PathBuf},
    ptr::null_mut,
    time::{Duration, Instant},
};

use windows_sys::Win32::{
    Foundation::{
        ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, ERROR_INVALID_FUNCTION, ERROR_INVALID_HANDLE, ERROR_LOCK_VIOLATION,
        ERROR_SHARING_VIOLATION, GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE,
    },
    Storage::FileSystem::{
        BY_HANDLE_FILE_INFORMATION, CREATE_NEW, CreateDirectoryW, CreateFileW, FILE_ATTRIBUTE_NORMAL,
        FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, FILE_SHARE_READ,
        FILE_SHARE_WRITE, GetFileInformationByHandle, OPEN_ALWAYS,
    },
    System::SystemInformation::{ComputerNamePhysicalDnsHostname, GetComputerNameExW},
};

pub use win32::free_space;
use win32::{Descriptor, own_user, replace};

use super::{super::FileId, sddl, succeeded, wide};

/// A virus scanner or an indexer lets go of a file within this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first wait for it; doubled up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(10);
/// See [`FIRST_WAIT`].
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Makes a directory, and its missing parents for everybody to read. An existing one is given the access list of the mode.
///
/// # Errors
/// Whatever the file system says; also when something other than a directory is there.
pub fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|p| !p.exists()) {
        make_dir(parent, 0o755)?;
    }
    match make_new_dir(path, mode) {
        Err(e) if is(&e, ERROR_ALREADY_EXISTS) => {
            if !fs::symlink_metadata(path)?.is_dir() {
                return Err(io::Error::new(io::ErrorKind::NotADirectory, "something else is there"));
            }
            sddl::protect(path, mode)
        }
        other => other,
    }
}

/// Makes a new directory with the access list of this mode; an existing one is an error.
///
/// # Errors
/// Whatever the file system says.
pub fn make_new_dir(path: &Path, mode: u32) -> io::Result<()> {
    let descriptor = Descriptor::new(sddl::text(mode, true))?;
    let (name, attributes) = (wide(path), descriptor.attributes());
    // SAFETY: the name ends with a zero; the descriptor lives through the call.
    succeeded(unsafe { CreateDirectoryW(name.as_ptr(), &raw const attributes) })
}

/// Gives a file or directory the access list of this mode.
///
/// # Errors
/// Whatever the file system says.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    sddl::protect(path, mode)
}

/// Makes a new file with the access list of this mode; an existing one is an error.
///
/// # Errors
/// Whatever the file system says.
pub fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    open(path, GENERIC_WRITE, FILE_SHARE_READ, CREATE_NEW, mode)
}

/// Opens or makes a file that only we can reach, for reading and writing. Until it is closed nobody else can write to it, rename
/// it or delete it, whoever they are.
///
/// # Errors
/// Whatever the file system says; also when what is there is a link, is linked elsewhere or is someone else's.
pub fn open_private(path: &Path) -> io::Result<File> {
    private(path, FILE_SHARE_READ)
}

/// The same for a file that several processes lock.
///
/// # Errors
/// As [`open_private`].
pub fn open_lock(path: &Path) -> io::Result<File> {
    private(path, FILE_SHARE_READ | FILE_SHARE_WRITE)
}

fn private(path: &Path, share: u32) -> io::Result<File> {
    let file = patiently(|| open(path, GENERIC_READ | GENERIC_WRITE, share, OPEN_ALWAYS, 0o600))?;
    let links = information(&file)?.nNumberOfLinks;
    let meta = file.metadata()?;
    let owner = sddl::owner(path)?;
    let ours = owner == own_user()? || super::super::values::TRUSTED.contains(&owner.as_str());
    if sddl::is_reparse_point(&meta) || !meta.is_file() || links != 1 || !ours {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a private file of this service"));
    }
    Ok(file)
}

fn open(path: &Path, access: u32, share: u32, how: u32, mode: u32) -> io::Result<File> {
    let descriptor = Descriptor::new(sddl::text(mode, false))?;
    let (name, attributes) = (wide(path), descriptor.attributes());
    let flags = FILE_ATTRIBUTE_NORMAL | FILE_FLAG_OPEN_REPARSE_POINT;
    // SAFETY: the name ends with a zero; the descriptor lives through the call.
    let handle = unsafe { CreateFileW(name.as_ptr(), access, share, &raw const attributes, how, flags, null_mut()) };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh handle of a file, which nobody else has.
    Ok(unsafe { File::from_raw_handle(handle) })
}

/// Makes a pointer to a version: a file with its directory's name, since links need rights and settings here that cannot be relied
/// on.
///
/// # Errors
/// Whatever the file system says; also when something is there.
pub fn make_pointer(target: &Path, pointer: &Path) -> io::Result<()> {
    let name = target.file_name().and_then(|n| n.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = create_new(pointer, 0o644)?;
    file.write_all(format!("{name}\n").as_bytes())?;
    file.sync_all()
}

/// Reads a pointer: `versions` and the version's name. What is in it but no name of ours leads nowhere.
///
/// # Errors
/// Whatever the file system says.
pub fn read_pointer(pointer: &Path) -> io::Result<PathBuf> {
    let text = patiently(|| fs::read_to_string(pointer))?;
    let name = text.strip_suffix('\n').filter(|n| !n.is_empty() && !n.contains(['/', '\\', ':', '\n']));
    Ok(Path::new("versions").join(name.unwrap_or("?")))
}

/// Renames, replacing a file at `to`, and makes it durable. A program at `to` that runs is renamed aside.
///
/// # Errors
/// Whatever the file system says, after having waited for whoever has something open.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    patiently(|| match replace(from, to) {
        Err(e) if is_in_use(&e) && to.extension().is_some_and(|x| x == "exe") && to.is_file() => {
            let aside = aside(to)?;
            replace(to, &aside)?;
            let moved = replace(from, to);
            match &moved {
                Ok(()) => super::removal::when_possible(&aside),
                // The program that was there goes back to its place.
                Err(_) => replace(&aside, to)?,
            }
            moved
        }
        other => other,
    })
}

/// Exchanges two directories of one parent: three renames. Between them the name `other` is not there; whoever recovers finishes
/// that ([`finish_exchange`]).
///
/// # Errors
/// Whatever the file system says; also while a program below `other` runs. Then everything is as before.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let aside = exchanged(one)?;
    patiently(|| replace(other, &aside))?;
    if let Err(error) = patiently(|| replace(one, other)) {
        patiently(|| replace(&aside, other))?;
        return Err(error);
    }
    patiently(|| replace(&aside, one))
}

/// Finishes an [`exchange`] that a power cut has interrupted.
///
/// # Errors
/// Whatever the file system says.
pub fn finish_exchange(one: &Path, other: &Path) -> io::Result<()> {
    let aside = exchanged(one)?;
    if other.exists() || !aside.exists() {
        return Ok(());
    }
    // Both are whole: the new one if it is there, else the old one.
    replace(if one.exists() { one } else { &aside }, other)
}

fn exchanged(one: &Path) -> io::Result<PathBuf> {
    let name = one.file_name().and_then(|n| n.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(one.with_file_name(format!("{name}{}", crate::slots::plan::EXCHANGED_SUFFIX)))
}

fn aside(program: &Path) -> io::Result<PathBuf> {
    let name = program.file_name().and_then(|n| n.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(program.with_file_name(format!(".{name}.aside-{:016x}", rand::random::<u64>())))
}

/// Does something that fails while somebody else has a file open, again and again for [`PATIENCE`].
pub(super) fn patiently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let (until, mut wait) = (Instant::now() + PATIENCE, FIRST_WAIT);
    loop {
        match attempt() {
            Err(e) if is_in_use(&e) && Instant::now() + wait < until => {
                tracing::debug!(error = %e, "in use; waiting");
                std::thread::sleep(wait);
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            other => return other,
        }
    }
}

/// What Windows says while a scanner, an indexer or a program has a file open; the second also where there is no right.
pub(super) fn is_in_use(error: &io::Error) -> bool {
    [ERROR_SHARING_VIOLATION, ERROR_ACCESS_DENIED, ERROR_LOCK_VIOLATION].iter().any(|code| is(error, *code))
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}

/// Makes a directory's entries durable, as far as the file system offers it: NTFS journals them, and a rename of ours is written
/// through.
///
/// # Errors
/// Whatever the file system says.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    let dir = OpenOptions::new().write(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path);
    let unknown = [ERROR_ACCESS_DENIED, ERROR_INVALID_FUNCTION, ERROR_INVALID_HANDLE];
    match dir.and_then(|dir| dir.sync_all()) {
        // Not offered for directories here.
        Err(e) if unknown.iter().any(|code| is(&e, *code)) => Ok(()),
        other => other,
    }
}

/// The PC's name.
pub fn kernel_hostname() -> String {
    let (mut name, mut length) = ([0; 256], 256);
    // SAFETY: room for 256 units, as the length says; it is changed to what was written.
    let said = unsafe { GetComputerNameExW(ComputerNamePhysicalDnsHostname, name.as_mut_ptr(), &raw mut length) };
    match succeeded(said) {
        Ok(()) => String::from_utf16_lossy(name.get(..length as usize).unwrap_or_default()),
        Err(_) => "unnamed".into(),
    }
}

/// Which file or directory this is.
///
/// # Errors
/// Whatever the file system says.
pub fn file_id(path: &Path) -> io::Result<FileId> {
    let file =
        OpenOptions::new().access_mode(FILE_READ_ATTRIBUTES).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)?;
    let found = information(&file)?;
    let inode = (u64::from(found.nFileIndexHigh) << 32) | u64::from(found.nFileIndexLow);
    Ok(FileId { device: found.dwVolumeSerialNumber.into(), inode })
}

fn information(file: &File) -> io::Result<BY_HANDLE_FILE_INFORMATION> {
    let mut found = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: an open handle and a place to write to.
    succeeded(unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut found) })?;
    Ok(found)
}
