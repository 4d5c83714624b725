//! `lockstep-updater configure`: what an installation package was told about the site becomes machine policy.
//!
//! Windows Installer hands its properties on through this command, which it runs as the system.
//!
//! | attack | answer |
//! |---|---|
//! | a value that ends its argument and begins another one | exactly six arguments, each with its name in front, in one order ([`Given::from_words`]) |
//! | a `root.json` or `site.json` that a user exchanges while it is read | it and every directory above it must be an administrator's alone ([`super::InstallError::NotOurs`]) |
//! | another vendor's root | a root that is pinned here is never replaced; before one from a folder goes the one that this program carries |
//! | files beside the package that a person started (`site.json`, `root.json`), which whoever started it could change | they say where a computer belongs that belongs nowhere yet, no more; who could change them could have changed the package. Read as [`folder`](super::folder) reads: no links, limits |
//! | a plain address, control characters, an endless value | the very parser that the service reads its profile with, and limits |
//! | the pinned certificate of one server, kept for another | it goes with the address that it belonged to |

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use protocol::{policy::UpgradePolicy, site::SiteProfile};
use release::{carried_root, tuf};

use super::{InstallError, adopt, check_rights, disk, folder::Folder, place, trust};
use crate::{layout::Layout, platform, site};

/// The arguments, in their order.
const NAMES: [&str; 6] = ["--server=", "--policy=", "--enrolment-key=", "--root-json=", "--site-json=", "--package="];
/// Characters.
const MAX_VALUE: usize = 2048;

/// What was given; the rest stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// The server's address.
    pub server: Option<String>,
    /// One of the six upgrade policies.
    pub policy: Option<UpgradePolicy>,
    /// Lets this computer enrol.
    pub enrolment_key: Option<String>,
    /// A file with the vendor's root.
    pub root_json: Option<PathBuf>,
    /// A file with a whole site profile, which the others go before.
    pub site_json: Option<PathBuf>,
    /// The installation package itself. `site.json` and `root.json` may lie beside it, as in the integration page's download.
    pub package: Option<PathBuf>,
}

impl Given {
    /// Reads the arguments: all six, each with its name in front, in their order. An empty one is not given.
    ///
    /// # Errors
    /// What is wrong, in words; values are not repeated, since one is a secret.
    pub fn from_words(words: &[String]) -> Result<Self, String> {
        let wrong = || format!("exactly these arguments are taken, in this order: {}", NAMES.join(" "));
        if words.len() != NAMES.len() {
            return Err(wrong());
        }
        let mut values = Vec::new();
        for (word, name) in words.iter().zip(NAMES) {
            let value = word.strip_prefix(name).ok_or_else(wrong)?;
            if value.chars().count() > MAX_VALUE || value.chars().any(char::is_control) {
                return Err(format!("{name} is too long or has control characters in it"));
            }
            values.push(Some(value.to_owned()).filter(|v| !v.is_empty()));
        }
        let mut values = values.into_iter();
        let mut next = || values.next().flatten();
        let (server, policy, enrolment_key) = (next(), next(), next());
        let policy = policy.map(|name| {
            let known: Option<UpgradePolicy> = serde_json::from_value(name.into()).ok();
            known.ok_or("--policy= is not one of the six upgrade policies, such as necessary-ask")
        });
        let mut path = || next().map(PathBuf::from);
        let policy = policy.transpose()?;
        Ok(Self { server, policy, enrolment_key, root_json: path(), site_json: path(), package: path() })
    }

    /// Whether an administrator said anything; where the package lies is nothing that anybody says.
    fn says_nothing(&self) -> bool {
        *self == Self { package: self.package.clone(), ..Self::default() }
    }

