//! Machine settings: what an administrator chose for this one PC, in `etc/lockstep/updater.toml`. Without the file everything
//! is as it comes; it is read once, when the service starts.
//!
//! | attack | answer |
//! |---|---|
//! | a user edits the file, or replaces its directory | the same condition as for the site profile: [`SiteError::Writable`] |
//! | an endless file | read up to [`crate::site::MAX_FILE`] bytes |
//! | a setting that is misspelt, and so does not hold | an unknown key is refused, with its line |
//! | settings in the environment, such as `https_proxy` | the environment is not asked |

use std::{io, path::PathBuf};

use serde::Deserialize;

use crate::{
    layout::Layout,
    site::{self, SiteError},
};

pub mod download;
pub mod group_policy;
pub mod policy;

/// The whole file. Every key is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How packages are fetched.
    pub download: download::Settings,
    /// What is done when, and what is not done.
    pub policy: policy::Settings,
}

/// Settings that cannot be used. The service does not start with them: what the administrator wanted is not known.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Somebody else could change the file, or it cannot be read.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// It is there, but cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not TOML, has a key that does not exist, or a value that is not accepted.
    #[error("{path} is not accepted: {message}")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// The line, the key, and what is accepted.
        message: String,
    },
}

/// Reads the machine's settings; those of a machine without the file are the defaults.
///
/// # Errors
/// [`SettingsError`].
pub fn read(layout: &Layout) -> Result<Settings, SettingsError> {
    let path = layout.settings();
    match std::fs::symlink_metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Settings::default()),
        Err(source) => return Err(SettingsError::Unreadable { path, source }),
        Ok(_) => site::trusted_path(layout.root(), &layout.etc())?,
    }
    let bytes = site::read_trusted(&path, |source| SettingsError::Unreadable { path: path.clone(), source })?;
    parse(&bytes).map_err(|message| SettingsError::Invalid { path, message })
}

/// Reads the text of the file.
///
/// # Errors
/// The line, the key, and what is accepted, in words. The line itself is left out: it may hold a password, and this ends in a log.
pub fn parse(bytes: &[u8]) -> Result<Settings, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| format!("it is not UTF-8 from byte {} on", e.valid_up_to()))?;
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        format!("line {line}: {}", error.message().replace('\n', ", "))
    })
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::platform;

    fn machine(dir: &Path, text: &str) -> Layout {
        let layout = Layout::new(&dir.join("root")).unwrap();
        platform::make_dir(&layout.etc(), 0o755).unwrap();
        fs::write(layout.settings(), text).unwrap();
        platform::set_mode(&layout.settings(), 0o644).unwrap();
        layout
    }

    #[test]
    fn a_machine_without_the_file_has_the_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(&dir.path().join("root")).unwrap();
        assert_eq!(read(&layout).unwrap(), Settings::default());
        assert_eq!(read(&machine(dir.path(), "")).unwrap(), Settings::default());
    }

    #[test]
    fn what_others_can_write_is_refused() {
        assert!(platform::is_root(), "this test gives files to another user, so it must run as root");
        let dir = tempfile::tempdir().unwrap();
        let layout = machine(dir.path(), "[download]\n");
        assert!(read(&layout).is_ok());
        for (path, usual) in [(layout.settings(), 0o644), (layout.etc(), 0o755)] {
            platform::set_mode(&path, usual | 0o020).unwrap();
            assert!(
                matches!(read(&layout), Err(SettingsError::Site(SiteError::Writable { .. }))),
                "{}",
                path.display()
            );
            platform::set_mode(&path, usual).unwrap();
        }
        std::os::unix::fs::chown(layout.settings(), Some(60001), None).unwrap();
        assert!(matches!(read(&layout), Err(SettingsError::Site(SiteError::Writable { .. }))));
        fs::remove_file(layout.settings()).unwrap();
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, "").unwrap();
        platform::make_pointer(&elsewhere, &layout.settings()).unwrap();
        assert!(read(&layout).is_err(), "a link is not the file");
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        for (text, line, key) in [
            ("[download]\nbandwith = 5\n", "line 2", "bandwith"),
            ("# x\n\n[downloads]\n", "line 3", "downloads"),
            ("[download]\n\nproxy = \"socks5://p:1\"\n", "line 3", "proxy"),
            ("[download]\nbytes_per_second = 10\n", "line 2", "bytes_per_second"),
            ("[download]\nstart_jitter = \"soon\"\n", "line 2", "start_jitter"),
            ("[download]\nsources = [\"ftp://x/\"]\n", "line 2", "sources"),
            ("[download\n", "line 1", "table"),
        ] {
            let error = crate::words(&read(&machine(dir.path(), text)).unwrap_err());
            assert!(error.contains(line) && error.contains(key), "{error}");
        }
        assert!(parse(b"\xff").unwrap_err().contains("UTF-8"));
    }
}
