//! The connector that an administrator has installed for everybody on this PC, and when this user's own one makes room
//! for it.
//!
//! | attack | answer |
//! |---|---|
//! | a program that a user planted where the machine's should be | only below the PC's root, where nobody but an administrator can write |
//! | an older version installed, to get at the mail with its faults | one that is older than what runs takes over only when the site's server demands that very version |

use std::path::{Path, PathBuf};

use protocol::Version;

use crate::{gate::Verdict, platform};

/// Starts the machine's connector.
pub fn launcher(root: &Path) -> PathBuf {
    platform::launcher(root)
}

/// Whether the updater is installed, running or not.
pub fn updater_is_installed(root: &Path) -> bool {
    launcher(root).is_file() || platform::listed_updater(root).is_some()
}

/// What to say of an updater that is installed but does not answer: how the system lists it. `None`: it is not installed.
pub fn silent_updater(root: &Path) -> Option<String> {
    let version = platform::listed_updater(root).filter(|version| !version.is_empty());
    let version = version.map(|version| format!(" {version}")).unwrap_or_default();
    updater_is_installed(root).then(|| format!("Lockstep Updater{version} is installed and does not answer"))
}

/// The machine's active connector.
pub fn connector(root: &Path) -> Option<Version> {
    platform::active_version(&platform::programs(root).join("connector"))
}

/// Whether `program` is the machine's own, whichever version.
pub fn is_machines_own(root: &Path, program: &Path) -> bool {
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    canonical(program).starts_with(canonical(&platform::programs(root).join("connector")))
}

/// Whether the machine's connector is to go on in place of the running one, which is this user's own.
///
/// When the site's server says that the running version cannot work with the mail server, the machine's must be one that
/// can: the one that was named, or a later one of the same minor version. Otherwise it must not be older.
pub fn takes_over(machines: &Version, running: &Version, verdict: Option<&Verdict>) -> bool {
    match verdict.filter(|verdict| verdict.incompatible) {
        Some(Verdict { needed: Some(needed), .. }) => {
            (machines.major, machines.minor) == (needed.major, needed.minor) && machines >= needed
        }
        Some(_) => false,
        None => machines >= running,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(needed: Option<&str>, incompatible: bool) -> Verdict {
        Verdict {
            about: "7.2.0".parse().unwrap(),
            incompatible,
            needed: needed.map(|v| v.parse().unwrap()),
            why: String::new(),
            integration_page: None,
            webmail: None,
        }
    }

    #[test]
    fn a_version_that_works_takes_over_and_no_other() {
        let required = verdict(Some("7.3.0"), true);
        let downgrade = verdict(Some("7.1.0"), true);
        for (machines, verdict, expected) in [
            ("7.3.0", Some(&required), true),
            ("7.3.4", Some(&required), true),
            ("7.2.0", Some(&required), false),
            ("7.4.0", Some(&required), false),
            ("7.1.0", Some(&downgrade), true),
            ("7.3.0", Some(&verdict(None, true)), false),
            ("7.2.0", Some(&verdict(None, false)), true),
            ("7.3.0", None, true),
            ("7.1.9", None, false),
        ] {
            assert_eq!(
                takes_over(&machines.parse().unwrap(), &"7.2.0".parse().unwrap(), verdict),
                expected,
                "{machines}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_updater_that_does_not_answer_is_told_from_one_that_is_not_there() {
        let pc = tempfile::tempdir().unwrap();
        assert_eq!(silent_updater(pc.path()), None);
        let launcher = launcher(pc.path());
        std::fs::create_dir_all(launcher.parent().unwrap()).unwrap();
        std::fs::write(launcher, "").unwrap();
        assert_eq!(silent_updater(pc.path()).as_deref(), Some("Lockstep Updater is installed and does not answer"));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_installed_is_read_from_the_active_version() {
        let pc = tempfile::tempdir().unwrap();
        assert_eq!((connector(pc.path()), updater_is_installed(pc.path())), (None, false));
        let product = pc.path().join("opt/lockstep/connector");
        std::fs::create_dir_all(product.join("versions/7.3.0/bin")).unwrap();
        std::os::unix::fs::symlink("versions/7.4.0", product.join("current")).unwrap();
        assert_eq!(connector(pc.path()), None, "it leads nowhere");
        std::fs::remove_file(product.join("current")).unwrap();
        std::os::unix::fs::symlink("versions/7.3.0", product.join("current")).unwrap();
        assert_eq!(connector(pc.path()), Some("7.3.0".parse().unwrap()));
        let program = product.join("versions/7.3.0/bin/lockstep-connector");
        std::fs::write(&program, "").unwrap();
        assert!(is_machines_own(pc.path(), &product.join("current/bin/lockstep-connector")));
        assert!(!is_machines_own(pc.path(), Path::new("/usr/bin/true")));
    }
}
