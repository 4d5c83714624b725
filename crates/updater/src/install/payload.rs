//! What may be installed: verified in our own copy, and allowed by the vendor's signed limits.
//!
//! | attack | answer |
//! |---|---|
//! | forged, mixed or expired metadata | [`release::tuf`], over the copy alone |
//! | metadata of last year, in which a withdrawn version still stands | what this computer knows already goes first: its floors, and, where its metadata is newer, its list of releases |
//! | a package that changes after it was verified | copied first; the copy's own descriptor is hashed, and unpacked from |
//! | several versions to choose from | refused: an installer makes no choices |

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Seek, SeekFrom},
    path::Path,
};

use protocol::{
    Admission, Decision, Directive, Timestamp,
    catalog::Entry,
    device::{Device, ProductState, STABLE},
    policy::UpgradePolicy,
    product::{Platform, ProductId},
};
use release::tuf::{DirectoryFetch, Repository, Trusted, Verifier, consistent_target_path};

use super::{InstallError, disk, folder::Folder, trust::Root};
use crate::{
    layout::Layout,
    platform,
    record::Record,
    slots::{Observed, Slots},
};

/// What the copy holds, verified.
#[derive(Debug)]
pub struct Payload {
    trusted: Trusted,
}

/// A release to install, and its verified package.
#[derive(Debug)]
pub struct Chosen {
    /// What was signed.
    pub entry: Entry,
    /// The package: our own copy, at its beginning.
    pub package: File,
    /// What lies on the disk of it.
    pub observed: Observed,
}

impl Payload {
    /// Verifies the copied metadata.
    ///
    /// # Errors
    /// [`InstallError::NotSigned`], [`InstallError::Expired`].
    pub async fn verify(copy: &Path, root: &Root, now: Timestamp) -> Result<Self, InstallError> {
        let refused = |source: release::tuf::Error| match source.expired() {
            Some(expired) => InstallError::Expired(expired),
            None => InstallError::NotSigned(root.whose, source),
        };
        let repository = Repository::open(&copy.join("verified"), &root.bytes).map_err(refused)?;
        let trusted = repository.refresh(&DirectoryFetch::new(copy), now).await.map_err(refused)?;
        Ok(Self { trusted })
    }

