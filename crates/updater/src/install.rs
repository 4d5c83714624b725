//! `lockstep-updater install`: from the unpacked download to a running service.
//!
//! Run again it repairs rights and brings another version: every way ends in the same rights as a fresh installation.
//!
//! | attack | answer |
//! |---|---|
//! | an installation root, or a directory above it, that others can write to | refused ([`crate::site::trusted_path`]) |
//! | files left by an earlier, careless installation | directories are given their final rights; files are replaced, never written into |
//! | a site profile for the wrong place | read and checked before anything is copied |

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use protocol::{
    Version,
    product::{Platform, ProductId},
};
use release::package::{Description, FileEntry, Manifest};
use sha2::{Digest, Sha256};

use crate::{
    layout::Layout,
    platform, site,
    slots::{Disk, RealDisk, SlotError, Slots},
};

/// The service's unit for systemd.
const UNIT: &str = include_str!("../systemd/lockstep-updater.service");

/// Why nothing, or not everything, was installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Only an administrator may.
    #[error("installing into / needs an administrator: run it with sudo or as root")]
    NotRoot,
    /// The folder is not the unpacked download.
    #[error(
        "{0} is missing: run `bin/lockstep-updater install` from the folder that you unpacked, with everything in it"
    )]
    Incomplete(PathBuf),
    /// The place or the profile is not to be trusted.
    #[error(transparent)]
    Site(#[from] site::SiteError),
    /// The versions.
    #[error("the updater's own version could not be put in its place")]
    Slots(#[from] SlotError),
    /// The disk.
    #[error("{path} could not be written")]
    Disk {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What was installed, and what is left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The program that runs the service.
    pub program: PathBuf,
    /// Where systemd's unit was written. `None`: systemd does not run here, or the root is not `/`.
    pub unit: Option<PathBuf>,
}

/// Installs from `folder`, the unpacked download: `bin/lockstep-updater`, `bin/lockstep-launcher`, `site.json`, `root.json`.
///
/// # Errors
/// [`InstallError`].
pub fn install(layout: &Layout, folder: &Path, version: &Version) -> Result<Installed, InstallError> {
    let whole_machine = layout.root() == Path::new("/");
    if whole_machine && !platform::is_root() {
        return Err(InstallError::NotRoot);
    }
    let profile = read(&folder.join("site.json"))?;
    site::parse(&folder.join("site.json"), &profile)?;
    let vendor_root = read(&folder.join("root.json"))?;

    directories(layout)?;
    let disk = Arc::new(RealDisk);
    replace_public(disk.as_ref(), &layout.site(), &profile)?;
    replace_public(disk.as_ref(), &layout.vendor_root(), &vendor_root)?;

    let product = ProductId::updater();
    // The service may be running: it has its own journal, and this one touches no product but the updater.
    let journal = layout.state_dir().join("install-journal.json");
    let slots = Slots::with_journal(layout.clone(), disk.clone(), journal);
    slots.recover(|product| *product == ProductId::updater())?;
    stage(&slots, layout, folder, version)?;
    let observed = slots.observe(&product).map_err(disk_error(&layout.versions(&product)))?;
    slots.activate(&product, Some(version), observed.current.as_ref(), true, rand::random())?;
    slots.settle(&product)?;

    let program = layout.current(&product).join("bin/lockstep-updater");
    let unit = (whole_machine && Path::new("/run/systemd/system").is_dir())
        .then(|| PathBuf::from("/etc/systemd/system/lockstep-updater.service"));
    if let Some(unit) = &unit {
        replace_public(disk.as_ref(), unit, UNIT.as_bytes())?;
    }
    Ok(Installed { program, unit })
}

/// Makes every directory with its final rights, the outermost first, and looks at each before going into it.
fn directories(layout: &Layout) -> Result<(), InstallError> {
    if !layout.root().exists() {
        platform::make_dir(layout.root(), 0o755).map_err(disk_error(layout.root()))?;
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
        platform::make_dir(&dir, mode).map_err(disk_error(&dir))?;
        site::trusted_path(layout.root(), &dir)?;
    }
    Ok(())
}

/// Puts this very program into a slot of its own. A version that is there with the same bytes stays; with others (a build
/// of the same number) it makes room, unless it runs.
fn stage(slots: &Slots, layout: &Layout, folder: &Path, version: &Version) -> Result<(), InstallError> {
    let product = ProductId::updater();
    let programs = ["bin/lockstep-launcher", "bin/lockstep-updater"];
    let mut contents = Vec::new();
    for path in programs {
        contents.push((path, read(&folder.join(path))?));
    }
    let manifest = Manifest {
        v: 1,
        description: Description {
            product: product.clone(),
            version: version.clone(),
            platform: Platform::current(),
            program: "bin/lockstep-updater".into(),
            self_check: vec!["--version".into()],
        },
        files: contents.iter().map(|(path, bytes)| entry(path, bytes)).collect(),
    };
    let observed = slots.observe(&product).map_err(disk_error(&layout.versions(&product)))?;
    if observed.versions.contains(version) {
        if slots.manifest(&product, version).is_ok_and(|there| there == manifest)
            && is_intact(layout, version, &manifest)
        {
            return Ok(());
        }
        if observed.current.as_ref() == Some(version) {
            slots.activate(&product, None, Some(version), false, rand::random())?;
        }
        slots.remove(&product, version, rand::random())?;
    }
    let mut fill = |into: &Path| {
        let write = || {
            RealDisk.make_dir(&into.join("bin"), 0o755)?;
            contents.iter().try_for_each(|(path, bytes)| RealDisk.write_file(&into.join(path), bytes, 0o755))
        };
        write().map_err(|e: io::Error| SlotError::Disk { what: "copying the updater".into(), source: e })?;
        Ok(manifest.clone())
    };
    Ok(slots.stage(&product, version, rand::random(), &mut fill)?)
}

fn entry(path: &str, bytes: &[u8]) -> FileEntry {
    FileEntry { path: path.into(), size: bytes.len() as u64, mode: 0o755, sha256: hex::encode(Sha256::digest(bytes)) }
}

fn is_intact(layout: &Layout, version: &Version, manifest: &Manifest) -> bool {
    let dir = layout.version(&ProductId::updater(), version);
    manifest.files.iter().all(|file| {
        let path = dir.join(&file.path);
        fs::read(&path).is_ok_and(|bytes| entry(&file.path, &bytes) == *file)
            && platform::written_by_us_only(&path).is_ok()
    })
}

fn read(path: &Path) -> Result<Vec<u8>, InstallError> {
    fs::read(path).map_err(|_| InstallError::Incomplete(path.into()))
}

/// Replaces a file that everybody may read and only we may write.
fn replace_public(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), InstallError> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let beside = path.with_file_name(format!(".{name}.new"));
    let written = disk
        .write_file(&beside, bytes, 0o644)
        .and_then(|()| disk.rename(&beside, path))
        .and_then(|()| path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir)));
    written.map_err(disk_error(path))
}

fn disk_error(path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::Disk { path, source }
}
