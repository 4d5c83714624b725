//! What an installer does beside the running service, and how the service notices.

use protocol::{Version, product::ProductId};

use super::{Driver, is_switching};
use crate::{machine::State, platform, record::ProductRecord, slots::Observed, source::Source, words};

impl<S: Source> Driver<S> {
    /// Looks at the disk again: other versions may be there, and another program in this one's own place.
    pub(super) async fn look_around(&mut self) {
        for product in self.installed_products() {
            if self.tracked.get(&product).is_some_and(|t| is_busy(&t.state)) {
                continue;
            }
            match self.observe(&product).await {
                Ok(()) => self.note_active(&product).await,
                Err(error) => tracing::error!(%product, error = %words(&error), "the versions cannot be looked at"),
            }
        }
        let (own, layout) = (ProductId::updater(), &self.setup.layout);
        let idle = !self.tracked.values().any(|t| is_busy(&t.state));
        let program = layout.updater_program();
        if idle && platform::is_replaced(&layout.versions(&own), &program) {
            tracing::info!("another program was installed in the place of this one");
            self.replaced.send_replace(true);
        }
    }

    /// Remembers which version is active, and does what follows when somebody else has switched it.
    pub(super) async fn note_active(&mut self, product: &ProductId) {
        let Some(tracked) = self.tracked.get(product).filter(|t| !is_switching(&t.state)) else { return };
        let observed = tracked.observed.clone();
        let own = self.is_own(product);
        let record = self.setup.record.product_mut(product);
        if record.active == observed.current {
            return;
        }
        if let Some((before, now)) = adopt(record, &observed) {
            tracing::info!(%product, %before, %now, "an installer has switched the version");
            if own {
                // This process gives way to it by itself; nobody else is to restart, or to confirm.
                record.confirmed = record.restart.take();
            }
        }
        self.save().await;
    }
}

fn is_busy(state: &State) -> bool {
    is_switching(state) || matches!(state, State::Staging { .. })
}

/// The same as after a switch of our own: running programs are told, and the way back is kept until one of the new version
/// says that it works.
fn adopt(record: &mut ProductRecord, observed: &Observed) -> Option<(Version, Version)> {
    let before = std::mem::replace(&mut record.active, observed.current.clone())?;
    let now = observed.current.clone()?;
    record.previous = Some(before.clone()).filter(|v| observed.versions.contains(v));
    record.restart = Some(now.clone());
    record.confirmed = None;
    record.consented = None;
    record.forget_who_agreed();
    Some((before, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_somebody_else_activated_is_run_and_the_one_before_is_kept() {
        let v = |minor| Version::new(7, minor, 0);
        let observed = Observed { current: Some(v(3)), versions: [v(2), v(3)].into(), ..Observed::default() };
        let mut record = ProductRecord::default();
        assert_eq!(adopt(&mut record, &observed), None, "the first look tells nobody to restart");
        assert_eq!((record.active.clone(), record.restart.clone()), (Some(v(3)), None));

        record.active = Some(v(2));
        record.confirmed = Some(v(2));
        assert_eq!(adopt(&mut record, &observed), Some((v(2), v(3))));
        assert_eq!((record.previous, record.restart, record.confirmed), (Some(v(2)), Some(v(3)), None));
    }
}
