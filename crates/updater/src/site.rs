//! Machine policy: which site this PC belongs to and which vendor it trusts.
//!
//! | attack | answer |
//! |---|---|
//! | a user edits the site profile, or replaces its directory | [`SiteError::Writable`]: every file and directory on the way must be root's (or the service's own) and writable by nobody else |
//! | a profile that sends the updater to a plain address | [`SiteError::NotHttps`] |
//! | an endless profile | read up to [`MAX_FILE`] bytes |

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use protocol::site::SiteProfile;

use crate::{layout::Layout, platform};

/// Bytes; a longer site profile or root file is refused.
pub const MAX_FILE: u64 = 1 << 20;

/// Machine policy, as read once at start.
#[derive(Debug, Clone)]
pub struct Site {
    /// The site profile.
    pub profile: SiteProfile,
    /// The vendor's pinned TUF root, the very bytes.
    pub vendor_root: Vec<u8>,
}

/// Machine policy that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// Somebody else could change it.
    #[error(
        "{path} cannot be trusted: {why}. Only an administrator may be able to change it: correct its owner and mode, or run `lockstep-updater install` again"
    )]
    Writable {
        /// Which file or directory.
        path: PathBuf,
        /// In words.
        why: String,
    },
    /// It is not there or cannot be read.
    #[error(
        "{path} cannot be read; run `lockstep-updater install` from the folder downloaded from your site's integration page"
    )]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not a site profile.
    #[error("{path} is not a site profile; download the updater from your site's integration page again")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The server is not reached over TLS.
    #[error("the site profile names the server {0:?}, which is not an https:// address")]
    NotHttps(String),
}

/// Reads machine policy, and refuses what others than root and this process's own user could have written.
///
/// # Errors
/// [`SiteError`].
pub fn read(layout: &Layout) -> Result<Site, SiteError> {
    let vendor_root = read_vendor_root(layout)?;
    let profile = parse(&layout.site(), &read_own(&layout.site())?)?;
    Ok(Site { profile, vendor_root })
}

/// Reads the pinned root alone, under the same conditions.
///
/// # Errors
/// [`SiteError::Writable`], [`SiteError::Unreadable`].
pub fn read_vendor_root(layout: &Layout) -> Result<Vec<u8>, SiteError> {
    trusted_path(layout.root(), &layout.etc())?;
    read_own(&layout.vendor_root())
}

/// Reads a site profile from its bytes.
///
/// # Errors
/// [`SiteError::Malformed`], [`SiteError::NotHttps`].
pub fn parse(path: &Path, bytes: &[u8]) -> Result<SiteProfile, SiteError> {
    let profile: SiteProfile =
        serde_json::from_slice(bytes).map_err(|source| SiteError::Malformed { path: path.into(), source })?;
    if !profile.server.starts_with("https://") {
        return Err(SiteError::NotHttps(profile.server.chars().take(200).collect()));
    }
    Ok(profile)
}

/// Refuses a directory that others could change or replace: it and everything between it and `root` must be ours
/// alone; above `root`, a sticky directory of root (such as `/tmp`) is accepted, since nobody can rename
/// another user's entries there.
///
/// # Errors
/// [`SiteError::Writable`].
pub fn trusted_path(root: &Path, dir: &Path) -> Result<(), SiteError> {
    for ancestor in dir.ancestors() {
        let above = platform::is_above(root, ancestor);
        if above && platform::is_sticky_of_root(ancestor) {
            continue;
        }
        platform::written_by_us_only(ancestor).map_err(|why| SiteError::Writable { path: ancestor.into(), why })?;
    }
    Ok(())
}

fn read_own(path: &Path) -> Result<Vec<u8>, SiteError> {
    read_trusted(path, |source| SiteError::Unreadable { path: path.into(), source })
}

/// Reads a file that only we could have written, in a directory that the caller has looked at ([`trusted_path`]).
pub(crate) fn read_trusted<E: From<SiteError>>(
    path: &Path,
    unreadable: impl FnOnce(io::Error) -> E,
) -> Result<Vec<u8>, E> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|f| f.take(MAX_FILE).read_to_end(&mut bytes)).map_err(unreadable)?;
    platform::written_by_us_only(path).map_err(|why| SiteError::Writable { path: path.into(), why })?;
    Ok(bytes)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;

    use super::*;

    fn policy(dir: &Path) -> Layout {
        let layout = Layout::new(&dir.join("root")).unwrap();
        platform::make_dir(&layout.etc(), 0o755).unwrap();
        let profile = r#"{"v":1,"server":"https://mail.example.test:4443","enrolment_key":"k"}"#;
        for (path, text) in [(layout.site(), profile), (layout.vendor_root(), "{}")] {
            fs::write(&path, text).unwrap();
            platform::set_mode(&path, 0o644).unwrap();
        }
        layout
    }

    #[test]
    fn policy_that_only_an_administrator_can_write_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let site = read(&policy(dir.path())).unwrap();
        assert_eq!(site.profile.server, "https://mail.example.test:4443");
        assert_eq!(site.vendor_root, b"{}");
    }

    #[test]
    fn policy_that_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let layout = policy(dir.path());
        for (path, usual) in [(layout.site(), 0o644), (layout.vendor_root(), 0o644), (layout.etc(), 0o755)] {
            for mode in [0o666, 0o664] {
                platform::set_mode(&path, mode | (usual & 0o111)).unwrap();
                assert!(matches!(read(&layout), Err(SiteError::Writable { .. })), "{} {mode:o}", path.display());
            }
            platform::set_mode(&path, usual).unwrap();
        }
        assert!(read(&layout).is_ok());
    }

    #[test]
    fn policy_that_belongs_to_a_user_is_refused() {
        assert!(platform::is_root(), "this test gives files to another user, so it must run as root");
        let dir = tempfile::tempdir().unwrap();
        let layout = policy(dir.path());
        std::os::unix::fs::chown(layout.site(), Some(60001), None).unwrap();
        assert!(matches!(read(&layout), Err(SiteError::Writable { .. })));
    }

    #[test]
    fn a_server_without_tls_is_refused() {
        let text = br#"{"v":1,"server":"http://mail.example.test","enrolment_key":"k"}"#;
        assert!(matches!(parse(Path::new("site.json"), text), Err(SiteError::NotHttps(_))));
    }
}