    /// A small file beside the package. `None`: there is none, or the system cannot look there (another user's network drive).
    fn beside(&self, name: &str) -> Result<Option<Vec<u8>>, InstallError> {
        let folder = self.package.as_deref().filter(|path| path.is_absolute()).and_then(Path::parent);
        let Some(folder) = folder.and_then(|folder| Folder::open(folder).ok()) else { return Ok(None) };
        match folder.small_file(name) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(InstallError::Incomplete(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

/// Writes machine policy: see the module's header. Gives the site's server, if one is known now.
///
/// # Errors
/// [`InstallError`]; nothing was changed then, but perhaps the root, which is written first.
pub fn configure(layout: &Layout, given: &Given) -> Result<Option<String>, InstallError> {
    check_rights(layout)?;
    place::directories(layout)?;
    if trust::pinned(layout)?.is_none()
        && let Some((bytes, which)) = root(given)?
    {
        let remedy = "ask your vendor for it".to_owned();
        tuf::check_root(&bytes).map_err(|source| InstallError::Root { which, remedy, source })?;
        place::replace_public(&layout.vendor_root(), &bytes)?;
    }
    let Some(profile) = profile(layout, given)? else { return Ok(None) };
    let bytes = serde_json::to_vec_pretty(&profile).map_err(|e| InstallError::NotAccepted(e.to_string()))?;
    site::parse(&layout.site(), &bytes)?;
    place::replace_public(&layout.site(), &bytes)?;
    Ok(Some(profile.server))
}

/// Whose root is believed where none is pinned: what an administrator names, what this program carries, what lies beside the package.
fn root(given: &Given) -> Result<Option<(Vec<u8>, trust::Believed)>, InstallError> {
    if let Some(path) = &given.root_json {
        return Ok(Some((read(path)?, trust::Believed::Folder)));
    }
    let carried = platform::own_program().map_err(carried_root::CarriedRootError::Io);
    if let Some(bytes) = carried_root::read(&mut carried?)? {
        return Ok(Some((bytes, trust::Believed::Carried)));
    }
    Ok(given.beside("root.json")?.map(|bytes| (bytes, trust::Believed::Folder)))
}

/// The profile as it will be. `None`: it stays as it is, or there is none.
fn profile(layout: &Layout, given: &Given) -> Result<Option<SiteProfile>, InstallError> {
    let before = match &given.site_json {
        Some(path) => Some(site::parse(path, &read(path)?)?),
        None if layout.site().exists() && given.says_nothing() => return Ok(None),
        None if layout.site().exists() => Some(site::parse(&layout.site(), &read(&layout.site())?)?),
        None => match given.beside("site.json")? {
            Some(bytes) => Some(site::parse(Path::new("site.json"), &bytes)?),
            None => None,
        },
    };
    let mut profile = match (before, &given.server) {
        (Some(before), None) => before,
        (Some(before), Some(server)) if before.server == *server => before,
        (before, Some(server)) => SiteProfile {
            v: 1,
            server: server.clone(),
            certificate: None,
            enrolment_key: String::new(),
            name: String::new(),
            policy: before.and_then(|b| b.policy),
        },
        (None, None) => return Ok(None),
    };
    if let Some(key) = &given.enrolment_key {
        profile.enrolment_key.clone_from(key);
    }
    profile.policy = given.policy.or(profile.policy);
    if profile.enrolment_key.is_empty() {
        let why = format!("the enrolment key of {} is missing (ENROLLMENTKEY)", profile.server);
        return Err(InstallError::NotAccepted(why));
    }
    Ok(Some(profile))
}

fn read(path: &Path) -> Result<Vec<u8>, InstallError> {
    let mut bytes = Vec::new();
    adopt::open(path)?.take(site::MAX_FILE).read_to_end(&mut bytes).map_err(disk(path))?;
    Ok(bytes)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;

    use super::*;
    use crate::platform;

    fn words(values: [&str; 6]) -> Vec<String> {
        NAMES.iter().zip(values).map(|(name, value)| format!("{name}{value}")).collect()
    }

    fn given(values: [&str; 6]) -> Given {
        Given::from_words(&words(values)).unwrap()
    }

    #[test]
    fn a_value_never_becomes_another_argument() {
        let good = words(["https://mail.example.com", "silent", "key", "", "", ""]);
        assert_eq!(Given::from_words(&good).unwrap().policy, Some(UpgradePolicy::Silent));
        let mut more = good.clone();
        more.insert(1, "--root=/tmp".into());
        let mut swapped = good.clone();
        swapped.swap(0, 1);
        let broken = words(["https://x\ny", "", "", "", "", ""]);
        let policy = words(["", "loud", "", "", "", ""]);
        for bad in [&more[..], &good[1..], &swapped, &broken, &policy, &[]] {
            assert!(Given::from_words(bad).is_err(), "{bad:?}");
        }
        let secret = Given::from_words(&[format!("--enrolment-key={}", "s".repeat(9))]).unwrap_err();
        assert!(!secret.contains("sss"), "{secret}");
    }

    #[test]
    fn what_is_given_goes_before_what_was_there_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(&dir.path().join("root")).unwrap();
        assert_eq!(configure(&layout, &Given::default()).unwrap(), None, "nothing to write");
        let alone = configure(&layout, &given(["https://mail.example.com", "", "", "", "", ""])).unwrap_err();
        assert!(alone.to_string().contains("ENROLLMENTKEY"), "{alone}");
        assert!(!layout.site().exists());

        configure(&layout, &given(["https://mail.example.com", "silent", "key", "", "", ""])).unwrap();
        configure(&layout, &given(["", "necessary-ask", "", "", "", ""])).unwrap();
        let profile = site::parse(&layout.site(), &fs::read(layout.site()).unwrap()).unwrap();
        assert_eq!((profile.server.as_str(), profile.enrolment_key.as_str()), ("https://mail.example.com", "key"));
        assert_eq!(profile.policy, Some(UpgradePolicy::NecessaryAsk));

        let plain = configure(&layout, &given(["http://mail.example.com", "", "key", "", "", ""]));
        assert!(matches!(plain, Err(InstallError::Site(site::SiteError::NotHttps(_)))));
    }

    #[test]
    fn a_pinned_certificate_stays_with_its_server_and_a_whole_profile_brings_one() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(&dir.path().join("root")).unwrap();
        let file = dir.path().join("site.json");
        let profile = r#"{"v":1,"server":"https://a.example","certificate":"PEM","enrolment_key":"k","name":"A"}"#;
        fs::write(&file, profile).unwrap();
        platform::set_mode(&file, 0o644).unwrap();
        let now = || site::parse(&layout.site(), &fs::read(layout.site()).unwrap()).unwrap();
        configure(&layout, &given(["", "", "", "", file.to_str().unwrap(), ""])).unwrap();
        assert_eq!(now().certificate.as_deref(), Some("PEM"));
        configure(&layout, &given(["https://a.example", "", "k2", "", "", ""])).unwrap();
        assert_eq!((now().certificate.as_deref(), now().enrolment_key.as_str()), (Some("PEM"), "k2"));
        configure(&layout, &given(["https://b.example", "", "k3", "", "", ""])).unwrap();
        assert_eq!((now().certificate, now().name.as_str()), (None, ""));

        platform::set_mode(&file, 0o666).unwrap();
        let open = configure(&layout, &given(["", "", "", "", file.to_str().unwrap(), ""]));
        assert!(matches!(open, Err(InstallError::NotOurs { .. })), "{open:?}");
        let relative = configure(&layout, &given(["", "", "", "", "site.json", ""]));
        assert!(matches!(relative, Err(InstallError::NotOurs { .. })));
    }

    #[test]
    fn what_lies_beside_the_package_says_where_a_computer_belongs_that_belongs_nowhere_yet() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(&dir.path().join("root")).unwrap();
        // Anybody can write here, as in a folder of downloads.
        let folder = dir.path().join("download");
        fs::create_dir(&folder).unwrap();
        platform::set_mode(&folder, 0o777).unwrap();
        let package = folder.join("lockstep-connector-7.3.0-x64.msi");
        let started = || given(["", "", "", "", "", package.to_str().unwrap()]);
        let profile = |server: &str| format!(r#"{{"v":1,"server":"{server}","enrolment_key":"k","name":"A"}}"#);
        let now = || site::parse(&layout.site(), &fs::read(layout.site()).unwrap()).unwrap().server;
        assert_eq!(configure(&layout, &started()).unwrap(), None, "nothing beside it");
        assert!(!layout.site().exists());

        // A link is not followed, wherever it leads.
        fs::write(dir.path().join("elsewhere"), profile("https://elsewhere.example")).unwrap();
        std::os::unix::fs::symlink("../elsewhere", folder.join("site.json")).unwrap();
        assert!(matches!(configure(&layout, &started()), Err(InstallError::Refused { .. })));
        fs::remove_file(folder.join("site.json")).unwrap();

        fs::write(folder.join("site.json"), profile("https://a.example")).unwrap();
        assert_eq!(configure(&layout, &started()).unwrap().as_deref(), Some("https://a.example"));
        // From then on nobody who starts a package changes it; an administrator who says so does.
        fs::write(folder.join("site.json"), profile("https://b.example")).unwrap();
        assert_eq!(configure(&layout, &started()).unwrap(), None);
        assert_eq!(now(), "https://a.example");
        let policy = given(["", "silent", "", "", "", package.to_str().unwrap()]);
        configure(&layout, &policy).unwrap();
        assert_eq!(now(), "https://a.example");
        // A root that is none is refused, not pinned.
        fs::write(folder.join("root.json"), "{}").unwrap();
        assert!(matches!(configure(&layout, &started()), Err(InstallError::Root { .. })));
        assert!(!layout.vendor_root().exists());
    }
}
