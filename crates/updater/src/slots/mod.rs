//! Versions beside each other on a disk, and the link that says which one is active.
//!
//! Invariant: at every instant one complete version is active, the old one or the new one, whatever happens to the process
//! or the power. A directory under `versions/` whose name is a version is complete: it was made under another name, written,
//! made durable, and only then renamed. `current` is a pointer, replaced by one atomic rename: a relative symbolic link, or on
//! Windows a file with the version's name.
//!
//! | module | room for |
//! |---|---|
//! | [`plan`] | pure: what has to be done, from what is there |
//! | [`journal`] | the intent, durable before each step |
//! | [`execute`] | does the steps, makes no choices |
//! | [`recover`] | runs first at start: finishes or forgets, and sweeps |
//! | [`disk`] | the file system behind a trait |
//!
//! The service and an installer may both be at work: each operation has its turn ([`exclusive`]).

use std::{collections::BTreeSet, fs, io, path::Path, sync::Arc};

use protocol::{Version, product::ProductId};
use release::package::Manifest;

use crate::{
    layout::{LAUNCHER_DIR, Layout, SETUP_DIR, SUPERVISOR_DIR},
    platform,
};

pub mod disk;
pub mod execute;
pub mod journal;
pub mod plan;
pub mod recover;

pub use disk::{Disk, RealDisk};
use journal::Journal;
pub use journal::Operation;
pub use plan::Conflict;

/// The name of the file beside a version's own that says what the vendor packed.
pub const MANIFEST: &str = "manifest.json";

/// What lies on the disk of one product.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The version that the link points to.
    pub current: Option<Version>,
    /// Every complete version.
    pub versions: BTreeSet<Version>,
    /// Names under `versions/` that are no versions: what an interrupted operation left.
    pub leftovers: Vec<String>,
    /// Names beside the link that do not belong there.
    pub stray_links: Vec<String>,
}

