//! What has to be done, decided from what is there. Pure: names in, names out.

use protocol::Version;

use super::{Observed, Operation};

/// How the names of incomplete things begin. No version's name begins with a dot.
pub const STAGING_PREFIX: &str = ".staging-";
/// A version on its way out.
pub const REMOVING_PREFIX: &str = ".removing-";
/// A link that is about to become `current`.
pub const LINK_PREFIX: &str = ".current-";

/// What an exchange of more than one step calls the old directory in its middle: the new one's name with this behind it.
pub const EXCHANGED_SUFFIX: &str = ".old";

/// The new directory's name and the version, from the name that the old one has in the middle of an exchange.
pub fn half_exchanged(name: &str) -> Option<(&str, Version)> {
    let dir = name.strip_suffix(EXCHANGED_SUFFIX)?;
    let (version, _scratch) = dir.strip_prefix(STAGING_PREFIX)?.rsplit_once('-')?;
    Some((dir, version.parse().ok()?))
}

/// One step. Names are relative: to `versions/` for directories, to the product's directory for links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make an empty directory that only we can read.
    MakeScratch {
        /// Its name.
        dir: String,
    },
    /// Write the version's files into it, give them their final rights, make them durable.
    Fill {
        /// Its name.
        dir: String,
    },
    /// Give the complete directory its final name, durably.
    Publish {
        /// From this name.
        from: String,
        /// To this one.
        to: Version,
    },
    /// Put the complete directory in the place of one that is there, in one step, durably.
    Exchange {
        /// Its name, which is the old one's afterwards.
        dir: String,
        /// The version.
        with: Version,
    },
    /// Replace `current` by a new link, durably.
    Point {
        /// The new link's name until then.
        link: String,
        /// What it points to.
        to: Version,
    },
    /// Remove `current`, durably: nothing is installed any more.
    Unpoint,
    /// Take a version out of sight, so that no half of it is ever taken for a whole.
    Retire {
        /// From this version.
        from: Version,
        /// To this name.
        to: String,
    },
    /// Delete what was taken out of sight.
    Erase {
        /// Its name.
        dir: String,
    },
}

/// Why what is there does not allow an operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Complete versions are never written to again.
    #[error("{0} is there already")]
    AlreadyThere(Version),
    /// Only complete versions can be activated or removed.
    #[error("{0} is not there")]
    NotThere(Version),
    /// The active version cannot be removed.
    #[error("{0} is active")]
    Active(Version),
}

/// The steps of an operation. An operation that has nothing left to do has none.
///
/// # Errors
/// [`Conflict`].
pub fn plan(operation: &Operation, observed: &Observed) -> Result<Vec<Step>, Conflict> {
    match operation {
        Operation::Stage { version, .. } if observed.versions.contains(version) => {
            Err(Conflict::AlreadyThere(version.clone()))
        }
        Operation::Stage { version, scratch } => {
            let dir = format!("{STAGING_PREFIX}{version}-{scratch:016x}");
            Ok(vec![
                Step::MakeScratch { dir: dir.clone() },
                Step::Fill { dir: dir.clone() },
                Step::Publish { from: dir, to: version.clone() },
            ])
        }
        Operation::Renew { version, .. } if !observed.versions.contains(version) => {
            Err(Conflict::NotThere(version.clone()))
        }
        Operation::Renew { version, scratch } => {
            let dir = format!("{STAGING_PREFIX}{version}-{scratch:016x}");
            Ok(vec![
                Step::MakeScratch { dir: dir.clone() },
                Step::Fill { dir: dir.clone() },
                Step::Exchange { dir: dir.clone(), with: version.clone() },
                Step::Erase { dir },
            ])
        }
        Operation::Activate { to, .. } if *to == observed.current => Ok(vec![]),
        Operation::Activate { to: None, .. } => Ok(vec![Step::Unpoint]),
        Operation::Activate { to: Some(to), .. } if !observed.versions.contains(to) => {
            Err(Conflict::NotThere(to.clone()))
        }
        Operation::Activate { to: Some(to), scratch, .. } => {
            Ok(vec![Step::Point { link: format!("{LINK_PREFIX}{scratch:016x}"), to: to.clone() }])
        }
        Operation::Remove { version, .. } if observed.current.as_ref() == Some(version) => {
            Err(Conflict::Active(version.clone()))
        }
        Operation::Remove { version, .. } if !observed.versions.contains(version) => {
            Err(Conflict::NotThere(version.clone()))
        }
        Operation::Remove { version, scratch } => {
            let dir = format!("{REMOVING_PREFIX}{version}-{scratch:016x}");
            Ok(vec![Step::Retire { from: version.clone(), to: dir.clone() }, Step::Erase { dir }])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_exchange_is_known_by_its_name() {
        let renew = Operation::Renew { version: "7.3.0-rc.1".parse().unwrap(), scratch: 0x1234_5678_9abc_def0 };
        let there = Observed { versions: ["7.3.0-rc.1".parse().unwrap()].into(), ..Observed::default() };
        let Step::Exchange { dir, with } = plan(&renew, &there).unwrap()[2].clone() else { panic!("the third step") };
        assert_eq!(half_exchanged(&format!("{dir}{EXCHANGED_SUFFIX}")), Some((dir.as_str(), with)));
        for other in [dir.as_str(), ".removing-7.3.0-00.old", "7.3.0", ".staging-x-00.old", ".old"] {
            assert_eq!(half_exchanged(other), None, "{other}");
        }
    }
}
