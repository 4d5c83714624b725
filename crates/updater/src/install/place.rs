//! Installing what was verified: first everything complete beside what runs, then the switch.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom},
    path::{Path, PathBuf},
};

use protocol::{Version, catalog::Release, product::ProductId};
use release::package::{self, Manifest};
use sha2::{Digest, Sha256};

use super::{Done, InstallError, Product, disk, payload::Chosen};
use crate::{
    driver::carry::is_same,
    health,
    layout::{Layout, program},
    platform, self_update, site,
    slots::{Disk, Observed, RealDisk, SlotError, Slots},
};

/// Machine policy, as it will be.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// The site profile.
    pub profile: &'a [u8],
    /// The vendor's root that was believed.
    pub root: &'a [u8],
}

/// Makes every directory with its final rights, the outermost first, and looks at each before going into it.
///
/// # Errors
/// [`InstallError::Site`] where others could write; [`InstallError::Disk`].
pub fn directories(layout: &Layout) -> Result<(), InstallError> {
    if !layout.root().exists() {
        platform::make_dir(layout.root(), 0o755).map_err(disk(layout.root()))?;
    }
    site::trusted_path(layout.root(), layout.root())?;
    let versions = layout.versions(&ProductId::updater());
    for (dir, mode) in [
        (layout.etc(), 0o755),
        (layout.state_dir(), 0o700),
        (layout.downloads(), 0o700),
        (layout.products(), 0o755),
        (layout.product(&ProductId::updater()), 0o755),
        (versions, 0o755),
        (layout.run_dir(), 0o755),
    ] {
        platform::make_dir(&dir, mode).map_err(disk(&dir))?;
        site::trusted_path(layout.root(), &dir)?;
    }
    for dir in [layout.etc(), layout.state_dir(), layout.products(), layout.run_dir()] {
        close_below(layout, &dir)?;
    }
    Ok(())
}

/// Closes the directories that an earlier, careless installation has left open below one that is closed, also under the names
/// that somebody gave them meanwhile: else one called like another product would stay theirs. From the outside in: what an
/// entry's turn has come for, nobody exchanges any more.
fn close_below(layout: &Layout, dir: &Path) -> Result<(), InstallError> {
    for entry in fs::read_dir(dir).map_err(disk(dir))? {
        let entry = entry.map_err(disk(dir))?;
        let path = entry.path();
        if !entry.file_type().map_err(disk(&path))?.is_dir() {
            continue;
        }
        if platform::written_by_us_only(&path).is_err() {
            platform::make_dir(&path, 0o755).map_err(disk(&path))?;
            site::trusted_path(layout.root(), &path)?;
        }
        close_below(layout, &path)?;
    }
    Ok(())
}

/// The directory that our copy of the folder lies in; it goes when this is dropped.
#[derive(Debug)]
pub struct Copy(PathBuf);

impl Copy {
    /// Makes it, in the place of one that a killed installer has left.
    ///
    /// # Errors
    /// [`InstallError::Disk`].
    pub fn make(layout: &Layout) -> Result<Self, InstallError> {
        let path = layout.install_copy();
        RealDisk.remove_tree(&path).and_then(|()| RealDisk.make_dir(&path, 0o700)).map_err(disk(&path))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = RealDisk.remove_tree(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the installer's copy is left; the next one removes it");
        }
    }
}

/// Puts verified packages in their places, in their order.
///
/// # Errors
/// [`InstallError`]; what was active is active still.
pub async fn place(
    layout: &Layout,
    slots: &Slots,
    chosen: Vec<Chosen>,
    policy: &Policy<'_>,
) -> Result<Vec<Product>, InstallError> {
    let mut products = Vec::new();
    for each in &chosen {
        let package = Package { file: &each.package, manifest: manifest(each)?, observed: &each.observed };
        products.push(prepare(layout, slots, &package).await?);
    }
    replace_public(&layout.site(), policy.profile)?;
    replace_public(&layout.vendor_root(), policy.root)?;
    for each in &chosen {
        let Release { product, version, .. } = &each.entry.release;
        activate(layout, slots, product, version, each.observed.current.as_ref())?;
    }
    drop_old_updaters(layout, slots, &products);
    Ok(products)
}

