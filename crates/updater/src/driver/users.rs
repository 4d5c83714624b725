//! What the users of this PC say: that they agree, and that a new version works.

use protocol::{Version, product::ProductId};

use super::{Driver, is_switching};
use crate::{machine::State, source::Source};

impl<S: Source> Driver<S> {
    /// A user agrees to whatever waits for it: an upgrade, or a restart into what was switched silently.
    pub(super) async fn consent(&mut self) -> Result<String, String> {
        let mut agreed = Vec::new();
        for (product, tracked) in &self.tracked {
            let record = self.setup.record.product(product);
            if let State::AwaitingConsent { version, .. } = &tracked.state {
                agreed.push((product.clone(), version.clone(), false));
            } else if let Some(current) = &tracked.observed.current
                && record.previous.is_some()
                && ![&record.restart, &record.confirmed].contains(&&Some(current.clone()))
                && !is_switching(&tracked.state)
            {
                agreed.push((product.clone(), current.clone(), true));
            }
        }
        let mut said = Vec::new();
        for (product, version, switched) in agreed {
            let record = self.setup.record.product_mut(&product);
            if switched {
                record.restart = Some(version.clone());
                said.push(format!("{product} restarts as {version}"));
            } else {
                record.consented = Some(version.clone());
                said.push(format!("{product} is upgraded to {version}"));
            }
            self.save().await;
            self.decide(&product, false).await;
        }
        if said.is_empty() { Err("nothing waits for your consent".into()) } else { Ok(said.join("; ")) }
    }

    /// A program of the active version works: the way back is not needed any more.
    pub(super) async fn confirmed(&mut self, product: &ProductId, version: &Version) {
        let Some(tracked) = self.tracked.get_mut(product) else {
            return;
        };
        if tracked.observed.current.as_ref() != Some(version) {
            return;
        }
        if is_switching(&tracked.state) {
            // Only the self-check decides whether the version stays; should it, this counts then.
            tracked.confirmed_early = Some(version.clone());
            return;
        }
        if self.setup.record.product(product).confirmed.as_ref() == Some(version) {
            return;
        }
        tracing::info!(%product, %version, "confirmed as healthy");
        let record = self.setup.record.product_mut(product);
        record.confirmed = Some(version.clone());
        record.previous = None;
        self.save().await;
        self.prune().await;
    }
}
