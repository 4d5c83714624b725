//! What a package says about itself.

use protocol::{
    Version,
    product::{Platform, ProductId},
};
use serde::{Deserialize, Serialize};

use super::{
    Error, MAX_CONTENT, MAX_FILES, MAX_MANIFEST,
    restart::{Health, Restart},
};
use crate::safe_path::Tree;

/// A manifest without its files: what the vendor says, where the files say the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Which product.
    pub product: ProductId,
    /// Which version of it.
    pub version: Version,
    /// What it runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// Path of the program to start, one of the files.
    pub program: String,
    /// Arguments with which the program tells, by exit code 0, that it can run here. Empty: there is no such test.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub self_check: Vec<String>,
    /// How running instances get the new version.
    #[serde(default, skip_serializing_if = "Restart::is_default")]
    pub restart: Restart,
    /// When the new version counts as healthy.
    #[serde(default, skip_serializing_if = "Health::is_default")]
    pub health: Health,
}

/// One file of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Relative, with `/`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// 0o644 or 0o755.
    pub mode: u32,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// What a package says about itself. A value that came from a package has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format version, 1.
    pub v: u32,
    /// What the vendor says.
    #[serde(flatten)]
    pub description: Description,
    /// Sorted by path.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// Bytes of all files together.
    pub fn content_size(&self) -> u64 {
        // Checked when the manifest was read: it is at most MAX_CONTENT.
        self.files.iter().map(|f| f.size).sum()
    }

    /// Reads and checks.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(Error::BadManifest)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Canonical bytes: sorted members, no spaces.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        self.check()?;
        let value = serde_json::to_value(self).map_err(Error::BadManifest)?;
        let bytes = sigstore_tuf::canonical_json::to_canonical_bytes(&value)
            .map_err(|e| Error::Refused(format!("it has no canonical form: {e}")))?;
        match u32::try_from(bytes.len()) {
            Ok(length) if length <= MAX_MANIFEST => Ok(bytes),
            _ => Err(Error::ManifestTooLong { length: bytes.len() as u64 }),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::Refused(why));
        if self.v != 1 {
            return refuse(format!("its format is {}, this program knows 1", self.v));
        }
        if self.files.len() > MAX_FILES {
            return refuse(format!("it lists {} files, more than the {MAX_FILES} that are allowed", self.files.len()));
        }
        let mut tree = Tree::default();
        let mut total = 0u64;
        for file in &self.files {
            tree.insert(&file.path)?;
            if !matches!(file.mode, 0o644 | 0o755) {
                return refuse(format!("{} has mode {:o}; only 644 and 755 are allowed", file.path, file.mode));
            }
            let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            if file.sha256.len() != 64 || !file.sha256.bytes().all(hex) {
                return refuse(format!("{} has no SHA-256 of 64 lower-case hexadecimal digits", file.path));
            }
            total = match total.checked_add(file.size) {
                Some(total) if total <= MAX_CONTENT => total,
                _ => return refuse(format!("its files are larger than {MAX_CONTENT} bytes together")),
            };
        }
        if !self.files.is_sorted_by(|a, b| a.path < b.path) {
            return refuse("its files are not sorted by path".into());
        }
        self.check_description()
    }

    fn check_description(&self) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::Refused(why));
        let Description { platform, program, self_check, health, .. } = &self.description;
        let plain = |s: &str| {
            (1..=32).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if !plain(&platform.os) || !plain(&platform.arch) {
            return refuse("its system or architecture is not a plain word such as linux or x86_64".into());
        }
        match self.files.iter().find(|f| f.path == *program) {
            None => return refuse(format!("its program {program:?} is not among its files")),
            Some(file) if file.mode != 0o755 => return refuse(format!("its program {program} is not executable")),
            Some(_) => {}
        }
        health.check().map_err(Error::Refused)?;
        let printable = |a: &String| !a.is_empty() && a.len() <= 256 && a.bytes().all(|b| (0x20..0x7f).contains(&b));
        if self_check.len() > 16 || !self_check.iter().all(printable) {
            return refuse("its self-check takes at most 16 arguments of printable ASCII".into());
        }
        Ok(())
    }
}
