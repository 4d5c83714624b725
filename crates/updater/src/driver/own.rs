//! The updater itself, where a supervisor watches over it: see [`crate::self_update`].

use std::{sync::Arc, time::Duration};

use protocol::{Version, device::FailedVersion, product::ProductId};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{Driver, Event, is_switching, running};
use crate::{
    machine::Recovered,
    platform, self_update,
    slots::{RealDisk, is_of_the_service},
    source::Source,
    words,
};

/// Why a new version leaves its place itself.
const CANNOT_SPEAK: &str =
    "it reached the site's server, to which the version before had spoken, but could not speak with it";
/// How often a trial that is undecided is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What shows whether this version works.
struct Trial<S> {
    /// Whether the server has answered.
    contact: watch::Receiver<bool>,
    source: Arc<S>,
    /// Whether the version before had been in touch with it a short while ago.
    heard_lately: bool,
    times: Times,
}

/// As in [`self_update`].
struct Times {
    at_least: Duration,
    alone: Duration,
    undecided: Duration,
    look: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let (at_least, alone) = (self_update::AT_LEAST, self_update::ALONE);
        Self { at_least, alone, undecided: self_update::UNDECIDED, look: LOOK }
    }
}

impl<S: Source> Trial<S> {
    async fn passes(mut self) -> bool {
        let began = Instant::now();
        let Times { at_least, alone, undecided, look } = self.times;
        sleep(at_least).await;
        let alone = alone.saturating_sub(at_least);
        // In touch with the server, or without one for so long. The driver, which sends, outlives this.
        let mut silent = timeout(alone, self.contact.wait_for(|in_touch| *in_touch)).await.is_err();
        while silent && self.heard_lately {
            match self.source.misunderstandings() {
                // Out of reach, as for a computer that was taken along: this version may be as good as any.
                0 => return true,
                self_update::MISUNDERSTANDINGS.. => return false,
                _ if began.elapsed() >= undecided => return true,
                _ => silent = timeout(look, self.contact.wait_for(|in_touch| *in_touch)).await.is_err(),
            }
        }
        true
    }
}

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
            let judged = self.judged(product, version.clone());
            tokio::spawn(async move {
                match running.self_check(&judged, &events).await {
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
        let (now, last) = (self.now(), self.setup.record.last_contact);
        let trial = Trial {
            contact: self.contact.subscribe(),
            source: self.setup.source.clone(),
            heard_lately: last.is_some_and(|at| now.duration_since(at).unsigned_abs() <= self_update::LATELY),
            times: Times::default(),
        };
        let (layout, replaced) = (layout.clone(), self.replaced.clone());
        tokio::spawn(async move {
            if trial.passes().await {
                // Fails only when the driver is gone, and the process with it.
                drop(events.send(Event::Checked(of, version, Ok(()))).await);
                return;
            }
            tracing::error!(%version, "this version cannot speak to the server; going back to the one before");
            let failed = FailedVersion::new(version.clone(), now, CANNOT_SPEAK.into());
            match self_update::give_up(&layout, &RealDisk, &failed) {
                Ok(()) => drop(replaced.send_replace(true)),
                Err(error) => {
                    tracing::error!(%error, "that could not be noted; this version stays");
                    // As above.
                    drop(events.send(Event::Checked(of, version, Ok(()))).await);
                }
            }
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

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        sync::atomic::{AtomicU32, Ordering},
    };

    use protocol::{Timestamp, catalog::Entry, device::Device, message::DeviceDirectives};

    use super::*;
    use crate::source::{Metadata, Trouble};

    /// A server that was misunderstood so often.
    struct Site(AtomicU32);

    impl Source for Site {
        async fn check_in(&self, _: Device) -> Result<DeviceDirectives, Trouble> {
            Err(Trouble("no".into()))
        }

        async fn refresh(&self, _: Timestamp) -> Result<Metadata, Trouble> {
            Err(Trouble("no".into()))
        }

        fn misunderstandings(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }

        async fn package(&self, _: &Entry) -> Result<File, Trouble> {
            Err(Trouble("no".into()))
        }
    }

    /// Whether the trial is passed. A moment is a twentieth of a second.
    async fn passes(misunderstandings: u32, heard_lately: bool, contact_after: Option<u32>) -> bool {
        let contact = watch::Sender::new(false);
        let source = Arc::new(Site(misunderstandings.into()));
        let moment = Duration::from_millis(50);
        let times = Times { at_least: moment, alone: 4 * moment, undecided: 400 * moment, look: moment };
        let trial = Trial { contact: contact.subscribe(), source, heard_lately, times };
        tokio::spawn(async move {
            sleep(contact_after.unwrap_or(100_000) * moment).await;
            contact.send_replace(true);
            std::future::pending::<()>().await;
        });
        trial.passes().await
    }

    #[tokio::test]
    async fn a_new_version_that_reaches_the_server_must_also_speak_to_it() {
        assert!(passes(0, true, Some(1)).await, "in touch");
        assert!(passes(0, true, None).await, "out of reach");
        assert!(!passes(9, true, None).await, "reached and not understood");
        assert!(passes(9, false, None).await, "nobody has spoken to it for long");
        assert!(passes(1, true, Some(8)).await, "in touch at last");
    }

    #[tokio::test]
    async fn what_may_be_chance_ends_in_favour_of_the_new_version() {
        let source = Arc::new(Site(1.into()));
        let contact = watch::Sender::new(false);
        let moment = Duration::from_millis(50);
        let times = Times { at_least: moment, alone: moment, undecided: 4 * moment, look: moment };
        assert!(Trial { contact: contact.subscribe(), source, heard_lately: true, times }.passes().await);
    }
}
