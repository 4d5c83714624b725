//! What is packed: the program, which version it is, and how it behaves.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// The product's name in signed metadata.
pub const PRODUCT: &str = "sample-service";

/// The program's path in the package.
pub const PROGRAM: &str = "bin/lockstep-sample-service";

/// The unit's name, for the manifest's `restart`.
pub const UNIT_NAME: &str = "lockstep-sample.service";

/// The unit's text. An administrator puts it into `/etc/systemd/system`, once; the updater never writes units.
pub const UNIT: &str = include_str!("../systemd/lockstep-sample.service");

/// How a version behaves; its package says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should.
    Works,
    /// Its self-check fails.
    FailsItsCheck,
    /// It ends with exit code 3 as soon as it is started.
    EndsAtOnce,
    /// It is ready, serves, and crashes after this time.
    CrashesAfter(Duration),
    /// It never says that it is ready.
    NeverReady,
}

impl Behaviour {
    fn text(self) -> String {
        match self {
            Self::Works => "works".into(),
            Self::FailsItsCheck => "fails-its-check".into(),
            Self::EndsAtOnce => "ends-at-once".into(),
            Self::CrashesAfter(time) => format!("crashes-after {}", time.as_millis()),
            Self::NeverReady => "never-ready".into(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "works" => Some(Self::Works),
            "fails-its-check" => Some(Self::FailsItsCheck),
            "ends-at-once" => Some(Self::EndsAtOnce),
            "never-ready" => Some(Self::NeverReady),
            other => {
                let millis = other.strip_prefix("crashes-after ")?.parse().ok()?;
                Some(Self::CrashesAfter(Duration::from_millis(millis)))
            }
        }
    }
}

/// Writes the tree that `lockstep pack` packs, with a copy of `program`, the built `lockstep-sample-service`.
///
/// # Errors
/// Whatever the file system says.
pub fn write_tree(into: &Path, program: &Path, version: &str, behaviour: Behaviour) -> io::Result<()> {
    fs::create_dir_all(into.join("bin"))?;
    fs::create_dir_all(into.join("share"))?;
    fs::copy(program, into.join(PROGRAM))?;
    fs::write(into.join("share/version"), version)?;
    fs::write(into.join("share/behaviour"), behaviour.text())
}

/// The version and the behaviour of the package that a program lies in.
///
/// # Errors
/// Whatever the file system says; `InvalidData` for a behaviour that this program does not have.
pub fn of_program(program: &Path) -> io::Result<(String, Behaviour)> {
    let share: PathBuf = program.parent().and_then(Path::parent).ok_or(io::ErrorKind::NotFound)?.join("share");
    let version = fs::read_to_string(share.join("version"))?.trim().to_owned();
    let behaviour = Behaviour::parse(&fs::read_to_string(share.join("behaviour"))?);
    let unknown = || io::Error::new(io::ErrorKind::InvalidData, "share/behaviour is not known");
    Ok((version, behaviour.ok_or_else(unknown)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_behaviour_is_read_as_it_was_written() {
        for behaviour in [
            Behaviour::Works,
            Behaviour::FailsItsCheck,
            Behaviour::EndsAtOnce,
            Behaviour::CrashesAfter(Duration::from_millis(1500)),
            Behaviour::NeverReady,
        ] {
            assert_eq!(Behaviour::parse(&behaviour.text()), Some(behaviour));
        }
        assert_eq!(Behaviour::parse("crashes-after soon"), None);
    }
}
