//! The `.lpk` package: one signed file that holds a product for one platform.
//!
//! ```text
//! "LOCKSTEP-PACKAGE-1\n" · u32 length of the manifest, big endian · manifest (JSON) · one zstd frame
//! ```
//!
//! The frame holds the files' contents one after the other in the manifest's order, and nothing follows it. There are no times,
//! owners or links in it: the same input makes the same bytes. The manifest's JSON is canonical (sorted members, no spaces) and its
//! files are sorted by path.
//!
//! A package is trusted only after its SHA-256 was found in verified TUF metadata; yet nothing here relies on that.
//!
//! | attack | answer |
//! |---|---|
//! | paths that leave the directory, devices, streams, case clashes | [`crate::safe_path`] for every path, before anything is written |
//! | symbolic or hard links, devices, sockets | the format has regular files only; each is created anew, so nothing is ever followed or overwritten |
//! | setuid, setgid, world-writable | a mode is 0644 or 0755, anything else is refused |
//! | headers that disagree about sizes | there is one size for each file, in the manifest; content must end exactly there |
//! | 10 GB from 10 MB | unpacking stops at the declared sizes; their sum has a cap ([`MAX_CONTENT`]), added with overflow checks |
//! | a million entries, an endless manifest | [`MAX_FILES`], [`MAX_MANIFEST`] |
//! | a decompressor's window that eats the memory | at most 8 MiB |
//! | cut short, or bytes appended | an error in both cases |
//! | content altered | SHA-256 of every file |

mod manifest;
mod pack;
mod restart;
mod unpack;

use std::{io, path::PathBuf};

pub use manifest::{Description, FileEntry, Manifest};
pub use pack::{Progress, pack, pack_with_trailer};
pub use restart::{BadUnitName, Health, Restart, UnitName};
pub use unpack::{NewFile, Place, ThisMachine, read_manifest, unpack, unpack_at, verify};

use crate::safe_path;

/// The first bytes of every package.
pub const MAGIC: &[u8] = b"LOCKSTEP-PACKAGE-1\n";

/// Bytes; a longer manifest is refused.
pub const MAX_MANIFEST: u32 = 1024 * 1024;

/// A package with more files is refused.
pub const MAX_FILES: usize = 10_000;

/// Bytes of all files together (4 GiB); a package that declares more is refused.
pub const MAX_CONTENT: u64 = 4 * 1024 * 1024 * 1024;

/// Base-2 logarithm of the decompressor's largest window: 8 MiB, what zstd's level 19 needs.
const WINDOW_LOG: u32 = 23;

/// Why a package could not be made, read or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not begin as a package does.
    #[error("this is not a Lockstep package")]
    NotAPackage,
    /// The manifest is longer than [`MAX_MANIFEST`].
    #[error("the manifest has {length} bytes, more than the {MAX_MANIFEST} that are allowed")]
    ManifestTooLong {
        /// Bytes.
        length: u64,
    },
    /// The manifest is not what it should be.
    #[error("the manifest cannot be read")]
    BadManifest(#[source] serde_json::Error),
    /// The manifest is well-formed and says something that is not allowed.
    #[error("the manifest is refused: {0}")]
    Refused(String),
    /// A path may not become a file.
    #[error("the package is refused")]
    UnsafePath(#[from] safe_path::Unsafe),
    /// The package ends before its content does.
    #[error("the package is cut short")]
    CutShort,
    /// There is more than the manifest declares.
    #[error("the package holds more than its manifest declares")]
    TooLong,
    /// The compressed part is damaged.
    #[error("the package's content cannot be decompressed")]
    BadContent(#[source] io::Error),
    /// A file's bytes are not those that the manifest declares.
    #[error("{path} does not have the SHA-256 that the manifest declares")]
    WrongHash {
        /// The file.
        path: String,
    },
    /// The directory to unpack into has something in it, or is a link.
    #[error("{0} must be a new, empty directory")]
    NotFresh(PathBuf),
    /// The directory to pack holds something that a package cannot.
    #[error("{path} cannot be packed: {why}")]
    CannotPack {
        /// Which one.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The file system failed.
    #[error("cannot use {path}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading or writing the package itself failed.
    #[error("cannot read or write the package")]
    Io(#[source] io::Error),
}