    /// Chooses what this computer installs, copies its packages and verifies the copies: the updater last.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn choose(
        &self,
        folder: &Folder,
        copy: &Path,
        layout: &Layout,
        slots: &Slots,
        record: &Record,
        now: Timestamp,
    ) -> Result<Vec<Chosen>, InstallError> {
        let mut entries = self.for_this_computer(folder)?;
        let updater = entries.remove(&ProductId::updater()).ok_or_else(|| self.nothing())?;
        let ordered: Vec<&Entry> = entries.into_values().chain([updater]).collect();

        let known = known(layout);
        let mut observed = Vec::new();
        for entry in &ordered {
            let product = &entry.release.product;
            observed.push(slots.observe(product).map_err(disk(&layout.versions(product)))?);
        }
        let device = self.device(layout, &ordered, &observed, record, known.as_ref());
        for entry in &ordered {
            self.allowed(entry, &device, known.as_ref(), now)?;
        }
        let copied = |(entry, observed): (&Entry, Observed)| {
            Ok(Chosen { entry: entry.clone(), package: package(folder, copy, entry)?, observed })
        };
        ordered.into_iter().zip(observed).map(copied).collect()
    }

    /// Lets the service begin with what was verified here, where it knows less: so nobody can show it an older state.
    pub async fn remember(&self, layout: &Layout, root: &Root, now: Timestamp) {
        let running = platform::open_lock(&layout.lock()).is_ok_and(|lock| lock.try_lock().is_err());
        if running {
            return;
        }
        let told = async {
            platform::make_dir(&layout.tuf(), 0o700).map_err(|e| e.to_string())?;
            let repository = Repository::open(&layout.tuf(), &root.bytes).map_err(|e| e.to_string())?;
            repository.refresh(&FromMemory(&self.trusted), now).await.map_err(|e| e.to_string())
        };
        // It knows more already, or learns it from the site.
        if let Err(why) = told.await {
            tracing::debug!(why, "the service's own metadata stays as it is");
        }
    }

    /// The one release of each product for this computer whose package lies in the folder.
    fn for_this_computer(&self, folder: &Folder) -> Result<BTreeMap<ProductId, &Entry>, InstallError> {
        let signed: BTreeMap<_, _> = self
            .trusted
            .targets()
            .iter()
            .map(|(path, info)| (consistent_target_path(path, &info.sha256), path))
            .collect();
        let mut found: BTreeMap<ProductId, &Entry> = BTreeMap::new();
        for file in folder.targets()? {
            let path = signed.get(&file).ok_or_else(|| InstallError::Unknown(format!("payload/targets/{file}")))?;
            let Some(entry) = self.trusted.catalog().entries.iter().find(|e| e.target == **path) else { continue };
            let release = &entry.release;
            let ours = [ProductId::updater(), ProductId::connector()].contains(&release.product);
            if !ours || release.platform != Platform::current() || release.channel != STABLE {
                continue;
            }
            if let Some(other) = found.insert(release.product.clone(), entry) {
                let mut both = [other.release.version.clone(), release.version.clone()];
                both.sort();
                let [one, other] = both;
                return Err(InstallError::TwoReleases { product: release.product.clone(), one, other });
            }
        }
        Ok(found)
    }

    fn nothing(&self) -> InstallError {
        let mut others: Vec<String> = Vec::new();
        for entry in &self.trusted.catalog().entries {
            let release = &entry.release;
            if release.product == ProductId::updater() && release.platform != Platform::current() {
                others.push(release.platform.to_string());
            }
        }
        others.sort();
        others.dedup();
        let instead =
            if others.is_empty() { String::new() } else { format!("; the vendor has it for {}", others.join(", ")) };
        InstallError::Nothing { platform: Platform::current().to_string(), instead }
    }

    /// This computer, as a decision sees it: with the updater that is about to be installed.
    fn device(
        &self,
        layout: &Layout,
        entries: &[&Entry],
        observed: &[Observed],
        record: &Record,
        known: Option<&Trusted>,
    ) -> Device {
        let mut products = BTreeMap::new();
        for (entry, observed) in entries.iter().zip(observed) {
            let product = &entry.release.product;
            let remembered = record.product(product);
            let floor = known.and_then(|k| k.catalog().floor(product, STABLE)).cloned().max(remembered.floor);
            let installed = observed.current.clone();
            let state = ProductState { installed, floor, failed: remembered.failed, ..ProductState::default() };
            products.insert(product.clone(), state);
        }
        let updater = entries.iter().find(|e| e.release.product == ProductId::updater());
        Device {
            updater: updater.map(|e| e.release.version.clone()),
            disk_free: platform::free_space(&layout.products()),
            metadata_expires: Some(self.trusted.expires()),
            products,
            ..Device::unknown(Platform::current(), STABLE)
        }
    }

    /// The decision that the service would make.
    fn allowed(
        &self,
        entry: &Entry,
        device: &Device,
        known: Option<&Trusted>,
        now: Timestamp,
    ) -> Result<(), InstallError> {
        let release = &entry.release;
        let (product, version) = (release.product.clone(), release.version.clone());
        let newer = known.filter(|known| known.version() > self.trusted.version());
        if newer.is_some_and(|known| !known.catalog().entries.iter().any(|e| e == entry)) {
            return Err(InstallError::Withdrawn { product, version });
        }
        let directive = Directive {
            product: product.clone(),
            decision: Decision::Required { version, deadline: now },
            policy: UpgradePolicy::Silent,
            terms: Default::default(),
            server: None,
            why: "an administrator installs it".into(),
        };
        match protocol::admit(self.trusted.catalog(), device, &directive, now) {
            Admission::Refused(refusal) => Err(InstallError::NotAllowed { product, refusal }),
            _ => Ok(()),
        }
    }
}

/// What the service has verified on this computer so far, from whatever root is pinned here.
pub(super) fn known(layout: &Layout) -> Option<Trusted> {
    let root = crate::site::read_vendor_root(layout).ok()?;
    if !layout.tuf().is_dir() {
        return None;
    }
    Repository::open(&layout.tuf(), &root).ok()?.known().ok()?
}

fn package(folder: &Folder, copy: &Path, entry: &Entry) -> Result<File, InstallError> {
    let target = consistent_target_path(&entry.target, &entry.sha256);
    let path = copy.join(format!("{}.lpk", entry.release.product));
    let mut file = folder.copy_target(&target, entry.length, &path)?;
    let checked = verify(&mut file, Verifier::new(entry.length, &entry.sha256)).map_err(disk(&path))?;
    checked.map_err(|source| InstallError::Package { path: format!("payload/targets/{target}"), source })?;
    Ok(file)
}

/// Hashes the whole file through the descriptor that it will be unpacked from.
fn verify(file: &mut File, verifier: Verifier) -> io::Result<Result<(), release::tuf::Mismatch>> {
    file.seek(SeekFrom::Start(0))?;
    let checked = verifier.read_whole(&mut *file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(checked)
}

/// What was verified, as a repository to read from.
struct FromMemory<'a>(&'a Trusted);

impl release::tuf::Fetch for FromMemory<'_> {
    type Error = std::convert::Infallible;

    async fn fetch(&self, path: &str, _: u64) -> Result<Option<Vec<u8>>, Self::Error> {
        let found = self.0.metadata().iter().find(|f| path.strip_prefix("metadata/") == Some(&f.name));
        Ok(found.map(|f| f.bytes.clone()))
    }
}