/// Why an operation on versions failed. The active version is what it was.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// What is there does not allow it.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The file system refused.
    #[error("{what} failed")]
    Disk {
        /// The step.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The package could not be unpacked.
    #[error("the package cannot be unpacked")]
    Package(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl SlotError {
    pub(crate) fn disk(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Disk { what, source }
    }
}

/// All products' versions on this PC.
#[derive(Clone)]
pub struct Slots {
    layout: Layout,
    disk: Arc<dyn Disk>,
    journal: Arc<Journal>,
    alone: Alone,
}

/// Who else may change versions meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    /// Others, so each operation waits for its turn.
    EachTime,
    /// Nobody: the caller has seen to that.
    Already,
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slots").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Slots {
    /// The versions below a root, on a disk, for the service.
    pub fn new(layout: Layout, disk: Arc<dyn Disk>) -> Self {
        let journal = Arc::new(Journal::new(layout.journal(), disk.clone()));
        Self { layout, disk, journal, alone: Alone::EachTime }
    }

    /// The same for an installer, which has a journal of its own and holds [`exclusive`] all the while.
    pub fn for_installer(layout: Layout, disk: Arc<dyn Disk>) -> Self {
        let journal = Arc::new(Journal::new(layout.install_journal(), disk.clone()));
        Self { layout, disk, journal, alone: Alone::Already }
    }

    /// The products that have a directory here; none when that cannot be read.
    pub fn products(&self) -> Vec<ProductId> {
        let names = self.disk.list(&self.layout.products()).unwrap_or_default();
        let fixed = [SUPERVISOR_DIR, LAUNCHER_DIR, SETUP_DIR];
        names.iter().filter(|name| !fixed.contains(&name.as_str())).filter_map(|name| name.parse().ok()).collect()
    }

    /// What is there of one product.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn observe(&self, product: &ProductId) -> io::Result<Observed> {
        let mut observed = Observed::default();
        for name in self.disk.list(&self.layout.versions(product))? {
            match name.parse() {
                Ok(version) => {
                    observed.versions.insert(version);
                }
                Err(_) => observed.leftovers.push(name),
            }
        }
        for name in self.disk.list(&self.layout.product(product))? {
            if name.starts_with(plan::LINK_PREFIX) {
                observed.stray_links.push(name);
            }
        }
        observed.current = self
            .disk
            .read_pointer(&self.layout.current(product))?
            .and_then(|target| target.file_name()?.to_str()?.parse().ok())
            .filter(|version| observed.versions.contains(version));
        Ok(observed)
    }

    /// Makes a version complete beside the others. `fill` writes its files into the directory it is given; `scratch` is a
    /// random number for names that nobody can know beforehand.
    ///
    /// # Errors
    /// [`SlotError`]; nothing is left behind.
    pub fn stage(
        &self,
        product: &ProductId,
        version: &Version,
        scratch: u64,
        fill: &mut dyn FnMut(&Path) -> Result<Manifest, SlotError>,
    ) -> Result<(), SlotError> {
        let operation = Operation::Stage { version: version.clone(), scratch };
        self.run(product, operation, fill, true)
    }

    /// Unpacks a package into the directory that [`Slots::stage`] and [`Slots::renew`] have made for it.
    ///
    /// # Errors
    /// [`SlotError::Package`].
    pub fn unpack(&self, package: impl io::Read, into: &Path) -> Result<Manifest, SlotError> {
        release::package::unpack_at(&disk::Unpacking(self.disk.as_ref()), package, into)
            .map_err(|e| SlotError::Package(e.into()))
    }

    /// Puts a whole copy of a version in the place of the one that is there. At every instant one of the two has the
    /// version's name, so it may be the active one.
    ///
    /// # Errors
    /// [`SlotError`]; also when the file system cannot exchange two names in one step.
    pub fn renew(
        &self,
        product: &ProductId,
        version: &Version,
        scratch: u64,
        fill: &mut dyn FnMut(&Path) -> Result<Manifest, SlotError>,
    ) -> Result<(), SlotError> {
        let operation = Operation::Renew { version: version.clone(), scratch };
        self.run(product, operation, fill, true)
    }

    /// Points the link to a complete version, or to none. The journal keeps the intent until [`Slots::settle`], so that
    /// a restart in between knows that the new version's health was not checked yet.
    ///
    /// # Errors
    /// [`SlotError`]; the link points to what it did.
    pub fn activate(
        &self,
        product: &ProductId,
        to: Option<&Version>,
        from: Option<&Version>,
        restart: bool,
        scratch: u64,
    ) -> Result<(), SlotError> {
        let operation = Operation::Activate { to: to.cloned(), from: from.cloned(), restart, scratch };
        self.run(product, operation, &mut no_package, false)
    }

    /// Forgets the intent of the last activation: it is final.
    ///
    /// # Errors
    /// [`SlotError::Disk`].
    pub fn settle(&self, product: &ProductId) -> Result<(), SlotError> {
        self.journal.end(product, journal::Slot::Link).map_err(SlotError::disk("closing the journal"))
    }

    /// Removes a version that is not active. The caller makes sure that nothing runs from it.
    ///
    /// # Errors
    /// [`SlotError`].
    pub fn remove(&self, product: &ProductId, version: &Version, scratch: u64) -> Result<(), SlotError> {
        let operation = Operation::Remove { version: version.clone(), scratch };
        self.run(product, operation, &mut no_package, true)
    }

    /// Whether a process runs a program of this version.
    ///
    /// # Errors
    /// Whatever the system says; then nothing may be assumed.
    pub fn is_running(&self, product: &ProductId, version: &Version) -> io::Result<bool> {
        platform::is_running_below(&self.layout.version(product, version))
    }

    /// What the vendor packed into a complete version.
    ///
    /// # Errors
    /// Whatever the disk says; `InvalidData` when it is not a manifest.
    pub fn manifest(&self, product: &ProductId, version: &Version) -> io::Result<Manifest> {
        let path = self.layout.version(product, version).join(MANIFEST);
        let bytes = self.disk.read_file(&path)?.ok_or(io::ErrorKind::NotFound)?;
        serde_json::from_slice(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }

    /// Runs first at start: see [`recover`]. `mine` says which products this process changes; nobody else's are touched.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn recover(&self, mine: fn(&ProductId) -> bool) -> Result<Vec<recover::Interrupted>, SlotError> {
        let _alone = self.take_turn()?;
        recover::recover(&self.layout, self.disk.as_ref(), &self.journal, self, mine)
    }

    /// Removes what an operation has left that failed in its middle, and whose undoing failed too.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn sweep(&self, product: &ProductId) -> Result<(), SlotError> {
        let _alone = self.take_turn()?;
        let observed = recover::observe_whole(self, product)?;
        recover::sweep(&self.layout, self.disk.as_ref(), product, &observed)?;
        self.journal.end(product, journal::Slot::Versions).map_err(SlotError::disk("closing the journal"))
    }

    fn take_turn(&self) -> Result<Option<fs::File>, SlotError> {
        match self.alone {
            Alone::EachTime => exclusive(&self.layout).map(Some),
            Alone::Already => Ok(None),
        }
    }

    fn run(
        &self,
        product: &ProductId,
        operation: Operation,
        fill: &mut dyn FnMut(&Path) -> Result<Manifest, SlotError>,
        finish: bool,
    ) -> Result<(), SlotError> {
        let _alone = self.take_turn()?;
        let observed = self.observe(product).map_err(SlotError::disk("looking at the installed versions"))?;
        let steps = plan::plan(&operation, &observed)?;
        execute::Execution { layout: &self.layout, disk: self.disk.as_ref(), journal: &self.journal, product }
            .run(&operation, &steps, fill, finish)
    }
}

/// Waits until nobody else changes versions here, and keeps others from it until the file is dropped or the process ends.
///
/// # Errors
/// Whatever the system says.
pub fn exclusive(layout: &Layout) -> Result<fs::File, SlotError> {
    platform::open_lock(&layout.slots_lock())
        .and_then(|file| file.lock().map(|()| file))
        .map_err(SlotError::disk("waiting for another program that changes versions"))
}

/// The service changes every product, and itself only where a supervisor watches over that; else the installer does.
pub fn is_of_the_service(product: &ProductId) -> bool {
    *product != ProductId::updater()
}

fn no_package(_: &Path) -> Result<Manifest, SlotError> {
    Err(SlotError::Package("this operation has no package".into()))
}

#[cfg(all(test, unix))]
mod tests;
