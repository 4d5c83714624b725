//! `lockstep-updater install`: from a folder that anybody may have touched to a running service.
//!
//! The folder is the unpacked download of the integration page, or one that a connector has made; see `docs/administrator.md`. It is
//! copied to where only we can write, *that copy* is verified, and only what was verified is installed. Run again it repairs
//! rights and damage, or brings other versions; every way ends in the same rights as a fresh installation. Killed anywhere, the
//! versions that were active are, and a second run completes.
//!
//! | attack | answer |
//! |---|---|
//! | the folder is exchanged while it is read, or between reading and using | nothing is used but our own copy; a package's very descriptor is hashed and unpacked ([`payload`]) |
//! | links, FIFOs, devices, endless files in it | [`folder`]: regular files only, no links followed, limits on number and size |
//! | a folder of another vendor | the root that this computer has pinned, else the one that this program carries, is believed; the folder's own only where there is neither ([`trust`]) |
//! | an old or withdrawn version, another product or platform, metadata that was kept for a year | the same [`protocol::admit()`] that the service decides by ([`payload`]) |
//! | an installation root, or a directory above it, that others can write to | refused ([`crate::site::trusted_path`]) |
//! | files left by an earlier, careless installation | directories are given their final rights; files are replaced, never written into |
//! | the service at work at the same time | versions are changed by one at a time ([`crate::slots::exclusive`]) |
//!
//! | module | room for |
//! |---|---|
//! | [`folder`] | what is copied |
//! | [`trust`] | whom to believe |
//! | [`payload`] | what may be installed |
//! | [`place`] | installing it |
//! | [`start`] | the service |
//! | [`adopt`](mod@adopt) | what the system's own package manager has brought |
//! | [`configure`](mod@configure) | what it was told about the site |
//! | [`remove`](mod@remove) | what it does not know of, when it takes everything away |
//! | `uninstall` | on Windows, everything, where no package has brought it |

pub mod adopt;
pub mod configure;
pub mod folder;
pub mod payload;
pub mod place;
pub mod remove;
pub mod start;
pub mod trust;
#[cfg(windows)]
pub mod uninstall;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use protocol::{Refusal, Timestamp, Version, product::ProductId};
use serde::Serialize;

use crate::{
    layout::Layout,
    platform,
    record::RecordFile,
    site,
    slots::{self, RealDisk, SlotError, Slots},
};
use folder::Folder;
use payload::Payload;
pub use start::Service;
pub use trust::Believed;

/// Why nothing was installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Only an administrator may.
    #[error("installing for the whole computer needs an administrator: {}", if cfg!(windows) { "choose \"Run as administrator\"" } else { "run it with sudo or as root" })]
    NotRoot,
    /// The folder is not the unpacked download.
    #[error(
        "{0} is missing: run `bin/lockstep-updater install` from the folder that you unpacked, with everything in it"
    )]
    Incomplete(PathBuf),
    /// Something in the folder is not what it should be.
    #[error("{path} in the folder is refused; download and unpack it again")]
    Refused {
        /// Below the folder.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The place or the profile is not to be trusted.
    #[error(transparent)]
    Site(#[from] site::SiteError),
    /// The root that this program carries.
    #[error("this program is damaged; download it again")]
    Program(#[from] release::carried_root::CarriedRootError),
    /// No vendor's root is to be had, or not a usable one.
    #[error("{} is not a usable root of trust; {remedy}", which.root())]
    Root {
        /// Whose.
        which: Believed,
        /// What to do.
        remedy: String,
        /// Why.
        source: release::tuf::Error,
    },
    /// The vendor did not sign what lies in the folder.
    #[error("what lies in this folder was not signed by the vendor that {0}; nothing was installed")]
    NotSigned(Believed, #[source] release::tuf::Error),
    /// The metadata is too old to be believed.
    #[error(
        "this download is too old: what the vendor signed in it expired on {0}. Download it again from your site's integration page"
    )]
    Expired(Timestamp),
    /// A package is not what was signed.
    #[error("{path} is not what the vendor signed; nothing was installed")]
    Package {
        /// Below the folder.
        path: String,
        /// The difference.
        source: release::tuf::Mismatch,
    },
    /// Nobody signed this file.
    #[error("{0} in the folder is not among what the vendor signed; nothing was installed")]
    Unknown(String),
    /// There is no updater in it.
    #[error(
        "this folder holds no updater for this computer ({platform}){instead}; download the one for it from your site's integration page"
    )]
    Nothing {
        /// What this computer is.
        platform: String,
        /// What there is instead.
        instead: String,
    },
    /// Which one is meant is not ours to choose.
    #[error("this folder holds {product} {one} and {other}; it must hold one of them")]
    TwoReleases {
        /// Of which product.
        product: ProductId,
        /// One version.
        one: Version,
        /// Another one.
        other: Version,
    },
    /// The vendor's signed limits do not allow it.
    #[error("{product} cannot be installed here: {refusal}")]
    NotAllowed {
        /// Which product.
        product: ProductId,
        /// Why not.
        refusal: Refusal,
    },
    /// The vendor has withdrawn it since.
    #[error(
        "the vendor has withdrawn {product} {version} since this folder was made; download it again from your site's integration page"
    )]
    Withdrawn {
        /// Which product.
        product: ProductId,
        /// Which version.
        version: Version,
    },
    /// Its own check says so.
    #[error("{product} {version} does not work on this computer: {reason}; what was installed before is as it was")]
    Unhealthy {
        /// Which product.
        product: ProductId,
        /// Which version.
        version: Version,
        /// Why, in words.
        reason: String,
    },
    /// The versions.
    #[error("the new version could not be put in its place")]
    Slots(#[from] SlotError),
    /// The disk.
    #[error("{path} could not be used")]
    Disk {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Only what nobody else can change is taken from a file.
    #[error("{path} cannot be believed: {why}. It must be a file that only {} has made", if cfg!(windows) { "administrators can change, such as Windows Installer" } else { "root can change, such as dpkg" })]
    NotOurs {
        /// Which file.
        path: PathBuf,
        /// In words.
        why: String,
    },
    /// It is for another kind of computer.
    #[error("{path} is {product} for {platform}, which this computer is not")]
    OtherPlatform {
        /// Which file.
        path: PathBuf,
        /// Of which product.
        product: ProductId,
        /// For what.
        platform: protocol::product::Platform,
    },
    /// What was given is no machine policy.
    #[error("{0}; nothing was changed")]
    NotAccepted(String),
    /// A package has brought it, and takes it away.
    #[error("an installation package has brought this; remove it among the installed programs, or with msiexec /x")]
    Packaged,
    /// The service is there still.
    #[error("nothing was removed: Windows says: {0}")]
    NotStopped(String),
    /// Everything is in its place, and the service does not start.
    #[error("everything is installed, but the service could not be started: {0}")]
    NotStarted(String),
}

/// What was done about one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// It is new on this computer, or another version than before.
    Installed,
    /// It was there already, whole.
    Unchanged,
    /// It was there already, damaged, and is whole again.
    Repaired,
}

