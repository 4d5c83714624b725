//! What the disk refused after everything else was done: it is told in the status, and tried again until it is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use protocol::product::ProductId;
use tokio::time::Instant;

use super::{Driver, blocking};
use crate::{source::Source, words};

/// The wait before another attempt.
const WAIT: Duration = Duration::from_secs(10);

/// What is still to be done.
#[derive(Debug, Default)]
pub(super) struct Refused {
    save: Option<String>,
    settle: BTreeSet<ProductId>,
    remove: BTreeMap<ProductId, String>,
    journal: Option<String>,
    again: Option<Instant>,
}

impl Refused {
    /// For people. `None`: everything was done.
    pub fn in_words(&self) -> Option<String> {
        let save = self.save.iter().map(|why| format!("the updater's state cannot be saved: {why}"));
        let journal = self.journal.iter().map(|why| format!("the updater's journal cannot be written: {why}"));
        let remove =
            self.remove.iter().map(|(product, why)| format!("old files of {product} cannot be removed: {why}"));
        let all: Vec<_> = save.chain(journal).chain(remove).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// When the next attempt is.
    pub fn again_at(&self) -> Option<Instant> {
        let open = self.save.is_some() || !self.settle.is_empty() || !self.remove.is_empty();
        self.again.filter(|_| open)
    }

    /// Whether the removal of something of a product failed, and why.
    pub fn removal(&mut self, product: &ProductId, failed: Option<String>) {
        match failed {
            Some(why) => {
                self.remove.insert(product.clone(), why);
                self.wait();
            }
            None => {
                self.remove.remove(product);
            }
        }
    }

    /// Whether the removal of something of a product has failed.
    pub fn is_removing(&self, product: &ProductId) -> bool {
        self.remove.contains_key(product)
    }

    /// A new switch of a product's link: its end is another one now.
    pub fn forget_settling(&mut self, product: &ProductId) {
        self.settle.remove(product);
    }

    fn wait(&mut self) {
        self.again = Some(Instant::now() + WAIT);
    }
}

impl<S: Source> Driver<S> {
    /// Keeps what is remembered.
    pub(super) async fn save(&mut self) {
        let (file, record) = (self.setup.file.clone(), self.setup.record.clone());
        let saved = blocking(move || file.write(&record)).await;
        self.refused.save = saved.err().map(|error| {
            tracing::error!(%error, "the state could not be saved; it is tried again");
            error.to_string()
        });
        if self.refused.save.is_some() {
            self.refused.wait();
        }
    }

    /// Closes the journal of a switch, once everything about it is remembered. Killed before that, the next start checks the
    /// version's health once more, which does no harm.
    pub(super) async fn close_journal(&mut self, product: &ProductId) {
        if self.refused.save.is_none() {
            let (slots, of) = (self.setup.slots.clone(), product.clone());
            let closed = blocking(move || slots.settle(&of)).await;
            self.refused.journal = closed.err().map(|error| {
                tracing::warn!(%product, error = %words(&error), "the journal could not be closed; it is tried again");
                words(&error)
            });
            if self.refused.journal.is_none() {
                self.refused.settle.remove(product);
                return;
            }
        }
        self.refused.settle.insert(product.clone());
        self.refused.wait();
    }

    /// Another attempt at everything that the disk refused.
    pub(super) async fn try_refused_again(&mut self) {
        if self.refused.again_at().is_none_or(|again| Instant::now() < again) {
            return;
        }
        if self.refused.save.is_some() {
            self.save().await;
        }
        for product in self.refused.settle.clone() {
            self.close_journal(&product).await;
        }
        // What could not be removed is found again by looking. Should that fail too, it waits again.
        self.refused.wait();
    }
}
