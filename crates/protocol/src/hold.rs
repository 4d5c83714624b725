//! Holds: what an administrator keeps from being installed, of the whole site or of one machine. The vendor has none.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use semver::{Comparator, Op, Version, VersionReq};
use serde::{Deserialize, Serialize};

use crate::{
    device::Device,
    product::{ProductId, parse_version},
};

/// Holds of one policy, at most.
pub const MAX_HOLDS: usize = 64;

/// What is held: `*` (everything), `connector`, `connector 7.3.1`, `connector >=7.3, <7.4`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hold {
    /// `None`: every product.
    pub product: Option<ProductId>,
    /// `None`: every version; nothing at all is done about the product then.
    pub versions: Option<VersionReq>,
}

/// Text that is not a [`Hold`].
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not something to hold; write a product and, if you like, versions: `connector`, `connector 7.3.1`, `connector >=7.3, <7.4`, or `*`"
)]
pub struct BadHold(String);

impl Hold {
    /// Whether it is about every version of the product.
    pub fn is_whole(&self, product: &ProductId) -> bool {
        self.versions.is_none() && self.is_about(product)
    }

    /// Whether this version of the product must not be installed.
    pub fn covers(&self, product: &ProductId, version: &Version) -> bool {
        self.is_about(product) && self.versions.as_ref().is_none_or(|versions| matches(versions, version))
    }

    fn is_about(&self, product: &ProductId) -> bool {
        self.product.as_ref().is_none_or(|p| p == product)
    }
}

/// As the requirement says; a pre-release counts as the version that it leads to, so that a hold leaves no hole.
fn matches(versions: &VersionReq, version: &Version) -> bool {
    let plain = Version::new(version.major, version.minor, version.patch);
    versions.matches(version) || !version.pre.is_empty() && versions.matches(&plain)
}

impl FromStr for Hold {
    type Err = BadHold;

    fn from_str(text: &str) -> Result<Self, BadHold> {
        let bad = || BadHold(text.chars().take(64).collect());
        let text = text.trim();
        let (name, versions) = text.split_once(char::is_whitespace).map_or((text, None), |(n, v)| (n, Some(v.trim())));
        let product = if name == "*" { None } else { Some(name.parse().map_err(|_| bad())?) };
        let versions = match versions {
            None | Some("*") => None,
            Some(one)
                if one.starts_with(|c: char| c.is_ascii_digit() || c == 'v') && !one.contains(['*', ',', ' ']) =>
            {
                Some(exactly(&parse_version(one).map_err(|_| bad())?))
            }
            Some(some) if some.len() <= 128 => Some(some.parse().map_err(|_| bad())?),
            Some(_) => return Err(bad()),
        };
        Ok(Self { product, versions })
    }
}

fn exactly(v: &Version) -> VersionReq {
    let one =
        Comparator { op: Op::Exact, major: v.major, minor: Some(v.minor), patch: Some(v.patch), pre: v.pre.clone() };
    VersionReq { comparators: vec![one] }
}

impl TryFrom<String> for Hold {
    type Error = BadHold;

    fn try_from(text: String) -> Result<Self, BadHold> {
        text.parse()
    }
}

impl From<Hold> for String {
    fn from(hold: Hold) -> Self {
        hold.to_string()
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.product.as_ref().map_or("*", ProductId::as_str))?;
        match &self.versions {
            None => Ok(()),
            Some(versions) => write!(f, " {versions}"),
        }
    }
}

/// A hold of the site's administrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteHold {
    /// What.
    pub what: Hold,
    /// For which PCs: device ids, or host names in which `*` stands for anything. `None`: all.
    #[serde(default)]
    pub pcs: Option<Vec<String>>,
    /// Until when. `None`: until it is taken back.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Why, in the administrator's words.
    #[serde(default)]
    pub reason: String,
}

impl SiteHold {
    /// Whether it is in force for a device now.
    pub fn binds(&self, device: &Device, now: Timestamp) -> bool {
        let named = |pcs: &Vec<String>| pcs.iter().any(|p| *p == device.id || like(p, &device.hostname));
        self.until.is_none_or(|until| now < until) && self.pcs.as_ref().is_none_or(named)
    }

    /// For people: by whom, why and until when.
    pub fn words(&self) -> String {
        let mut words = format!("the administrator holds {}", self.what);
        if let Some(until) = self.until {
            words.push_str(&format!(" until {until:.0}"));
        }
        if !self.reason.is_empty() {
            words.push_str(&format!(" ({})", self.reason));
        }
        words
    }
}

/// Whether a name is like a pattern in which `*` stands for any characters, case aside. A host name is what a PC says of
/// itself, so a pattern is for convenience; a device's id is for certainty.
pub fn like(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_lowercase(), name.to_lowercase());
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_are_read_as_people_write_them() {
        let (connector, updater) = (ProductId::connector(), ProductId::updater());
        let covers = |text: &str, product: &ProductId, version: &str| {
            text.parse::<Hold>().unwrap().covers(product, &version.parse().unwrap())
        };
        for (text, version, held) in [
            ("*", "7.3.1", true),
            ("connector", "7.3.1", true),
            ("updater", "7.3.1", false),
            ("connector 7.3.1", "7.3.1", true),
            ("connector 7.3.1", "7.3.2", false),
            ("connector 7.3", "7.3.0", true),
            ("connector >=7.3, <7.4", "7.3.9", true),
            ("connector >=7.3, <7.4", "7.3.9-beta.1", true),
            ("connector >=7.3, <7.4", "7.4.0", false),
            ("* 7.3.1", "7.3.1", true),
        ] {
            assert_eq!(covers(text, &connector, version), held, "{text} {version}");
            let hold: Hold = text.parse().unwrap();
            assert_eq!(hold.to_string().parse::<Hold>().unwrap(), hold, "{text}");
        }
        assert!("*".parse::<Hold>().unwrap().is_whole(&updater));
        assert!(!"connector 7.3.1".parse::<Hold>().unwrap().is_whole(&connector));
        for bad in ["", "Connector", "connector seven", "../x", "connector >= x"] {
            assert!(bad.parse::<Hold>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_is_like_the_names_that_it_describes() {
        for (pattern, name, same) in [
            ("lab-*", "lab-7", true),
            ("LAB-*", "lab-7", true),
            ("lab-*", "xlab-7", false),
            ("*-7", "lab-7", true),
            ("l*b*7", "lab-7", true),
            ("l*b*8", "lab-7", false),
            ("lab-7", "lab-7", true),
            ("lab", "lab-7", false),
            ("*", "", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(like(pattern, name), same, "{pattern} {name}");
        }
    }
}
