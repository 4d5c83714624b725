//! A program that runs with as few rights as can be had without another account: without privileges and without being an
//! administrator; it can write only where every user can. It and what it starts end with its job.
//!
//! The token is the service's own, restricted: `WRITE_RESTRICTED` with everybody, the computer's users and `S-1-5-33`, as Windows'
//! own restricted services have. Reading is as it was, so that any program can start.

#![expect(unsafe_code, reason = "starting a process with another token is not in the standard library")]

use std::{
    ffi::OsString,
    io, iter,
    os::windows::{
        ffi::OsStringExt,
        io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle},
        process::ExitStatusExt,
    },
    path::{Path, PathBuf},
    process::ExitStatus,
    ptr::{null, null_mut},
    time::Duration,
};

use windows_sys::Win32::{
    Foundation::{WAIT_OBJECT_0, WAIT_TIMEOUT},
    Security::{
        CreateRestrictedToken, DISABLE_MAX_PRIVILEGE, SID_AND_ATTRIBUTES, TOKEN_ADJUST_DEFAULT, TOKEN_ASSIGN_PRIMARY,
        TOKEN_DUPLICATE, TOKEN_QUERY, WRITE_RESTRICTED,
    },
    System::{
        SystemInformation::GetSystemWindowsDirectoryW,
        Threading::{
            CREATE_NO_WINDOW, CREATE_SUSPENDED, CREATE_UNICODE_ENVIRONMENT, CreateProcessAsUserW, GetExitCodeProcess,
            PROCESS_INFORMATION, ResumeThread, STARTUPINFOW, TerminateProcess, WaitForSingleObject,
        },
    },
};

use win32::{ADMINISTRATORS, command_line, own_token};

use super::{process::Job, succeeded, token, wide};

/// It can write only where one of these can: everybody, the computer's users, and what is marked for such programs.
const RESTRICTING: [&str; 3] = ["S-1-1-0", "S-1-5-32-545", "S-1-5-33"];
/// How often it is looked at whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A program that runs without rights, in Windows' own directory, with nothing in its environment but where Windows is.
#[derive(Debug)]
pub struct Unprivileged {
    process: OwnedHandle,
    job: Job,
}

impl Unprivileged {
    /// Starts it.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn start(program: &Path, arguments: &[String]) -> io::Result<Self> {
        let job = Job::new()?;
        let token = restricted_token()?;
        let windows = windows_directory()?;
        let mut environment = wide(format!("SystemRoot={}", windows.display()));
        environment.push(0);
        let (application, directory) = (wide(program), wide(&windows));
        let words = iter::once(program.to_string_lossy()).chain(arguments.iter().map(|word| word.as_str().into()));
        let mut line = wide(command_line(words));
        let startup = STARTUPINFOW { cb: size_of::<STARTUPINFOW>() as u32, ..Default::default() };
        let mut made = PROCESS_INFORMATION::default();
        // SAFETY: texts that end with a zero (the environment with two), and structures that live through the call.
        succeeded(unsafe {
            CreateProcessAsUserW(
                token.as_raw_handle(),
                application.as_ptr(),
                line.as_mut_ptr(),
                null(),
                null(),
                0,
                CREATE_SUSPENDED | CREATE_NO_WINDOW | CREATE_UNICODE_ENVIRONMENT,
                environment.as_ptr().cast(),
                directory.as_ptr(),
                &raw const startup,
                &raw mut made,
            )
        })?;
        // SAFETY: two fresh handles, which nobody else has.
        let (process, thread) =
            unsafe { (OwnedHandle::from_raw_handle(made.hProcess), OwnedHandle::from_raw_handle(made.hThread)) };
        if let Err(error) = job.take(process.as_handle()) {
            // SAFETY: an open process, which has not done anything yet.
            unsafe { TerminateProcess(process.as_raw_handle(), 1) };
            return Err(error);
        }
        // SAFETY: an open thread.
        if unsafe { ResumeThread(thread.as_raw_handle()) } == u32::MAX {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { process, job })
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Whatever the system says.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            // SAFETY: an open process.
            match unsafe { WaitForSingleObject(self.process.as_raw_handle(), 0) } {
                WAIT_OBJECT_0 => break,
                WAIT_TIMEOUT => tokio::time::sleep(LOOK).await,
                _ => return Err(io::Error::last_os_error()),
            }
        }
        let mut code = 0;
        // SAFETY: an open process and a place to write to.
        succeeded(unsafe { GetExitCodeProcess(self.process.as_raw_handle(), &raw mut code) })?;
        Ok(ExitStatus::from_raw(code))
    }

    /// Ends it and whatever it has started.
    pub fn end(&self) {
        self.job.end();
    }
}

fn restricted_token() -> io::Result<OwnedHandle> {
    let own = own_token(TOKEN_DUPLICATE | TOKEN_QUERY | TOKEN_ASSIGN_PRIMARY | TOKEN_ADJUST_DEFAULT)?;
    let administrators = token::sid(ADMINISTRATORS)?;
    let refused = [entry(&administrators)];
    let everybody = RESTRICTING.map(token::sid).into_iter().collect::<io::Result<Vec<_>>>()?;
    let restricting: Vec<_> = everybody.iter().map(entry).collect();
    let mut token = null_mut();
    // SAFETY: an open token; lists with their lengths, whose SIDs live through the call; a place to write to.
    succeeded(unsafe {
        CreateRestrictedToken(
            own.as_raw_handle(),
            DISABLE_MAX_PRIVILEGE | WRITE_RESTRICTED,
            refused.len() as u32,
            refused.as_ptr(),
            0,
            null(),
            restricting.len() as u32,
            restricting.as_ptr(),
            &raw mut token,
        )
    })?;
    // SAFETY: a fresh handle, which nobody else has.
    Ok(unsafe { OwnedHandle::from_raw_handle(token) })
}

fn entry(sid: &[u64; 9]) -> SID_AND_ATTRIBUTES {
    SID_AND_ATTRIBUTES { Sid: sid.as_ptr().cast_mut().cast(), Attributes: 0 }
}

fn windows_directory() -> io::Result<PathBuf> {
    let mut name = [0; 512];
    // SAFETY: so much room is there.
    let length = unsafe { GetSystemWindowsDirectoryW(name.as_mut_ptr(), name.len() as u32) };
    let name = name.get(..length as usize).filter(|name| !name.is_empty());
    name.map(|name| OsString::from_wide(name).into()).ok_or_else(io::Error::last_os_error)
}
