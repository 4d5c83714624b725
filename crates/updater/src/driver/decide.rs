//! What is done about a product: the directive in force and what came of the last effect, as the machine's events.

use protocol::{Admission, Timestamp, Version, admit, product::ProductId};

use super::{Driver, is_checking, is_switching};
use crate::{
    machine::{State, Step},
    source::Source,
    words,
};

impl<S: Source> Driver<S> {
    pub(super) async fn decide_all(&mut self, only_switches: bool) {
        let products: Vec<_> = self.tracked.keys().cloned().collect();
        for product in products {
            self.decide(&product, only_switches).await;
        }
    }

    /// Decides about one product anew, from the directive in force. Changes nothing when nothing has changed.
    pub(super) async fn decide(&mut self, product: &ProductId, only_switches: bool) {
        if !self.is_mine(product) || self.must_wait(product) {
            return;
        }
        let now = self.now();
        let mut device = self.device();
        if self.is_own(product) {
            // The machine's policy is about the programs of people; this one disturbs nobody.
            device.policy = None;
        }
        let Some(metadata) = &self.setup.metadata else {
            return;
        };
        let Some(tracked) = self.tracked.get_mut(product) else {
            return;
        };
        let Some(directive) = tracked.directive.as_ref() else {
            return;
        };
        let admission = admit(&metadata.catalog, &device, directive, now);
        let switch = matches!(admission, Admission::Activate { .. });
        if only_switches && !switch || is_switching(&tracked.state) {
            return;
        }
        let (local, directive) = (device.product(product), directive.clone());
        let ready = directive.decision.version().filter(|v| local.staged.contains(v)).cloned();
        self.decided(&device, &directive, &admission, now).await;
        let Some(tracked) = self.tracked.get_mut(product) else {
            return;
        };
        let before = tracked.state.device_state();
        let next = std::mem::take(&mut tracked.state).directed(admission, ready, local.installed, now);
        if let Ok((state, _)) = &next
            && state.device_state() != before
        {
            tracing::info!(%product, from = ?before, to = ?state.device_state(), why = directive.why, "decided");
        }
        self.advance(product, next.map_err(|e| e.to_string())).await;
    }

    /// Decides anew where the wait after a failure is over.
    pub(super) async fn retry(&mut self) {
        let now = self.now();
        let is_over = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        let over = self.tracked.iter().filter(|(_, t)| is_over(t.state.retry_at()) || is_over(t.look_again));
        let products: Vec<_> = over.map(|(product, _)| product.clone()).collect();
        for product in products {
            self.decide(&product, false).await;
        }
    }

    pub(super) async fn staged(&mut self, product: &ProductId, version: &Version, result: Result<(), String>) {
        if let Err(error) = self.observe(product).await {
            tracing::error!(%product, error = %words(&error), "the versions cannot be looked at");
        }
        let now = self.now();
        let Some(tracked) = self.tracked.get_mut(product) else {
            return;
        };
        // What was given up meanwhile says nothing any more.
        if !matches!(&tracked.state, State::Staging { entry, .. } if entry.release.version == *version) {
            return;
        }
        tracked.staging = None;
        let state = std::mem::take(&mut tracked.state);
        let next = match result {
            Ok(()) => state.staged(),
            Err(reason) => {
                tracing::warn!(%product, %version, reason, "staging failed");
                state.stage_failed(reason, now)
            }
        };
        self.advance(product, next.map_err(|e| e.to_string())).await;
        self.decide(product, false).await;
    }

    pub(super) async fn checked(&mut self, product: &ProductId, version: &Version, result: Result<(), String>) {
        let Some(tracked) = self.tracked.get_mut(product) else {
            return;
        };
        if !is_checking(&tracked.state, version) {
            return;
        }
        let state = std::mem::take(&mut tracked.state);
        let next = match result {
            Ok(()) => state.healthy(),
            Err(reason) => {
                tracing::error!(%product, %version, reason, "the new version does not work here; rolling back");
                state.unhealthy(reason)
            }
        };
        self.advance(product, next.map_err(|e| e.to_string())).await;
        self.decide(product, false).await;
        // It waits while others are being switched.
        self.decide(&ProductId::updater(), false).await;
    }

    pub(super) async fn undecided(&mut self, product: &ProductId, version: &Version, why: String) {
        let tracked = self.tracked.get_mut(product).filter(|t| is_checking(&t.state, version));
        let Some(state) = tracked.map(|t| std::mem::take(&mut t.state)) else {
            return;
        };
        tracing::warn!(%product, %version, why, "whether the new version works cannot be told yet; it is checked again");
        self.advance(product, state.undecided(why).map_err(|e| e.to_string())).await;
    }

    pub(super) async fn advance(&mut self, product: &ProductId, next: Result<Step, String>) {
        match next {
            Ok((state, effects)) => {
                if let Some(tracked) = self.tracked.get_mut(product) {
                    tracked.state = state;
                }
                self.carry(product, effects).await;
            }
            // An error of this program. The state is idle now, and the next decision starts from what the disk shows.
            Err(error) => tracing::error!(%product, error, "an event came at the wrong time"),
        }
    }
}
