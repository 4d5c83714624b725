//! Which site this PC belongs to: the site profile, and the PC's own name.

use std::path::{Path, PathBuf};

use protocol::site::SiteProfile;

/// Why there is no site profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// None of the places has one.
    #[error(
        "no site.json was found (looked at {}); install the connector from the integration page of your mail server",
        .0.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    Missing(Vec<PathBuf>),
    /// There is one, but it cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The vendor's root does not lie beside it.
    #[error("cannot read {path}, without which nothing can be verified; get it from the integration page")]
    NoVendorRoot {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is one, but it is damaged.
    #[error("{path} is damaged; get a new one from the integration page")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// A site profile, and where it was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// What it says.
    pub profile: SiteProfile,
    /// The file's very bytes.
    pub bytes: Vec<u8>,
    /// The folder that it lies in.
    pub folder: PathBuf,
}

impl Found {
    /// The vendor's pinned TUF root, which lies beside the profile, verbatim.
    ///
    /// # Errors
    /// [`ProfileError::NoVendorRoot`].
    pub fn vendor_root(&self) -> Result<Vec<u8>, ProfileError> {
        let path = self.folder.join("root.json");
        std::fs::read(&path).map_err(|source| ProfileError::NoVendorRoot { path, source })
    }
}

/// Finds the site profile: the machine's (`ROOT/etc/lockstep/site.json`), which only an administrator can write, goes
/// before the one that came beside the program (`program` is the running executable).
///
/// # Errors
/// [`ProfileError`]. A damaged machine profile is an error, not a reason to look further: else a user could
/// get rid of it by damaging it.
pub fn find(root: &Path, program: &Path) -> Result<Found, ProfileError> {
    let beside = program.parent().unwrap_or(Path::new("."));
    let places = [
        crate::platform::settings(root).join("site.json"),
        beside.join("site.json"),
        beside.join("..").join("site.json"),
    ];
    for path in &places {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => continue,
            Err(source) => return Err(ProfileError::Unreadable { path: path.clone(), source }),
        };
        let profile =
            serde_json::from_slice(&text).map_err(|source| ProfileError::Damaged { path: path.clone(), source })?;
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        return Ok(Found { profile, bytes: text, folder });
    }
    Err(ProfileError::Missing(places.into()))
}

/// The PC's name: what `ROOT/etc/hostname` says if there is one, else what the system says.
pub fn hostname(root: &Path) -> String {
    let file = crate::platform::hostname_file(root);
    let written = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    // hostname(5): comments start with '#'.
    let written = written.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    written.map(str::to_owned).unwrap_or_else(crate::platform::hostname)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = r#"{"v":1,"server":"https://NAME:4443","enrolment_key":"k"}"#;

    #[test]
    fn the_machines_profile_goes_before_the_one_beside_the_program() {
        let pc = tempfile::tempdir().unwrap();
        let program = pc.path().join("app/bin/lockstep-connector");
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        assert!(matches!(find(pc.path(), &program), Err(ProfileError::Missing(_))));

        std::fs::write(pc.path().join("app/site.json"), PROFILE.replace("NAME", "above")).unwrap();
        assert_eq!(find(pc.path(), &program).unwrap().profile.server, "https://above:4443");
        std::fs::write(pc.path().join("app/bin/site.json"), PROFILE.replace("NAME", "beside")).unwrap();
        assert_eq!(find(pc.path(), &program).unwrap().profile.server, "https://beside:4443");
        std::fs::create_dir_all(pc.path().join("etc/lockstep")).unwrap();
        std::fs::write(pc.path().join("etc/lockstep/site.json"), PROFILE.replace("NAME", "machine")).unwrap();
        assert_eq!(find(pc.path(), &program).unwrap().profile.server, "https://machine:4443");

        std::fs::write(pc.path().join("etc/lockstep/site.json"), "{").unwrap();
        assert!(matches!(find(pc.path(), &program), Err(ProfileError::Damaged { .. })));
    }

    #[test]
    fn the_name_of_a_pc_is_what_its_own_root_says() {
        let pc = tempfile::tempdir().unwrap();
        assert!(!hostname(pc.path()).is_empty());
        std::fs::create_dir_all(pc.path().join("etc")).unwrap();
        std::fs::write(pc.path().join("etc/hostname"), "# made by the installer\npc-ready\n").unwrap();
        assert_eq!(hostname(pc.path()), "pc-ready");
    }
}