/// One product that is installed now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Product {
    /// Which one.
    pub product: ProductId,
    /// Which version of it is active.
    pub version: Version,
    /// Which one was before.
    pub before: Option<Version>,
    /// What was done.
    pub done: Done,
}

/// What was installed, and what is left to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// What lies in its place now.
    pub products: Vec<Product>,
    /// The site's server.
    pub site: String,
    /// Whose root was believed.
    pub believed: Believed,
    /// The program that runs the service.
    pub program: PathBuf,
    /// Whether it runs.
    pub service: Service,
}

/// Whether what is changed is the whole computer's; then only an administrator may.
fn check_rights(layout: &Layout) -> Result<bool, InstallError> {
    let whole_machine = layout.is_whole_machine();
    if whole_machine && !platform::is_root() { Err(InstallError::NotRoot) } else { Ok(whole_machine) }
}

/// Installs from `folder`: see the module's header. `now` is the system's time.
///
/// # Errors
/// [`InstallError`]; what was active before is active still, except for [`InstallError::NotStarted`].
pub async fn install(layout: &Layout, folder: &Path, now: Timestamp) -> Result<Installed, InstallError> {
    let whole_machine = check_rights(layout)?;
    let folder = Folder::open(folder)?;
    let profile = folder.small_file("site.json")?;
    let site = site::parse(&folder.path("site.json"), &profile)?;
    let root = trust::choose(layout, &folder)?;

    place::directories(layout)?;
    let alone = slots::exclusive(layout)?;
    let copy = place::Copy::make(layout)?;
    let record = RecordFile::new(layout.state(), Arc::new(RealDisk)).read().map_err(disk(&layout.state()))?;
    let slots = Slots::for_installer(layout.clone(), Arc::new(RealDisk));
    // Nobody else is at work, so whatever is incomplete was left by somebody who was killed.
    slots.recover(|_| true)?;

    folder.copy_metadata(copy.path())?;
    let now = record.effective_now(now);
    let payload = Payload::verify(copy.path(), &root, now).await?;
    let chosen = payload.choose(&folder, copy.path(), layout, &slots, &record, now)?;
    let products =
        place::place(layout, &slots, chosen, &place::Policy { profile: &profile, root: &root.bytes }).await?;
    payload.remember(layout, &root, now).await;
    drop(copy);
    // The service takes its turn when it starts.
    drop(alone);

    let program = layout.updater_program();
    #[cfg(windows)]
    uninstall::offer(layout, &products);
    let service = start::start(layout, whole_machine).await?;
    Ok(Installed { products, site: site.server, believed: root.whose, program, service })
}

/// The file system failed at a path.
fn disk(path: &Path) -> impl FnOnce(io::Error) -> InstallError + use<> {
    let path = path.to_owned();
    move |source| InstallError::Disk { path, source }
}