/// A package that may be installed, as it lies in a file that only we can change.
#[derive(Debug)]
pub(super) struct Package<'a> {
    /// The file.
    pub file: &'a File,
    /// What it says about itself.
    pub manifest: Manifest,
    /// What lies on the disk of its product.
    pub observed: &'a Observed,
}

/// Makes a version complete beside what runs, and finds out whether it can run here.
pub(super) async fn prepare(layout: &Layout, slots: &Slots, package: &Package<'_>) -> Result<Product, InstallError> {
    let Package { file, manifest, observed } = package;
    let rule = &manifest.description;
    let (product, version) = (&rule.product, &rule.version);
    // Also those that an earlier, careless installation has left open.
    for dir in [layout.product(product), layout.versions(product)] {
        platform::make_dir(&dir, 0o755).map_err(disk(&dir))?;
        site::trusted_path(layout.root(), &dir)?;
    }
    let before = observed.current.clone();
    let there = observed.versions.contains(version);
    let intact = there
        && slots.manifest(product, version).is_ok_and(|m| m == *manifest)
        && is_intact(&layout.version(product, version), manifest);
    let active = before.as_ref() == Some(version);
    let mut fill = |into: &Path| unpack(slots, file, into);
    match (there, intact) {
        (false, _) => slots.stage(product, version, rand::random(), &mut fill)?,
        (true, false) => slots.renew(product, version, rand::random(), &mut fill)?,
        (true, true) => {}
    }
    let done = match (active, intact) {
        (true, true) => Done::Unchanged,
        (true, false) => Done::Repaired,
        (false, _) => Done::Installed,
    };
    let made = Product { product: product.clone(), version: version.clone(), before, done };
    if done == Done::Installed && !rule.self_check.is_empty() {
        let program = layout.version(product, version).join(&rule.program);
        let limit = std::time::Duration::from_secs(rule.health.self_check_seconds.into());
        if let Err(reason) = health::check_patiently(&program, &rule.self_check, limit).await {
            slots.remove(product, version, rand::random())?;
            return Err(InstallError::Unhealthy { product: product.clone(), version: version.clone(), reason });
        }
    }
    Ok(made)
}

/// What the package says about itself, which must be what was signed.
fn manifest(chosen: &Chosen) -> Result<Manifest, InstallError> {
    let manifest = read_manifest(&chosen.package)?;
    if !is_same(&manifest, &chosen.entry.release) {
        let what = &manifest.description;
        let why = format!("it holds {} {} for {}", what.product, what.version, what.platform);
        return Err(SlotError::Package(why.into()).into());
    }
    Ok(manifest)
}

/// What the package in a file says about itself.
pub(super) fn read_manifest(mut file: &File) -> Result<Manifest, InstallError> {
    let read = file.seek(SeekFrom::Start(0)).map_err(package::Error::Io);
    Ok(read.and_then(|_| package::read_manifest(&mut file)).map_err(|e| SlotError::Package(e.into()))?)
}

fn unpack(slots: &Slots, mut file: &File, into: &Path) -> Result<Manifest, SlotError> {
    file.seek(SeekFrom::Start(0)).map_err(|e| SlotError::Package(package::Error::Io(e).into()))?;
    slots.unpack(file, into)
}

/// Whether every file is what the vendor packed, with its final rights, and nothing else could have been put there.
fn is_intact(dir: &Path, manifest: &Manifest) -> bool {
    use std::collections::BTreeSet;
    let mut dirs = BTreeSet::from([dir.to_owned()]);
    for file in &manifest.files {
        dirs.extend(dir.join(&file.path).ancestors().skip(1).take_while(|p| *p != dir).map(Path::to_owned));
    }
    dirs.iter().all(|dir| platform::written_by_us_only(dir).is_ok())
        && manifest.files.iter().all(|file| {
            let path = dir.join(&file.path);
            platform::written_by_us_only(&path).is_ok()
                && platform::has_mode(&path, file.mode)
                && fs::read(&path).is_ok_and(|bytes| hex::encode(Sha256::digest(&bytes)) == file.sha256)
        })
}

