//! Product names, platforms and versions.

use std::{fmt, str::FromStr};

use semver::Version;
use serde::{Deserialize, Serialize};

/// The name of a product: 1 to 32 characters of `a-z`, `0-9` and `-`, starting with a letter.
///
/// It is used as a directory name, so nothing else is ever accepted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProductId(String);

impl ProductId {
    /// The offline mailbox, the first product that Lockstep manages.
    pub fn connector() -> Self {
        Self("connector".into())
    }

    /// The updater itself, which is a product like any other.
    pub fn updater() -> Self {
        Self("updater".into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name that is not a [`ProductId`].
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a product name: 1 to 32 characters of a-z, 0-9 and '-', starting with a letter")]
pub struct BadProductId(String);

impl FromStr for ProductId {
    type Err = BadProductId;

    fn from_str(text: &str) -> Result<Self, BadProductId> {
        let good = (1..=32).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if good { Ok(Self(text.to_owned())) } else { Err(BadProductId(text.chars().take(64).collect())) }
    }
}

impl TryFrom<String> for ProductId {
    type Error = BadProductId;

    fn try_from(text: String) -> Result<Self, BadProductId> {
        text.parse()
    }
}

impl From<ProductId> for String {
    fn from(id: ProductId) -> Self {
        id.0
    }
}

impl fmt::Display for ProductId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An operating system and a processor, in Rust's own names: `linux` and `x86_64`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// As [`std::env::consts::OS`]: `linux`, `windows`.
    pub os: String,
    /// As [`std::env::consts::ARCH`]: `x86_64`, `aarch64`.
    pub arch: String,
}

impl Platform {
    /// The platform that this program was built for.
    pub fn current() -> Self {
        Self { os: std::env::consts::OS.into(), arch: std::env::consts::ARCH.into() }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.os, self.arch)
    }
}

/// Text that [`parse_version`] could not read.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a version; write it as 7.3.0")]
pub struct BadVersion {
    text: String,
    source: semver::Error,
}

/// Reads a version as people write it: `7.3`, `v7.3.0` and `7.3.0-beta.1` are all accepted.
///
/// # Errors
/// [`BadVersion`] when the text has no such reading, or is longer than 64 bytes.
pub fn parse_version(text: &str) -> Result<Version, BadVersion> {
    let text = text.trim();
    let bare = text.strip_prefix('v').unwrap_or(text);
    let numbers = bare.split(['-', '+']).next().unwrap_or(bare);
    let missing = 2usize.saturating_sub(numbers.matches('.').count());
    let full = format!("{numbers}{}{}", ".0".repeat(missing), &bare[numbers.len()..]);
    let capped = if full.len() > 64 { "" } else { full.as_str() };
    Version::parse(capped).map_err(|source| BadVersion { text: text.chars().take(64).collect(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_name_is_a_safe_directory_name() {
        for good in ["connector", "updater", "a", "web-shop2"] {
            assert!(good.parse::<ProductId>().is_ok(), "{good}");
        }
        for bad in ["", "..", "a/b", "A", "-a", "9a", "a b", "a\0", &"a".repeat(33)] {
            assert!(bad.parse::<ProductId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_read_as_people_write_them() {
        for (text, version) in [
            ("7.3", "7.3.0"),
            ("7", "7.0.0"),
            ("v7.3.1", "7.3.1"),
            (" 7.3.0-beta.1 ", "7.3.0-beta.1"),
            ("7.3-rc1", "7.3.0-rc1"),
        ] {
            assert_eq!(parse_version(text).unwrap().to_string(), version, "{text}");
        }
        for bad in ["", "seven", "7..3", "7.3.0.1", "7.3.0; rm", &"1".repeat(80)] {
            assert!(parse_version(bad).is_err(), "{bad}");
        }
    }
}
