//! Does the steps of a plan, and makes no choices. Before each step its intent is durable; after a step that fails,
//! what was begun is undone, and the active version is what it was.

use std::path::{Path, PathBuf};

use protocol::product::ProductId;
use release::package::Manifest;

use super::{
    Disk, MANIFEST, Operation, SlotError,
    journal::{Entry, Journal},
    plan::Step,
};
use crate::layout::Layout;

/// What an operation is carried out with.
pub(super) struct Execution<'a> {
    pub layout: &'a Layout,
    pub disk: &'a dyn Disk,
    pub journal: &'a Journal,
    pub product: &'a ProductId,
}

impl Execution<'_> {
    /// Does all steps. With `finish`, the intent is forgotten at the end; else the caller does that later.
    pub fn run(
        &self,
        operation: &Operation,
        steps: &[Step],
        fill: &mut dyn FnMut(&Path) -> Result<Manifest, SlotError>,
        finish: bool,
    ) -> Result<(), SlotError> {
        for (number, step) in steps.iter().enumerate() {
            let entry = Entry { product: self.product.clone(), operation: operation.clone(), step: number };
            let done = self
                .journal
                .intend(entry)
                .map_err(SlotError::disk("writing the journal"))
                .and_then(|()| self.step(step, fill));
            if let Err(error) = done {
                self.undo(operation, steps);
                return Err(error);
            }
        }
        if finish {
            self.end(operation)?;
        }
        Ok(())
    }

    fn step(&self, step: &Step, fill: &mut dyn FnMut(&Path) -> Result<Manifest, SlotError>) -> Result<(), SlotError> {
        let disk = self.disk;
        let versions = self.layout.versions(self.product);
        let product = self.layout.product(self.product);
        let current = self.layout.current(self.product);
        match step {
            Step::MakeScratch { dir } => disk
                .ensure_dir(&versions)
                .and_then(|()| disk.make_dir(&versions.join(dir), 0o700))
                .map_err(SlotError::disk("making a directory for the new version")),
            Step::Fill { dir } => {
                let dir = versions.join(dir);
                let manifest = fill(&dir)?;
                let bytes = serde_json::to_vec_pretty(&manifest).map_err(|e| SlotError::Package(e.into()))?;
                disk.write_file(&dir.join(MANIFEST), &bytes, 0o644)
                    .and_then(|()| disk.seal_tree(&dir))
                    .map_err(SlotError::disk("making the new version durable"))
            }
            Step::Publish { from, to } => disk
                .rename(&versions.join(from), &versions.join(to.to_string()))
                .and_then(|()| disk.sync_dir(&versions))
                .map_err(SlotError::disk("giving the new version its name")),
            Step::Exchange { dir, with } => disk
                .exchange(&versions.join(dir), &versions.join(with.to_string()))
                .and_then(|()| disk.sync_dir(&versions))
                .map_err(SlotError::disk("putting the version's new copy in its place")),
            Step::Point { link, to } => {
                let link = product.join(link);
                let target = PathBuf::from("versions").join(to.to_string());
                // An attempt before this one may have given the version its name without having made that durable.
                disk.sync_dir(&versions)
                    .and_then(|()| disk.make_pointer(&target, &link))
                    .and_then(|()| disk.rename(&link, &current))
                    .and_then(|()| disk.sync_dir(&product))
                    .map_err(SlotError::disk("switching the active version"))
            }
            Step::Unpoint => disk
                .remove_file(&current)
                .and_then(|()| disk.sync_dir(&product))
                .map_err(SlotError::disk("switching the active version off")),
            Step::Retire { from, to } => disk
                .rename(&versions.join(from.to_string()), &versions.join(to))
                .and_then(|()| disk.sync_dir(&versions))
                .map_err(SlotError::disk("taking an old version away")),
            Step::Erase { dir } => {
                disk.remove_tree(&versions.join(dir)).map_err(SlotError::disk("deleting an old version"))
            }
        }
    }

    /// What cannot be undone now is left to recovery, which knows it by its name; so failures here are only logged.
    fn undo(&self, operation: &Operation, steps: &[Step]) {
        let versions = self.layout.versions(self.product);
        let product = self.layout.product(self.product);
        for step in steps {
            let undone = match step {
                Step::MakeScratch { dir } => self.drop_scratch(&versions, dir),
                Step::Point { link, .. } => {
                    self.disk.remove_file(&product.join(link)).and_then(|()| self.point_back(operation))
                }
                Step::Unpoint => self.point_back(operation),
                Step::Fill { .. }
                | Step::Publish { .. }
                | Step::Exchange { .. }
                | Step::Retire { .. }
                | Step::Erase { .. } => Ok(()),
            };
            if let Err(error) = undone {
                tracing::warn!(product = %self.product, ?step, %error, "left for recovery");
            }
        }
        if let Err(error) = self.end(operation) {
            tracing::warn!(product = %self.product, %error, "the journal's entry is left for recovery");
        }
    }

    /// An exchange may have happened although making it durable failed: then the scratch name is the old copy's, which must
    /// stay whole for as long as a power cut can bring its old name back.
    fn drop_scratch(&self, versions: &Path, dir: &str) -> std::io::Result<()> {
        if self.disk.list(versions)?.iter().any(|name| name == dir) {
            self.disk.sync_dir(versions)?;
        }
        self.disk.remove_tree(&versions.join(dir))
    }

    /// The rename may have happened although making it durable failed: then the old link is put back, or, where there
    /// was none, taken away.
    fn point_back(&self, operation: &Operation) -> std::io::Result<()> {
        let Operation::Activate { from, scratch, .. } = operation else {
            return Ok(());
        };
        let current = self.layout.current(self.product);
        let Some(from) = from else {
            self.disk.remove_file(&current)?;
            return self.disk.sync_dir(&self.layout.product(self.product));
        };
        let target = PathBuf::from("versions").join(from.to_string());
        if self.disk.read_pointer(&current)?.as_deref() == Some(target.as_path()) {
            return Ok(());
        }
        let link = self.layout.product(self.product).join(format!("{}back-{scratch:016x}", super::plan::LINK_PREFIX));
        self.disk.make_pointer(&target, &link)?;
        self.disk.rename(&link, &current)?;
        self.disk.sync_dir(&self.layout.product(self.product))
    }

    fn end(&self, operation: &Operation) -> Result<(), SlotError> {
        self.journal.end(self.product, operation.slot()).map_err(SlotError::disk("closing the journal"))
    }
}
