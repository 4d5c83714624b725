//! Carries out the machine's effects.

use std::{collections::VecDeque, path::Path};

use protocol::{
    Version,
    catalog::{Entry, Release},
    product::ProductId,
};
use release::package::Manifest;

use super::{Driver, Event, blocking, running::Judged, tries::Try, users};
use crate::{
    machine::{Effect, State},
    platform::from_background,
    self_update::{self, Trial},
    slots::{RealDisk, SlotError, Slots},
    source::Source,
    words,
};

impl<S: Source> Driver<S> {
    /// Does what the machine wants, and what follows from that.
    pub(super) async fn carry(&mut self, product: &ProductId, effects: Vec<Effect>) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            queue.extend(self.effect(product, effect).await);
        }
    }

    /// Roll-backs that the disk did not allow are tried again.
    pub(super) async fn finish_roll_backs(&mut self) {
        let unfinished: Vec<_> =
            self.tracked.iter().filter_map(|(p, t)| Some((p.clone(), t.state.unfinished()?))).collect();
        for (product, effect) in unfinished {
            self.carry(&product, vec![effect]).await;
        }
    }

    async fn effect(&mut self, product: &ProductId, effect: Effect) -> Vec<Effect> {
        match effect {
            Effect::Stage(entry) => self.stage(product, *entry),
            Effect::StopStaging => {
                if let Some(staging) = self.tracked.get_mut(product).and_then(|t| t.staging.take()) {
                    staging.abort();
                }
                vec![]
            }
            Effect::Activate { version, previous, restart } => self.activate(product, version, previous, restart).await,
            Effect::CheckHealth { version } => {
                self.check_health(product, version);
                vec![]
            }
            Effect::RollBack { version, to, reason } => self.roll_back(product, version, to, reason).await,
            Effect::Settle { version, previous, restart } => {
                self.settle(product, version, previous, restart).await;
                vec![]
            }
        }
    }

    fn stage(&mut self, product: &ProductId, entry: Entry) -> Vec<Effect> {
        let (source, slots, events) = (self.setup.source.clone(), self.setup.slots.clone(), self.events.clone());
        let downloads = self.setup.layout.downloads();
        let of = product.clone();
        let task = tokio::spawn(async move {
            let version = entry.release.version.clone();
            let result = match source.package(&entry).await {
                Err(trouble) => Err(trouble.0),
                Ok(package) => {
                    let unpacking = move || {
                        let this_try = Try::begin(&downloads, &entry.sha256)?;
                        let unpacked = unpack(&slots, &entry, package).map_err(|e| words(&e));
                        this_try.end();
                        unpacked?;
                        // Fetched again at the worst.
                        drop(std::fs::remove_file(downloads.join(crate::download::partial_name(&entry.sha256))));
                        Ok(())
                    };
                    // Nobody at the PC should notice it. `None`: there is no thread, which was reported.
                    from_background(unpacking).await.unwrap_or_else(|| Err("unpacking failed".into()))
                }
            };
            // Fails only when the driver is gone, and the process with it.
            drop(events.send(Event::Staged(of, version, result)).await);
        });
        if let Some(tracked) = self.tracked.get_mut(product) {
            tracked.staging = Some(task.abort_handle());
        }
        vec![]
    }

    async fn activate(
        &mut self,
        product: &ProductId,
        version: Version,
        previous: Option<Version>,
        restart: bool,
    ) -> Vec<Effect> {
        tracing::info!(%product, %version, ?previous, restart, "activating");
        self.begin_another_try(product, &version).await;
        self.refused.forget_settling(product);
        let (slots, of, to) = (self.setup.slots.clone(), product.clone(), version.clone());
        let (own, layout) = (self.is_own(product), self.setup.layout.clone());
        let switching = move || {
            if let Some(old) = previous.clone().filter(|_| own) {
                let trial = Trial { new: to.clone(), old };
                self_update::begin(&layout, &RealDisk, &trial)
                    .map_err(SlotError::disk("putting the new version on trial"))?;
            }
            slots.activate(&of, Some(&to), previous.as_ref(), restart, rand::random())
        };
        let mut switched = blocking(switching).await;
        self.look_again(product).await;
        // The disk may have refused both to make the switch durable and to undo it. Then the new version is the active one, and
        // nobody has checked it yet.
        let there = self.tracked.get(product).is_some_and(|t| t.observed.current.as_ref() == Some(&version));
        if let (Err(error), true) = (&switched, there) {
            tracing::warn!(%product, %version, error = %words(error), "switched, though not durably yet");
            switched = Ok(());
        }
        if own && switched.is_err() {
            self.end_trial();
        }
        let now = self.now();
        self.transition(product, |state| match switched {
            Ok(()) => state.activated(),
            Err(error) => state.activation_failed(words(&error), now),
        })
    }

    fn check_health(&self, product: &ProductId, version: Version) {
        if self.is_own(product) {
            return self.check_own(product, version);
        }
        let (running, events) = (self.running(), self.events.clone());
        let judged = self.judged(product, version);
        tokio::spawn(async move {
            let result = running.check(&judged, &events).await;
            let Judged { product: of, version, .. } = judged;
            // Fails only when the driver is gone, and the process with it.
            drop(events.send(Event::Checked(of, version, result)).await);
        });
    }

    /// A version that was just activated, with the one before it.
    pub(super) fn judged(&self, product: &ProductId, version: Version) -> Judged {
        let before = match self.tracked.get(product).map(|t| &t.state) {
            Some(State::Confirming { previous, .. }) => previous.clone(),
            _ => None,
        };
        Judged { product: product.clone(), version, before }
    }

    /// First the memory that the version is broken, then the switch: killed in between, recovery knows what to do.
    async fn roll_back(
        &mut self,
        product: &ProductId,
        version: Version,
        to: Option<Version>,
        reason: String,
    ) -> Vec<Effect> {
        let at = self.now();
        let record = self.setup.record.product_mut(product);
        record.remember_failure(version.clone(), reason, at);
        record.consented = record.consented.take().filter(|v| *v != version);
        record.forget_who_agreed();
        record.active = to.clone();
        self.save().await;
        self.refused.forget_settling(product);

        let (slots, of, target) = (self.setup.slots.clone(), product.clone(), to.clone());
        let switching = move || slots.activate(&of, target.as_ref(), Some(&version), false, rand::random());
        let mut switched = blocking(switching).await;
        if switched.is_ok() {
            // Before the journal is closed: killed in between, the next start does it again.
            if let Some(to) = &to {
                self.restart_service(product, to).await;
            }
            if self.is_own(product) {
                self.end_trial();
            }
            let (slots, of) = (self.setup.slots.clone(), product.clone());
            switched = blocking(move || slots.settle(&of)).await;
        }
        self.look_again(product).await;
        if let Err(error) = &switched {
            tracing::error!(%product, error = %words(error), "rolling back failed; it is tried again");
        }
        self.transition(product, |state| match switched {
            Ok(()) => state.rolled_back(),
            Err(_) => state.roll_back_failed(),
        })
    }

    async fn settle(&mut self, product: &ProductId, version: Version, previous: Option<Version>, restart: bool) {
        let early = self.tracked.get_mut(product).and_then(|t| t.confirmed_early.take()).filter(|v| *v == version);
        let (own, service) = (self.is_own(product), self.running().is_service(product, &version).await);
        let record = self.setup.record.product_mut(product);
        record.previous = previous.filter(|p| *p != version && early.is_none() && !service);
        // Where the machine has seen it run, no program has to say so, and none is told to restart.
        record.confirmed = if own || service { Some(version.clone()) } else { early };
        users::tell(record, &version, restart && !own && !service);
        record.consented = record.consented.take().filter(|v| *v != version);
        record.active = Some(version.clone());
        record.failed.retain(|f| f.version != version);
        self.save().await;
        self.close_journal(product).await;
        if own {
            self.end_trial();
        }
        tracing::info!(%product, %version, restart, "active");
    }

    async fn look_again(&mut self, product: &ProductId) {
        if let Err(error) = self.observe(product).await {
            tracing::error!(%product, error = %words(&error), "the versions cannot be looked at");
        }
    }

    fn transition(
        &mut self,
        product: &ProductId,
        next: impl FnOnce(State) -> Result<crate::machine::Step, crate::machine::Misplaced>,
    ) -> Vec<Effect> {
        let Some(tracked) = self.tracked.get_mut(product) else {
            return vec![];
        };
        match next(std::mem::take(&mut tracked.state)) {
            Ok((state, effects)) => {
                tracked.state = state;
                effects
            }
            Err(error) => {
                tracing::error!(%product, %error, "an event came at the wrong time");
                vec![]
            }
        }
    }
}

/// Unpacks a verified package beside the running version.
fn unpack(slots: &Slots, entry: &Entry, package: std::fs::File) -> Result<(), SlotError> {
    let release = &entry.release;
    let there = slots.observe(&release.product).is_ok_and(|o| o.versions.contains(&release.version));
    if there {
        return Ok(());
    }
    let mut fill = |into: &Path| {
        let manifest = slots.unpack(&package, into)?;
        if !is_same(&manifest, release) {
            let what = &manifest.description;
            let why = format!("it holds {} {} for {}", what.product, what.version, what.platform);
            return Err(SlotError::Package(why.into()));
        }
        Ok(manifest)
    };
    slots.stage(&release.product, &release.version, rand::random(), &mut fill)
}

/// A package says the same about itself as the signed metadata does.
pub(crate) fn is_same(manifest: &Manifest, release: &Release) -> bool {
    let what = &manifest.description;
    (&what.product, &what.version, &what.platform) == (&release.product, &release.version, &release.platform)
}
