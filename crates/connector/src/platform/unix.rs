//! Linux and its relatives.

use std::{
    fs::{File, OpenOptions, Permissions},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The stream to the local updater.
pub type UpdaterStream = tokio::net::UnixStream;

/// The PC's name as the kernel knows it (uname(2)).
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Creates a file, which must not exist yet, that only its owner can read and write.
///
/// # Errors
/// From the file system.
pub fn create_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Takes every right on a file or directory from everybody but its owner.
///
/// # Errors
/// From the file system.
pub fn make_private(path: &Path, is_directory: bool) -> std::io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(if is_directory { 0o700 } else { 0o600 }))
}

/// Makes renames in a directory durable.
///
/// # Errors
/// From the file system.
pub fn sync_directory(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

/// Where a user's data belongs (XDG Base Directory Specification): `$XDG_DATA_HOME` or `~/.local/share`.
pub fn user_data() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")))?;
    Some(base.join("lockstep").join("connector"))
}

/// Connects to the updater of the PC whose root directory is `root`.
///
/// # Errors
/// From the system: `NotFound` when there is no updater.
pub async fn connect_updater(root: &Path) -> std::io::Result<UpdaterStream> {
    tokio::net::UnixStream::connect(root.join("run/lockstep/updater.sock")).await
}

/// The system's keyring: the Secret Service of the user's session (freedesktop.org), reached over D-Bus. `None` where
/// there is no session bus, as on a server or in a plain terminal login.
///
/// # Errors
/// When there is a bus and no Secret Service answers on it. It may block for as long as the bus does.
pub fn system_keyring() -> Option<keyring_core::Result<Arc<keyring_core::CredentialStore>>> {
    std::env::var_os("DBUS_SESSION_BUS_ADDRESS").filter(|address| !address.is_empty())?;
    Some(zbus_secret_service_keyring_store::Store::new().map(|store| store as Arc<keyring_core::CredentialStore>))
}

/// Lets the kernel find out within about two minutes that the other side is gone, as after sleep or a change of network.
///
/// # Errors
/// From the kernel; the connection works without it.
pub fn keep_alive(stream: &tokio::net::TcpStream) -> std::io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepcnt(stream, 4)?;
    Ok(())
}

/// Waits for the system's or the user's wish that the program ends (SIGTERM, SIGINT).
///
/// # Errors
/// When signals cannot be waited for.
pub async fn asked_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
