//! `lockstep-updater configure`: what an installation package was told about the site becomes machine policy.
//!
//! Windows Installer hands its properties on through this command, which it runs as the system.
//!
//! | attack | answer |
//! |---|---|
//! | a value that ends its argument and begins another one | exactly five arguments, each with its name in front, in one order ([`Given::from_words`]) |
//! | a `root.json` or `site.json` that a user exchanges while it is read | it and every directory above it must be an administrator's alone ([`super::InstallError::NotOurs`]) |
//! | another vendor's root | a root that is pinned here is never replaced |
//! | a plain address, control characters, an endless value | the very parser that the service reads its profile with, and limits |
//! | the pinned certificate of one server, kept for another | it goes with the address that it belonged to |

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use protocol::{policy::UpgradePolicy, site::SiteProfile};
use release::tuf;

use super::{InstallError, adopt, check_rights, disk, place, trust};
use crate::{layout::Layout, site};

/// The arguments, in their order.
const NAMES: [&str; 5] = ["--server=", "--policy=", "--enrolment-key=", "--root-json=", "--site-json="];
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
}

impl Given {
    /// Reads the arguments: all five, each with its name in front, in their order. An empty one is not given.
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
        Ok(Self { server, policy: policy.transpose()?, enrolment_key, root_json: path(), site_json: path() })
    }
}

/// Writes machine policy: see the module's header. Gives the site's server, if one is known now.
///
/// # Errors
/// [`InstallError`]; what was given wrongly has changed nothing.
pub fn configure(layout: &Layout, given: &Given) -> Result<Option<String>, InstallError> {
    check_rights(layout)?;
    let root = match &given.root_json {
        Some(path) if trust::pinned(layout)?.is_none() => Some(root(path)?),
        _ => None,
    };
    let profile = profile(layout, given)?;
    let bytes = profile.as_ref().map(|profile| accepted(layout, profile)).transpose()?;
    // From here on nothing is wrong with what was given.
    place::directories(layout)?;
    for (path, bytes) in [(layout.vendor_root(), root), (layout.site(), bytes)] {
        if let Some(bytes) = bytes {
            place::replace_public(&path, &bytes)?;
        }
    }
    Ok(profile.map(|profile| profile.server))
}

/// The vendor's root as the file has it.
fn root(path: &Path) -> Result<Vec<u8>, InstallError> {
    let bytes = read(path)?;
    let which = trust::Believed::Folder;
    let remedy = "ask your vendor for it".to_owned();
    tuf::check_root(&bytes).map_err(|source| InstallError::Root { which, remedy, source })?;
    Ok(bytes)
}

/// The profile as the service will read it.
fn accepted(layout: &Layout, profile: &SiteProfile) -> Result<Vec<u8>, InstallError> {
    let bytes = serde_json::to_vec_pretty(profile).map_err(|e| InstallError::NotAccepted(e.to_string()))?;
    site::parse(&layout.site(), &bytes)?;
    Ok(bytes)
}

/// The profile as it will be. `None`: there is none, and no server was given.
fn profile(layout: &Layout, given: &Given) -> Result<Option<SiteProfile>, InstallError> {
    let before = match &given.site_json {
        Some(path) => Some(site::parse(path, &read(path)?)?),
        None if layout.site().exists() => Some(site::parse(&layout.site(), &read(&layout.site())?)?),
        None => None,
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

    fn words(values: [&str; 5]) -> Vec<String> {
        NAMES.iter().zip(values).map(|(name, value)| format!("{name}{value}")).collect()
    }

    fn given(values: [&str; 5]) -> Given {
        Given::from_words(&words(values)).unwrap()
    }

    #[test]
    fn a_value_never_becomes_another_argument() {
        let good = words(["https://mail.example.com", "silent", "key", "", ""]);
        assert_eq!(Given::from_words(&good).unwrap().policy, Some(UpgradePolicy::Silent));
        let mut more = good.clone();
        more.insert(1, "--root=/tmp".into());
        let mut swapped = good.clone();
        swapped.swap(0, 1);
        let broken = words(["https://x\ny", "", "", "", ""]);
        let policy = words(["", "loud", "", "", ""]);
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
        let alone = configure(&layout, &given(["https://mail.example.com", "", "", "", ""])).unwrap_err();
        assert!(alone.to_string().contains("ENROLLMENTKEY"), "{alone}");
        assert!(!layout.site().exists());

        configure(&layout, &given(["https://mail.example.com", "silent", "key", "", ""])).unwrap();
        configure(&layout, &given(["", "necessary-ask", "", "", ""])).unwrap();
        let profile = site::parse(&layout.site(), &fs::read(layout.site()).unwrap()).unwrap();
        assert_eq!((profile.server.as_str(), profile.enrolment_key.as_str()), ("https://mail.example.com", "key"));
        assert_eq!(profile.policy, Some(UpgradePolicy::NecessaryAsk));

        let plain = configure(&layout, &given(["http://mail.example.com", "", "key", "", ""]));
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
        configure(&layout, &given(["", "", "", "", file.to_str().unwrap()])).unwrap();
        assert_eq!(now().certificate.as_deref(), Some("PEM"));
        configure(&layout, &given(["https://a.example", "", "k2", "", ""])).unwrap();
        assert_eq!((now().certificate.as_deref(), now().enrolment_key.as_str()), (Some("PEM"), "k2"));
        configure(&layout, &given(["https://b.example", "", "k3", "", ""])).unwrap();
        assert_eq!((now().certificate, now().name.as_str()), (None, ""));

        platform::set_mode(&file, 0o666).unwrap();
        let open = configure(&layout, &given(["", "", "", "", file.to_str().unwrap()]));
        assert!(matches!(open, Err(InstallError::NotOurs { .. })), "{open:?}");
        let relative = configure(&layout, &given(["", "", "", "", "site.json"]));
        assert!(matches!(relative, Err(InstallError::NotOurs { .. })));
    }
}
