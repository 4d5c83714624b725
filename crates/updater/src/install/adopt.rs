//! `lockstep-updater adopt`: what the system's own package manager has brought becomes a version among the others.
//!
//! dpkg keeps its copy, which it may check and remove, in a directory of its own; programs run from the versions below
//! `/opt/lockstep`. So dpkg and an upgrade from the site never write to the same file. The package manager is believed as it is
//! for every other program of the computer ([ADR 16](../../../../docs/adr/0016-dpkg-brings-a-copy.md)); versions that come later
//! from the site are believed for the vendor's signature alone.
//!
//! | attack | answer |
//! |---|---|
//! | a file that somebody else made, or could change while it is read | it and every directory above it must be root's alone ([`InstallError::NotOurs`]) |
//! | an older package, to bring an old hole back | never in the place of a newer version, and never below the floor that the vendor has signed |
//! | a version that was rolled back here | stays away; the active one stays |

use std::{fs::File, path::Path, sync::Arc};

use protocol::{Refusal, Version, ipc::Verb, product::Platform};
use release::package::Manifest;
use serde::Serialize;

use protocol::device::STABLE;

use super::{InstallError, Product, check_rights, disk, payload, place};
use crate::{
    ipc::client::ask,
    layout::Layout,
    platform,
    record::{Record, RecordFile},
    site,
    slots::{self, Observed, RealDisk, Slots},
};

/// What became of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adopted {
    /// It is active.
    Active(Product),
    /// Another version stays active, for this reason.
    Kept {
        /// What the package holds.
        offered: Product,
        /// Why it is not active.
        why: String,
    },
}

/// Takes a package (`.lpk`) over from the package manager: see the module's header. A service that runs is told.
///
/// # Errors
/// [`InstallError`]; what was active before is active still.
pub async fn adopt(layout: &Layout, path: &Path) -> Result<Adopted, InstallError> {
    check_rights(layout)?;
    #[cfg(windows)]
    if let Err(error) = platform::listed::forget(layout) {
        tracing::warn!(%error, "it is among the installed programs twice");
    }
    let file = open(path)?;
    let manifest = place::read_manifest(&file)?;
    let description = &manifest.description;
    if description.platform != Platform::current() {
        let (product, platform) = (description.product.clone(), description.platform.clone());
        return Err(InstallError::OtherPlatform { path: path.into(), product, platform });
    }
    place::directories(layout)?;
    let alone = slots::exclusive(layout)?;
    let record = RecordFile::new(layout.state(), Arc::new(RealDisk)).read().map_err(disk(&layout.state()))?;
    let slots = Slots::for_installer(layout.clone(), Arc::new(RealDisk));
    // Nobody else is at work, so whatever is incomplete was left by somebody who was killed.
    slots.recover(|_| true)?;
    let product = description.product.clone();
    let observed = slots.observe(&product).map_err(disk(&layout.versions(&product)))?;
    if let Some(why) = better_not(layout, &manifest, &observed, &record)? {
        let (version, before) = (description.version.clone(), observed.current.clone());
        let offered = Product { product, version, before, done: super::Done::Unchanged };
        return Ok(Adopted::Kept { offered, why });
    }
    let package = place::Package { file: &file, manifest, observed: &observed };
    let made = place::prepare(layout, &slots, &package).await?;
    place::activate(layout, &slots, &product, &made.version, made.before.as_ref())?;
    place::drop_old_updaters(layout, &slots, std::slice::from_ref(&made));
    drop(alone);
    // It carries no choice: a service that does not run, or does not hear it, looks by itself.
    drop(ask(&layout.socket(), Verb::CheckNow).await);
    Ok(Adopted::Active(made))
}

/// Opens a file that only we can change, now and until it is read to its end.
pub(super) fn open(path: &Path) -> Result<File, InstallError> {
    let not_ours = |why: String| InstallError::NotOurs { path: path.into(), why };
    let parent =
        path.parent().filter(|_| path.is_absolute()).ok_or_else(|| not_ours("write its path in full".into()))?;
    site::trusted_path(parent, parent)?;
    let file = File::open(path).map_err(disk(path))?;
    // After it was opened: nobody else can put another one there, so this is the very file.
    platform::written_by_us_only(path).map_err(not_ours)?;
    Ok(file)
}

/// Why what is active stays active. `None`: the package is newer, or the same and perhaps in need of repair.
fn better_not(
    layout: &Layout,
    manifest: &Manifest,
    observed: &Observed,
    record: &Record,
) -> Result<Option<String>, InstallError> {
    let (product, version) = (&manifest.description.product, &manifest.description.version);
    let remembered = record.product(product);
    if let Some(active) = observed.current.as_ref().filter(|active| *active > version) {
        return Ok(Some(format!(
            "{product} {active} is active here, which is newer than the {version} of this package"
        )));
    }
    if let (Some(active), Some(failed)) =
        (&observed.current, remembered.failed.iter().find(|failed| failed.version == *version))
    {
        return Ok(Some(format!("{product} {active} stays: {version} was rolled back here: {}", failed.reason)));
    }
    let signed = payload::known(layout).and_then(|known| known.catalog().floor(product, STABLE).cloned());
    match signed.max(remembered.floor) {
        Some(floor) if *version < floor => below(product, version, floor, observed),
        _ => Ok(None),
    }
}

/// The vendor has withdrawn everything below `floor`. Where something is active, it stays; where nothing is, nothing comes.
fn below(
    product: &protocol::product::ProductId,
    version: &Version,
    floor: Version,
    observed: &Observed,
) -> Result<Option<String>, InstallError> {
    let refusal = Refusal::BelowFloor { version: version.clone(), floor };
    match &observed.current {
        Some(active) if active != version => Ok(Some(format!("{product} {active} stays: {refusal}"))),
        Some(_) => Ok(None),
        None => Err(InstallError::NotAllowed { product: product.clone(), refusal }),
    }
}
