//! Running instances of a product: how its signed manifest says that they get a new version, and when that counts as healthy.

use std::time::Duration;

use protocol::{Version, product::ProductId};
use release::package::{Manifest, Restart};

use super::blocking;
use crate::{
    health,
    layout::Layout,
    services::{ServicesError, Systemd},
    slots::Slots,
};

/// Looks after running instances, beside the driver.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub slots: Slots,
    pub layout: Layout,
    pub systemd: Systemd,
}

impl Running {
    /// The machine-level rule of a version that was just activated: its self-check, and for a service of the machine that
    /// it comes up and stays up. `first`: there was no version before.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub async fn check(&self, product: &ProductId, version: &Version, first: bool) -> Result<(), String> {
        let manifest = self.self_check(product, version).await?;
        match &manifest.description.restart {
            Restart::Watch => Ok(()),
            Restart::Systemd(unit) => {
                self.systemd.restart_and_watch(unit, &manifest.description.health, first).await.map(drop)
            }
        }
    }

    /// Only the self-check; gives the manifest.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub async fn self_check(&self, product: &ProductId, version: &Version) -> Result<Manifest, String> {
        let manifest = self.manifest(product, version).await;
        let manifest = manifest.map_err(|error| format!("its manifest cannot be read: {error}"))?;
        let what = &manifest.description;
        // A vendor that states no check: nothing can be said against it.
        if !what.self_check.is_empty() {
            let program = self.layout.version(product, version).join(&what.program);
            let limit = Duration::from_secs(what.health.self_check_seconds.into());
            health::check_patiently(&program, &what.self_check, limit).await?;
        }
        Ok(manifest)
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
