//! Starting at sign-in: a value of `HKCU\Software\Microsoft\Windows\CurrentVersion\Run`, for a connector that a user has
//! installed for themselves. The machine's connector is started by the value that its installer makes in `HKLM`.
//!
//! `setup` writes the value; whichever connector runs points it to itself. A user who removes it is not argued with.

use std::{
    io,
    path::{Path, PathBuf},
};

use win32::command_line;

use crate::platform::registry::{self, Hive, View};

/// Its name among such values.
const NAME: &str = "Lockstep Connector";

/// Writes the value into the key `run`, to start `command`.
///
/// # Errors
/// From the registry.
pub fn write(run: &Path, command: &[impl AsRef<Path>]) -> io::Result<PathBuf> {
    registry::set_users_text(&run.to_string_lossy(), NAME, &line(command))?;
    Ok(Path::new("HKCU").join(run).join(NAME))
}

/// Points a value that is there to `command`. Gives whether there was one that pointed elsewhere.
///
/// # Errors
/// From the registry.
pub fn point_to(run: &Path, command: &[impl AsRef<Path>]) -> io::Result<bool> {
    let (key, wanted) = (run.to_string_lossy(), line(command));
    match registry::text(Hive::User, &key, NAME, View::Bits64) {
        Some(before) if before != wanted => registry::set_users_text(&key, NAME, &wanted).map(|()| true),
        _ => Ok(false),
    }
}

/// Removes the value: the machine starts its connector for everybody.
///
/// # Errors
/// From the registry.
pub fn remove(run: &Path) -> io::Result<()> {
    registry::remove_users_value(&run.to_string_lossy(), NAME)
}

fn line(command: &[impl AsRef<Path>]) -> String {
    let words: Vec<_> = command.iter().map(|word| word.as_ref().to_string_lossy()).collect();
    command_line(&words)
}
