//! Processes: which program they run, since when, below which directory; and this one itself.

#![expect(unsafe_code, reason = "Windows' calls for processes take pointers")]

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::windows::{
        ffi::OsStringExt,
        io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle},
    },
    path::{Path, PathBuf},
    process::Command,
};

use win32::StopWish;
use windows_sys::Win32::{
    Foundation::{FILETIME, INVALID_HANDLE_VALUE},
    System::{
        Diagnostics::ToolHelp::{
            CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
        },
        JobObjects::{
            AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
            JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
            TerminateJobObject,
        },
        Threading::{
            CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, GetProcessTimes, OpenProcess, PROCESS_NAME_WIN32,
            PROCESS_QUERY_LIMITED_INFORMATION, QueryFullProcessImageNameW,
        },
    },
};

use super::{
    super::Process,
    files::file_id,
    succeeded,
    token::{self, Identity},
};

/// What a process runs. `None`: there is no such process, or it changed while it was looked at.
pub fn process(pid: i32) -> Option<Process> {
    let handle = open(pid.cast_unsigned()).ok()?;
    // While the handle is open the number is not used again.
    let program = file_id(&program(&handle).ok()?).ok()?;
    Some(Process { started: start_time(&handle).ok()?, program })
}

/// Whose a process is, and when it started, in 100 nanoseconds since 1601.
pub(super) fn identity(pid: u32) -> io::Result<(Identity, u64)> {
    let handle = open(pid)?;
    Ok((token::of_process(handle.as_handle())?, start_time(&handle)?))
}

fn open(pid: u32) -> io::Result<OwnedHandle> {
    // SAFETY: numbers only.
    let handle = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) };
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh handle, which nobody else has.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

fn program(process: &OwnedHandle) -> io::Result<PathBuf> {
    let mut name = vec![0; 32 * 1024];
    let mut length = name.len() as u32;
    // SAFETY: so much room is there; the length is changed to what was written.
    succeeded(unsafe {
        QueryFullProcessImageNameW(process.as_raw_handle(), PROCESS_NAME_WIN32, name.as_mut_ptr(), &raw mut length)
    })?;
    name.truncate(length as usize);
    Ok(OsString::from_wide(&name).into())
}

fn start_time(process: &OwnedHandle) -> io::Result<u64> {
    let mut times = [FILETIME::default(); 4];
    let [start, exit, kernel, user] = times.each_mut().map(std::ptr::from_mut);
    // SAFETY: an open process and four places to write to.
    succeeded(unsafe { GetProcessTimes(process.as_raw_handle(), start, exit, kernel, user) })?;
    Ok((u64::from(times[0].dwHighDateTime) << 32) | u64::from(times[0].dwLowDateTime))
}

/// Whether any process runs a program below `dir`.
///
/// # Errors
/// When the processes cannot be listed; then nothing may be assumed.
pub fn is_running_below(dir: &Path) -> io::Result<bool> {
    Ok(!below(dir, &all()?)?.is_empty())
}

/// The processes that run a program below `dir`, without this one and those that have started it.
///
/// # Errors
/// When the processes cannot be listed.
pub(super) fn others_below(dir: &Path) -> io::Result<Vec<u32>> {
    let all = all()?;
    let mut ours = vec![std::process::id()];
    // A number that is used again could lead in a circle.
    while let Some((_, parent)) = all.iter().find(|(pid, parent)| ours.last() == Some(pid) && !ours.contains(parent)) {
        ours.push(*parent);
    }
    let mut others = below(dir, &all)?;
    others.retain(|pid| !ours.contains(pid));
    Ok(others)
}

fn below(dir: &Path, all: &[(u32, u32)]) -> io::Result<Vec<u32>> {
    let dir = plain(dir.canonicalize()?);
    let below = |pid: &u32| {
        // A process that ended meanwhile; or one of the kernel's own, which nobody may look at and which runs nothing of ours.
        let program = open(*pid).and_then(|process| program(&process));
        program.is_ok_and(|program| is_below(&program, &dir))
    };
    Ok(all.iter().map(|(pid, _)| *pid).filter(below).collect())
}

/// Whether a path lies below another, whatever the case of the letters.
fn is_below(path: &Path, dir: &str) -> bool {
    plain(path.to_owned()).strip_prefix(dir).is_some_and(|rest| rest.starts_with('\\'))
}

