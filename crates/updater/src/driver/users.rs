//! What the users of this PC say: that they agree, and that a new version works.
//!
//! Several may be at work at once. One user's word switches the machine to the version that they were asked about, but restarts nobody's
//! programs but their own; everybody's are restarted when the policy does not ask, when what was put off is due, and at an
//! administrator's word. A version that somebody's program runs stays, so those who go on have what they need.

use protocol::{Timestamp, Version, product::ProductId, terms};

use super::{Driver, blocking, is_switching};
use crate::{
    machine::State,
    platform::{Peer, User},
    record::ProductRecord,
    source::Source,
};

/// A user's consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Whose it is, as the kernel says.
    pub user: User,
    /// Whether it counts for everybody: an administrator's.
    pub for_everybody: bool,
}

impl Word {
    /// Of whoever is at the other end of a connection.
    pub fn of(peer: &Peer) -> Self {
        Self { user: peer.user.clone(), for_everybody: peer.is_administrator }
    }
}

/// What a user agrees to.
enum Agreed {
    /// The upgrade that waits; when it can be put off no longer, if it is necessary.
    Upgrade { until: Option<Timestamp> },
    /// Their programs being restarted into what is active already.
    Restart,
}

/// Who is told to restart when a version is settled.
pub(super) fn tell(record: &mut ProductRecord, version: &Version, restart: bool) {
    let by = std::mem::take(&mut record.consented_by);
    // The policy asked: then those who agreed are restarted, and nobody else yet.
    let asked = restart && record.consented.as_ref() == Some(version) && !by.is_empty();
    record.restart = (restart && !asked).then(|| version.clone());
    record.everybody_at = record.everybody_at.take().filter(|_| asked);
    record.restart_for = if asked { by } else { Default::default() };
}

impl<S: Source> Driver<S> {
    /// A user agrees to whatever waits for it: an upgrade, or a restart into what was switched already.
    pub(super) async fn consent(&mut self, word: &Word) -> Result<String, String> {
        let user = word.user.to_string();
        let (mut agreed, mut switched) = (Vec::new(), Vec::new());
        for (product, tracked) in &self.tracked {
            let record = self.setup.record.product(product);
            if let State::AwaitingConsent { version, .. } = &tracked.state {
                let until = tracked.directive.as_ref().and_then(terms::deadline);
                agreed.push((product.clone(), version.clone(), Agreed::Upgrade { until }));
            } else if let Some(current) = &tracked.observed.current
                && record.restart.as_ref() != Some(current)
                && (word.for_everybody || !record.restart_for.contains(&user))
                && !is_switching(&tracked.state)
            {
                switched.push((product.clone(), current.clone(), record));
            }
        }
        for (product, current, record) in switched {
            if self.runs_an_older_one(&product, &record, &current).await {
                agreed.push((product, current, Agreed::Restart));
            }
        }
        let mut said = Vec::new();
        for (product, version, to) in agreed {
            let record = self.setup.record.product_mut(&product);
            if let Agreed::Upgrade { until } = to {
                let again = record.consented.replace(version.clone()).as_ref() == Some(&version);
                if word.for_everybody || !again {
                    record.consented_by.clear();
                }
                // Nobody in particular is everybody.
                if !word.for_everybody && (!again || !record.consented_by.is_empty()) {
                    record.consented_by.insert(user.clone());
                }
                // As it is known now: once the version is active, nothing more is required of this computer.
                record.everybody_at = until;
                said.push(format!("{product} is upgraded to {version}"));
            } else {
                if word.for_everybody {
                    record.restart = Some(version.clone());
                } else {
                    record.restart_for.insert(user.clone());
                }
                said.push(format!("{product} restarts as {version}"));
            }
            self.save().await;
            self.decide(&product, false).await;
        }
        if said.is_empty() { Err("nothing waits for your consent".into()) } else { Ok(said.join("; ")) }
    }

    /// Whether somebody may still run another version than the active one: none has confirmed this one, or one is in use.
    async fn runs_an_older_one(&self, product: &ProductId, record: &ProductRecord, current: &Version) -> bool {
        if record.confirmed.as_ref() != Some(current) {
            return record.previous.is_some();
        }
        let versions = self.tracked.get(product).into_iter().flat_map(|t| &t.observed.versions);
        let others: Vec<_> = versions.filter(|v| *v != current).cloned().collect();
        let (slots, of) = (self.setup.slots.clone(), product.clone());
        blocking(move || others.iter().any(|version| slots.is_running(&of, version).unwrap_or(false))).await
    }

    /// What is necessary was put off long enough: whoever goes on with the version before is restarted, too.
    pub(super) async fn restart_the_others(&mut self) {
        let now = self.now();
        // While it is still being switched to, nobody has anything to restart into.
        let settled = |record: &ProductRecord| record.consented.is_none();
        let due = |record: &ProductRecord| settled(record) && record.everybody_at.is_some_and(|at| at <= now);
        let products: Vec<_> =
            self.setup.record.products.iter().filter(|(_, r)| due(r)).map(|(p, _)| p.clone()).collect();
        for product in products {
            let record = self.setup.record.product_mut(&product);
            record.everybody_at = None;
            record.restart = record.active.clone();
            tracing::info!(%product, version = ?record.restart, "everybody restarts: it was put off long enough");
            self.save().await;
        }
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
