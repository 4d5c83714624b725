//! The updater itself, where a supervisor watches over it: see [`crate::self_update`].

use std::time::Duration;

use protocol::{Version, product::ProductId};
use tokio::time::{sleep, timeout};

use super::{Driver, Event, is_switching, running};
use crate::{
    machine::Recovered,
    platform, self_update,
    slots::{RealDisk, is_of_the_service},
    source::Source,
    words,
};

impl<S: Source> Driver<S> {
    /// Whether this service changes a product's versions.
    pub(super) fn is_mine(&self, product: &ProductId) -> bool {
        is_of_the_service(product) || self.is_own(product)
    }

    /// Whether it is the updater, and a supervisor would start another version of it.
    pub(super) fn is_own(&self, product: &ProductId) -> bool {
        self.setup.supervised && *product == ProductId::updater()
    }

    /// The updater's own switch ends this process, so what is under way with other products comes first.
    pub(super) fn must_wait(&self, product: &ProductId) -> bool {
        self.is_own(product) && self.tracked.iter().any(|(p, t)| p != product && is_switching(&t.state))
    }

    /// What recovery found of this program, with what the trial's file says.
    pub(super) fn own_found(&mut self, product: &ProductId, found: Recovered) -> Recovered {
        let current = self.tracked.get(product).and_then(|t| t.observed.current.clone());
        let trial = self_update::trial(&self.setup.layout, &RealDisk).unwrap_or_else(|error| {
            tracing::error!(%error, "it cannot be seen whether this version is on trial");
            None
        });
        let on_trial = trial.filter(|trial| Some(&trial.new) == current.as_ref());
        match (found, on_trial) {
            // Killed after the journal was closed, and before the trial was.
            (Recovered::Quiet | Recovered::Broken { .. }, Some(trial)) => {
                Recovered::Switched { version: trial.new, previous: Some(trial.old), restart: false }
            }
            // An administrator has installed a version that had failed: their will be done.
            (Recovered::BrokenActive { version, .. }, None) => {
                self.setup.record.product_mut(product).failed.retain(|f| f.version != version);
                Recovered::Quiet
            }
            (found @ (Recovered::Quiet | Recovered::Broken { .. }), None) => {
                // Killed before the switch that it was for.
                self.end_trial();
                found
            }
            (found, _) => found,
        }
    }

    /// Finds out whether a new version of this program works. The old one runs its self-check and then gives way to it; the new one
    /// proves itself.
    pub(super) fn check_own(&self, product: &ProductId, version: Version) {
        let (layout, events, of) = (&self.setup.layout, self.events.clone(), product.clone());
        let program = layout.updater_program();
        if platform::is_replaced(&layout.versions(product), &program) {
            let (running, replaced) = (self.running(), self.replaced.clone());
            tokio::spawn(async move {
                match running.self_check(&of, &version).await {
                    Ok(_) => {
                        tracing::info!(%version, "giving way to the new version of this program, on trial");
                        replaced.send_replace(true);
                    }
                    // Fails only when the driver is gone, and the process with it.
                    Err(reason) => drop(events.send(Event::Checked(of, version, Err(reason))).await),
                }
            });
            return;
        }
        let mut contact = self.contact.subscribe();
        tokio::spawn(async move {
            sleep(self_update::AT_LEAST).await;
            let rest: Duration = self_update::ALONE - self_update::AT_LEAST;
            // Both ways it has run long enough: in touch with the server, or without one for so long.
            drop(timeout(rest, contact.wait_for(|in_touch| *in_touch)).await);
            // Fails only when the driver is gone, and the process with it.
            drop(events.send(Event::Checked(of, version, Ok(()))).await);
        });
    }

    /// The version that is active now is not on trial any more.
    pub(super) fn end_trial(&self) {
        if let Err(error) = self_update::end(&self.setup.layout, &RealDisk) {
            // It stays on trial, and ends it at its next start.
            tracing::error!(%error, "the trial of this version could not be ended");
        }
    }

    /// What is needed to look after running instances.
    pub(super) fn running(&self) -> running::Running {
        running::Running {
            slots: self.setup.slots.clone(),
            layout: self.setup.layout.clone(),
            systemd: self.setup.systemd.clone(),
        }
    }

    /// Restarts the machine's service of a product whose link was switched back, should it have one.
    pub(super) async fn restart_service(&self, product: &ProductId, version: &Version) {
        if let Err(error) = self.running().restart(product, version).await {
            tracing::error!(%product, %version, error = %words(&error), "the version before was not restarted");
        }
    }
}
