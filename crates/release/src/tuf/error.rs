//! Why a repository could not be read.

use std::path::PathBuf;

use jiff::Timestamp;

/// Why a repository could not be read. Nothing of what failed is trusted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pinned `root.json` is not a root signed by a threshold of its own keys. Reinstall it from the vendor.
    #[error("the pinned root.json is not usable")]
    PinnedRoot(#[source] sigstore_tuf::Error),
    /// The repository could not be reached, or the transfer broke off.
    #[error("cannot fetch {name}")]
    Fetch {
        /// The path that was asked for.
        name: String,
        /// The transport's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The repository lacks a file that it must have.
    #[error("the repository has no {name}")]
    Missing {
        /// The path that was asked for.
        name: String,
    },
    /// A file is longer than it may be.
    #[error("{name} is longer than {limit} bytes")]
    TooLong {
        /// The path that was asked for.
        name: String,
        /// Bytes.
        limit: u64,
    },
    /// A role's metadata has expired: the vendor did not renew it, or somebody keeps it from us.
    #[error("the repository's {role} metadata expired on {expired}")]
    Expired {
        /// `root`, `timestamp`, `snapshot`, `targets`, or a delegated role.
        role: String,
        /// When.
        expired: Timestamp,
    },
    /// Signatures, versions or pinned hashes are not as they must be.
    #[error("{name} is refused")]
    Rejected {
        /// The file's path.
        name: String,
        /// What is wrong with it.
        source: sigstore_tuf::Error,
    },
    /// More new roots, or more delegated roles, than one repository can need.
    #[error("the repository has more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are taken.
        limit: u64,
    },
    /// The directory of verified metadata failed.
    #[error("cannot use {path} for verified metadata")]
    Store {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What a refusal says about whoever serves the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It serves what the vendor's keys did not sign.
    NotSigned,
    /// It serves an older state than one that was verified here before.
    Older,
    /// It serves what was signed too long ago.
    Expired(Timestamp),
    /// It serves nothing, nothing whole, or the fault lies here.
    Other,
}

impl Error {
    /// What this says about whoever serves the repository.
    pub fn verdict(&self) -> Verdict {
        use sigstore_tuf::Error as Tuf;
        match self {
            Self::Expired { expired, .. } => Verdict::Expired(*expired),
            Self::Rejected { source: Tuf::Rollback { .. }, .. } => Verdict::Older,
            Self::Rejected {
                source:
                    Tuf::ThresholdNotMet { .. }
                    | Tuf::IntegrityMismatch(_)
                    | Tuf::DuplicateSignature { .. }
                    | Tuf::BadRootVersion { .. },
                ..
            } => Verdict::NotSigned,
            _ => Verdict::Other,
        }
    }

    /// When and which role expired, if that is the reason.
    pub fn expired(&self) -> Option<Timestamp> {
        match self {
            Self::Expired { expired, .. } => Some(*expired),
            _ => None,
        }
    }

    /// Gives expiry its own variant, since people and machines react to it differently.
    pub(super) fn rejected(name: &str, source: sigstore_tuf::Error) -> Self {
        match source {
            sigstore_tuf::Error::Expired { role, expires } => Self::Expired { role, expired: expires },
            source => Self::Rejected { name: name.to_owned(), source },
        }
    }
}
