//! Running instances of a product: how its signed manifest says that they get a new version, and when that counts as healthy.

use std::{path::PathBuf, time::Duration};

use protocol::{Version, product::ProductId};
use release::package::{Manifest, Restart};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{Event, blocking};
use crate::{
    health,
    layout::Layout,
    services::{ServicesError, Systemd},
    slots::Slots,
};

/// A self-check that cannot be judged is made again so soon, at first; each wait is twice as long as the one before.
const SHORTEST_WAIT: Duration = Duration::from_secs(2);
/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// After so long the new version is left after all: the computer has changed for good, and what ran before is the safer one.
const UNDECIDED: Duration = Duration::from_secs(24 * 3600);

/// A version that was just activated.
#[derive(Debug)]
pub(super) struct Judged {
    pub product: ProductId,
    pub version: Version,
    /// The one before it, which worked. `None`: there was none.
    pub before: Option<Version>,
}

/// Looks after running instances, beside the driver.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub slots: Slots,
    pub layout: Layout,
    pub systemd: Systemd,
}

impl Running {
    /// The machine-level rule of a version that was just activated: its self-check, and for a service of the machine that
    /// it comes up and stays up. Whoever takes `doubts` hears each time that it cannot be told yet.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub async fn check(&self, judged: &Judged, doubts: &mpsc::Sender<Event>) -> Result<(), String> {
        let manifest = self.self_check(judged, doubts).await?;
        match &manifest.description.restart {
            Restart::Watch => Ok(()),
            Restart::Systemd(unit) => {
                let first = judged.before.is_none();
                self.systemd.restart_and_watch(unit, &manifest.description.health, first).await.map(drop)
            }
        }
    }

    /// Only the self-check; gives the manifest. A version is not blamed for what the one before it, which worked, cannot do
    /// either at the moment: then the computer is short of something, by a user's doing perhaps, and it is tried again.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub async fn self_check(&self, judged: &Judged, doubts: &mpsc::Sender<Event>) -> Result<Manifest, String> {
        let Judged { product, version, before } = judged;
        let manifest = self.manifest(product, version).await;
        let manifest = manifest.map_err(|error| format!("its manifest cannot be read: {error}"))?;
        let arguments = &manifest.description.self_check;
        if arguments.is_empty() {
            // A vendor that states no check: nothing can be said against it.
            return Ok(manifest);
        }
        let (program, limit) = self.program(product, &manifest);
        let (began, mut wait) = (Instant::now(), SHORTEST_WAIT);
        loop {
            let Err(reason) = health::check_patiently(&program, arguments, limit).await else { return Ok(manifest) };
            let Some(before) = before.as_ref() else { return Err(reason) };
            if !self.fails_as_well(product, before).await {
                return Err(reason);
            }
            let reason = format!("{reason}, and {before}, which worked, fails as well now");
            if began.elapsed() >= UNDECIDED {
                return Err(reason);
            }
            // Fails only when the driver is gone, and the process with it.
            drop(doubts.send(Event::Undecided(product.clone(), version.clone(), reason)).await);
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Whether the self-check of a version that worked fails now. One that cannot be asked is no excuse.
    async fn fails_as_well(&self, product: &ProductId, version: &Version) -> bool {
        let Ok(manifest) = self.manifest(product, version).await else { return false };
        let (program, limit) = self.program(product, &manifest);
        let arguments = &manifest.description.self_check;
        !arguments.is_empty() && health::check(&program, arguments, limit).await.is_err()
    }

    /// A version's program, and how long its self-check may take.
    fn program(&self, product: &ProductId, manifest: &Manifest) -> (PathBuf, Duration) {
        let what = &manifest.description;
        let program = self.layout.version(product, &what.version).join(&what.program);
        (program, Duration::from_secs(what.health.self_check_seconds.into()))
    }

    /// Whether systemd restarts the product, and nobody is told to.
    pub async fn is_service(&self, product: &ProductId, version: &Version) -> bool {
        let manifest = self.manifest(product, version).await;
        manifest.is_ok_and(|m| matches!(m.description.restart, Restart::Systemd(_)))
    }

    /// Restarts the machine's service that this version is, if it is one and runs.
    ///
    /// # Errors
    /// [`ServicesError`].
    pub async fn restart(&self, product: &ProductId, version: &Version) -> Result<(), ServicesError> {
        match self.manifest(product, version).await.map(|m| m.description.restart) {
            Ok(Restart::Systemd(unit)) => self.systemd.restart_if_wanted(&unit).await,
            Ok(Restart::Watch) => Ok(()),
            Err(error) => Err(ServicesError::Failed(error)),
        }
    }

    async fn manifest(&self, product: &ProductId, version: &Version) -> std::io::Result<Manifest> {
        let (slots, product, version) = (self.slots.clone(), product.clone(), version.clone());
        blocking(move || slots.manifest(&product, &version)).await
    }
}
