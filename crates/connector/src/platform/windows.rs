//! Windows. A file in the user's own profile is private by inheritance, so "private" needs nothing more here.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The PC's name.
pub fn hostname() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "pc".into())
}

/// Creates a file, which must not exist yet.
///
/// # Errors
/// From the file system.
pub fn create_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Nothing to do: see the module's header.
///
/// # Errors
/// Never.
pub fn make_private(_path: &Path, _is_directory: bool) -> std::io::Result<()> {
    Ok(())
}

/// Nothing to do: NTFS journals renames, and directories cannot be flushed.
///
/// # Errors
/// Never.
pub fn sync_directory(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

/// `%LOCALAPPDATA%\Lockstep\Connector`.
pub fn user_data() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("LOCALAPPDATA")?).join("Lockstep").join("Connector"))
}

/// The system's keyring: the Credential Manager.
///
/// # Errors
/// When it cannot be opened.
pub fn system_keyring() -> Option<keyring_core::Result<Arc<keyring_core::CredentialStore>>> {
    Some(windows_native_keyring_store::Store::new().map(|store| store as Arc<keyring_core::CredentialStore>))
}

/// Nothing to do: a dead connection is found out when IDLE is renewed.
///
/// # Errors
/// Never.
pub fn keep_alive(_stream: &tokio::net::TcpStream) -> std::io::Result<()> {
    Ok(())
}

/// Waits for Ctrl-C.
///
/// # Errors
/// When it cannot be waited for.
pub async fn asked_to_stop() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// Opens a file for reading and writing, making it if need be.
///
/// # Errors
/// From the file system.
pub fn open_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// Not known on Windows yet.
pub fn disk_free(_path: &Path) -> Option<u64> {
    None
}

/// Whether there is a way to ask for the administrator's rights here.
///
/// # Errors
/// Always, for now.
pub fn can_elevate() -> Result<(), &'static str> {
    Err("not on Windows yet: run the installer from the integration page as an administrator")
}

/// This process, in words of a system that has such probes; Windows has none.
pub fn own_process() -> String {
    std::process::id().to_string()
}

/// Nothing to do: no elevated command is started on Windows yet.
pub fn detach(_command: &mut tokio::process::Command) {}

/// Nothing to do: no elevated command is started on Windows yet.
pub fn end_session(_leader: u32) {}

/// Not on Windows yet.
pub fn become_program(_program: &Path, _arguments: &[&OsStr]) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::Unsupported, "not on Windows yet: start the installed connector")
}

/// Not on Windows yet: its installer makes the entry.
pub fn autostart() -> Option<PathBuf> {
    None
}

/// A notification on the user's desktop: not on Windows yet.
#[derive(Debug, Default)]
pub struct Desktop;

impl Desktop {
    /// Not on Windows yet.
    pub async fn show(&mut self, _summary: &str, _text: &str) {
        tracing::debug!("no desktop notification: not on Windows yet");
    }

    /// Nothing was shown.
    pub async fn withdraw(&mut self) {}
}
