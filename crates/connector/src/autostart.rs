//! Starting at login, where there is a desktop (Desktop Application Autostart Specification, `~/.config/autostart`).
//!
//! `setup` writes the entry; whichever connector runs points it to itself: this user's own program first, the machine's
//! launcher once that has taken over. A user who removes the entry, or hides it, is not argued with.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Its name in the directory of such entries.
const NAME: &str = "lockstep-connector.desktop";

/// Writes the entry into `directory`, to start `command`.
///
/// # Errors
/// From the file system.
pub fn write(directory: &Path, command: &[impl AsRef<Path>]) -> io::Result<PathBuf> {
    std::fs::create_dir_all(directory)?;
    let path = directory.join(NAME);
    std::fs::write(&path, entry(command))?;
    Ok(path)
}

/// Points an entry that is there to `command`. Gives whether there was one that pointed elsewhere.
///
/// # Errors
/// From the file system.
pub fn point_to(directory: &Path, command: &[impl AsRef<Path>]) -> io::Result<bool> {
    let path = directory.join(NAME);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let wanted = exec(command);
    let lines: Vec<&str> =
        text.lines().map(|line| if line.starts_with("Exec=") { wanted.as_str() } else { line }).collect();
    let new = lines.join("\n") + "\n";
    let changed = new != text;
    if changed {
        std::fs::write(&path, new)?;
    }
    Ok(changed)
}

/// Removes the entry; good also when there is none.
///
/// # Errors
/// From the file system.
pub fn remove(directory: &Path) -> io::Result<()> {
    match std::fs::remove_file(directory.join(NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn entry(command: &[impl AsRef<Path>]) -> String {
    format!(
        "[Desktop Entry]\nType=Application\nName=Lockstep Connector\nComment=Your mailbox, also without a connection\n\
         {}\nTerminal=false\nNoDisplay=true\n",
        exec(command)
    )
}

/// The `Exec` line: every argument quoted as the Desktop Entry Specification says, `%` doubled since it begins a field code.
fn exec(command: &[impl AsRef<Path>]) -> String {
    let quoted = command.iter().map(|argument| {
        let mut text = String::from("\"");
        for letter in argument.as_ref().to_string_lossy().chars() {
            match letter {
                '"' | '`' | '$' => text.extend(['\\', '\\', letter]),
                '\\' => text.push_str("\\\\\\\\"),
                '%' => text.push_str("%%"),
                other => text.push(other),
            }
        }
        text + "\""
    });
    format!("Exec={}", quoted.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_written_and_later_points_elsewhere_but_is_never_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let autostart = dir.path().join("autostart");
        let own = [Path::new("/home/a b/100%/connector"), Path::new("run")];
        assert!(!point_to(&autostart, &own).unwrap(), "there is none");
        let path = write(&autostart, &own).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\nExec=\"/home/a b/100%%/connector\" \"run\"\n"), "{text}");
        assert!(!point_to(&autostart, &own).unwrap());
        let hidden = text + "Hidden=true\n";
        std::fs::write(&path, &hidden).unwrap();
        let machines = [Path::new("/opt/launcher"), Path::new("a\"$b")];
        assert!(point_to(&autostart, &machines).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("\nExec=\"/opt/launcher\" \"a\\\\\"\\\\$b\"\n") && text.ends_with("Hidden=true\n"),
            "{text}"
        );
    }
}
