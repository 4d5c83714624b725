//! What an earlier run was killed in.

use protocol::{Version, product::ProductId};

use super::{Driver, blocking};
use crate::{
    machine::{Recovered, State},
    slots::{SlotError, is_of_the_service, recover::Interrupted},
    source::Source,
};

impl<S: Source> Driver<S> {
    /// Puts right what an earlier run was killed in. Runs before anything else.
    ///
    /// # Errors
    /// Whatever the disk says; then the service must not go on.
    pub async fn recover(&mut self) -> Result<(), SlotError> {
        let slots = self.setup.slots.clone();
        let mine = if self.setup.supervised { |_: &ProductId| true } else { is_of_the_service };
        let interrupted = blocking(move || slots.recover(mine)).await?;
        for product in self.installed_products() {
            self.observe(&product).await?;
            let link = interrupted.iter().find(|i| i.product == product);
            let mut found = self.what_was_found(&product, link);
            if self.is_own(&product) {
                found = self.own_found(&product, found);
            }
            if matches!(found, Recovered::Quiet | Recovered::Broken { .. }) {
                if let Some(Interrupted { to: Some(to), switched: true, .. }) = link
                    && matches!(found, Recovered::Broken { .. })
                {
                    // Killed after switching back: the version that failed may run still.
                    self.restart_service(&product, to).await;
                }
                let slots = self.setup.slots.clone();
                let of = product.clone();
                blocking(move || slots.settle(&of)).await?;
            } else {
                tracing::warn!(%product, ?found, "an earlier run was interrupted");
            }
            let (state, effects) = State::recovered(found);
            self.tracked.entry(product.clone()).or_default().state = state;
            self.carry(&product, effects).await;
            self.note_active(&product).await;
        }
        self.publish();
        Ok(())
    }

    /// What recovery found of a product, in the machine's words.
    fn what_was_found(&self, product: &ProductId, link: Option<&Interrupted>) -> Recovered {
        let record = self.setup.record.product(product);
        let tracked = self.tracked.get(product);
        let current = tracked.and_then(|t| t.observed.current.clone());
        // One that is being tried again is checked as if it were new.
        let failure = |version: &Version| record.failed.iter().find(|f| f.version == *version && !f.again);
        if let Some(broken) = current.as_ref().and_then(failure) {
            let (version, reason) = (broken.version.clone(), broken.reason.clone());
            let before = link.and_then(|i| if i.switched { i.from.clone() } else { i.to.clone() });
            let there = |v: &Version| tracked.is_some_and(|t| t.observed.versions.contains(v)) && failure(v).is_none();
            // A roll-back that the disk refused has closed its entry in the journal, and `previous` is the one before a
            // version that kept its health rule. Then what is next below is the way back: better than no version at all.
            let below = || tracked?.observed.versions.range(..&version).rfind(|v| there(v)).cloned();
            let to = before.or(record.previous.clone()).filter(there).or_else(below);
            return Recovered::BrokenActive { version, to, reason };
        }
        match link {
            Some(Interrupted { to: Some(to), from, restart, switched: true, .. })
                if from.as_ref().and_then(failure).is_none() =>
            {
                Recovered::Switched { version: to.clone(), previous: from.clone(), restart: *restart }
            }
            _ => match record.failed.last().filter(|f| !f.again && current.as_ref().is_none_or(|c| f.version > *c)) {
                Some(f) => Recovered::Broken { version: f.version.clone(), reason: f.reason.clone() },
                None => Recovered::Quiet,
            },
        }
    }
}
