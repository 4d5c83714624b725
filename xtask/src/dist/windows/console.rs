//! The program that custom actions run. It is the updater's, marked as a program without a console: Windows Installer runs custom
//! actions as the system and in the session of whoever began, who could open a shell of the system's from a console's window
//! (CVE-2024-38014). What it says goes to the event log. The updater's own program keeps its console, for scripts to wait for.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

/// Its file.
pub const SETUP: &str = "lockstep-setup.exe";
/// `IMAGE_SUBSYSTEM_WINDOWS_GUI`
const WITHOUT: u16 = 2;
/// `IMAGE_SUBSYSTEM_WINDOWS_CUI`
const WITH: u16 = 3;

/// Makes it of the updater's program.
///
/// # Errors
/// When that is missing, or no program with a console.
pub fn setup_program(updater: &Path, to: &Path) -> Result<()> {
    let mut bytes = fs::read(updater).with_context(|| updater.display().to_string())?;
    let at = subsystem(&bytes).with_context(|| updater.display().to_string())?;
    ensure!(bytes[at..at + 2] == WITH.to_le_bytes(), "{} has no console to take away", updater.display());
    bytes[at..at + 2].copy_from_slice(&WITHOUT.to_le_bytes());
    fs::write(to, bytes).with_context(|| to.display().to_string())
}

/// Whether a program opens a console when it is started from elsewhere.
///
/// # Errors
/// When it is no program of Windows.
pub fn has_console(program: &Path) -> Result<bool> {
    let bytes = fs::read(program).with_context(|| program.display().to_string())?;
    let at = subsystem(&bytes).with_context(|| program.display().to_string())?;
    Ok(bytes[at..at + 2] == WITH.to_le_bytes())
}

/// Where a program says it (PE format, "Optional Header Windows-Specific Fields").
fn subsystem(bytes: &[u8]) -> Result<usize> {
    let no_program = "this is no program for Windows";
    let header = bytes.get(0x3C..0x40).and_then(|b| Some(u32::from_le_bytes(b.try_into().ok()?)));
    let header = usize::try_from(header.context(no_program)?)?;
    ensure!(bytes.starts_with(b"MZ") && bytes.get(header..header + 4) == Some(b"PE\0\0"), no_program);
    // Behind the signature and the file header of 20 bytes; the field's place is the same for 32 and 64 bits.
    let at = header + 4 + 20 + 68;
    ensure!(bytes.len() >= at + 2, no_program);
    Ok(at)
}