/// Makes a version that is complete the active one. The updater brings along what no version replaces, and is not on trial: whoever
/// installs it is there to see.
pub(super) fn activate(
    layout: &Layout,
    slots: &Slots,
    product: &ProductId,
    version: &Version,
    before: Option<&Version>,
) -> Result<(), InstallError> {
    if *product == ProductId::updater() {
        fixed(layout, version, "lockstep-supervisor", &layout.supervisor())?;
        if let Some(launcher) = layout.launcher() {
            match fixed(layout, version, "lockstep-launcher", &launcher) {
                // Windows does not replace what runs, and users' launchers go on meanwhile: that one hardly ever changes.
                Err(error) if launcher.is_file() => tracing::warn!(%error, "the launcher stays as it is"),
                placed => placed?,
            }
        }
        self_update::end(layout, &RealDisk).map_err(disk(&layout.trial()))?;
    }
    slots.activate(product, Some(version), before, true, rand::random())?;
    Ok(slots.settle(product)?)
}

/// Puts a program that lies in a version of the updater at its own place, unless it is there. Versions of old have none.
fn fixed(layout: &Layout, version: &Version, name: &str, to: &Path) -> Result<(), InstallError> {
    let from = layout.version(&ProductId::updater(), version).join("bin").join(program(name));
    let (Some(dir), true) = (to.parent(), from.is_file()) else { return Ok(()) };
    platform::make_dir(dir, 0o755).map_err(disk(dir))?;
    site::trusted_path(layout.root(), dir)?;
    let bytes = fs::read(&from).map_err(disk(&from))?;
    let there = platform::written_by_us_only(to).is_ok() && platform::has_mode(to, 0o755);
    if there && fs::read(to).is_ok_and(|before| before == bytes) {
        return Ok(());
    }
    let beside = dir.join(format!(".{name}.new"));
    let placed = RealDisk
        .write_file(&beside, &bytes, 0o755)
        .and_then(|()| RealDisk.rename(&beside, to))
        .and_then(|()| RealDisk.sync_dir(dir));
    placed.map_err(disk(to))
}

/// Keeps the updater and the newest other one. Whatever else is in the way is left for the next time.
pub(super) fn drop_old_updaters(layout: &Layout, slots: &Slots, products: &[Product]) {
    let product = ProductId::updater();
    let Some(updater) = products.iter().find(|p| p.product == product) else { return };
    let Ok(observed) = slots.observe(&product) else { return };
    // By number, so that a run after one that was killed comes to the same end.
    let others: Vec<&Version> = observed.versions.iter().filter(|v| **v != updater.version).collect();
    for version in others.into_iter().rev().skip(1) {
        // The service may run it still; not knowing counts as running.
        if !platform::is_running_below(&layout.version(&product, version)).unwrap_or(true)
            && let Err(error) = slots.remove(&product, version, rand::random())
        {
            tracing::warn!(%version, error = %crate::words(&error), "an old updater stays");
        }
    }
}

/// Replaces a file that everybody may read and only we may write.
///
/// # Errors
/// [`InstallError::Disk`].
pub fn replace_public(path: &Path, bytes: &[u8]) -> Result<(), InstallError> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let beside = path.with_file_name(format!(".{name}.new"));
    let disk_of_ours = RealDisk;
    let written = disk_of_ours
        .write_file(&beside, bytes, 0o644)
        .and_then(|()| disk_of_ours.rename(&beside, path))
        .and_then(|()| path.parent().map_or(Ok(()), |dir| disk_of_ours.sync_dir(dir)));
    written.map_err(disk(path))
}