/// A path without the prefix that says that it is to be taken word for word, in small letters.
fn plain(path: PathBuf) -> String {
    let text = path.to_string_lossy().to_lowercase().replace('/', "\\");
    text.strip_prefix(r"\\?\").unwrap_or(&text).to_owned()
}

/// Every process and its parent.
fn all() -> io::Result<Vec<(u32, u32)>> {
    // SAFETY: numbers only.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh handle, which nobody else has.
    let snapshot = unsafe { OwnedHandle::from_raw_handle(snapshot) };
    let mut entry = PROCESSENTRY32W { dwSize: size_of::<PROCESSENTRY32W>() as u32, ..Default::default() };
    let mut all = Vec::new();
    // SAFETY: an open snapshot, and an entry that says its own size.
    let mut more = unsafe { Process32FirstW(snapshot.as_raw_handle(), &raw mut entry) };
    succeeded(more)?;
    while more != 0 {
        all.push((entry.th32ProcessID, entry.th32ParentProcessID));
        // SAFETY: as above.
        more = unsafe { Process32NextW(snapshot.as_raw_handle(), &raw mut entry) };
    }
    Ok(all)
}

/// Whether a process is this one's parent, and runs as the same user.
pub fn is_parent(pid: u32) -> bool {
    let own = std::process::id();
    let named = all().is_ok_and(|all| all.contains(&(own, pid)));
    // A parent that has ended leaves its number, which another process may have by now: that one is younger.
    let older = || match (identity(pid), identity(own)) {
        (Ok((parent, before)), Ok((me, since))) => parent.sid == me.sid && before <= since,
        _ => false,
    };
    named && older()
}

/// The very file that this process runs.
///
/// # Errors
/// Whatever the file system says.
pub fn own_program() -> io::Result<File> {
    File::open(std::env::current_exe()?)
}

/// Whether another program stands in the place of the one that this process was started from. Only a process that was
/// started from below `versions` has such a place.
pub fn is_replaced(versions: &Path, current: &Path) -> bool {
    let own = std::env::current_exe().and_then(|program| file_id(&program));
    match (runs_from(versions), own, file_id(current)) {
        (true, Ok(own), Ok(current)) => own != current,
        _ => false,
    }
}

/// Whether this process was started from below a directory.
pub fn runs_from(dir: &Path) -> bool {
    let own = std::env::current_exe().and_then(|own| Ok((own.canonicalize()?, plain(dir.canonicalize()?))));
    own.is_ok_and(|(own, dir)| is_below(&own, &dir))
}

/// The version below a directory of versions that this process was started from.
pub fn runs_version(versions: &Path) -> Option<protocol::Version> {
    let own = std::env::current_exe().ok()?.canonicalize().ok()?;
    let below = own.strip_prefix(versions.canonicalize().ok()?).ok()?;
    below.iter().next()?.to_str()?.parse().ok()
}

/// Runs another program in the place of this one: there is no exec here, so this process waits, and ends as that one does; should it
/// be ended itself, the other one goes with it. Returns only when that fails.
pub fn become_program(program: &Path, arguments: &[&OsStr]) -> io::Error {
    let run = || {
        let job = Job::new()?;
        let mut child = Command::new(program).args(arguments).spawn()?;
        job.take(child.as_handle())?;
        child.wait()
    };
    match run() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

/// A user's program leads a group of its own, so that Ctrl+C in the terminal is for this process to hand on; and it opens no window
/// of a console's where there is none.
pub fn in_own_group(command: &mut tokio::process::Command) {
    command.creation_flags(CREATE_NEW_PROCESS_GROUP | without_window());
}

/// The flag with which a program is started: this process's console is used, and where there is none, one without a window.
pub fn without_window() -> u32 {
    if win32::console::is_attached() { 0 } else { CREATE_NO_WINDOW }
}

/// The wish that a process ends; kept until that has happened.
#[derive(Debug)]
pub struct Asked(#[expect(dead_code, reason = "held, not looked at")] Option<StopWish>);

/// Asks a user's program to end ([`win32::stop_event`]). One that does not look for that is ended by who waits for it.
pub fn terminate(pid: u32) -> Asked {
    let wish = StopWish::of(pid).inspect_err(|error| tracing::debug!(%error, pid, "cannot be asked to end"));
    Asked(wish.ok())
}

/// Processes that end when this is dropped, or when this process ends, however that ends.
#[derive(Debug)]
pub struct Job(OwnedHandle);

impl Job {
    /// An empty one.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no name and no attributes are allowed.
        let handle = unsafe { CreateJobObjectW(std::ptr::null(), std::ptr::null()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh handle, which nobody else has.
        let job = Self(unsafe { OwnedHandle::from_raw_handle(handle) });
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        // SAFETY: the structure that belongs to the class, and its size.
        succeeded(unsafe {
            SetInformationJobObject(
                job.0.as_raw_handle(),
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast(),
                size_of_val(&limits) as u32,
            )
        })?;
        Ok(job)
    }

    /// Takes a process in, and whatever it will start.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn take(&self, process: BorrowedHandle<'_>) -> io::Result<()> {
        // SAFETY: two open handles.
        succeeded(unsafe { AssignProcessToJobObject(self.0.as_raw_handle(), process.as_raw_handle()) })
    }

    /// Ends all of them.
    pub fn end(&self) {
        // SAFETY: an open job. That there is nobody left in it is what is wanted.
        unsafe { TerminateJobObject(self.0.as_raw_handle(), 1) };
    }
}
