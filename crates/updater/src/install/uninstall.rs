//! `lockstep-updater uninstall`, which Windows runs for the entry among the installed programs: everything that an installation
//! without a package has made goes. Users' mail lies in their own folders, and stays.

use protocol::product::ProductId;

use super::{InstallError, Product, check_rights, disk, remove::remove};
use crate::{
    layout::{Layout, SETUP_DIR},
    platform::{self, listed, service},
    slots::{Disk, RealDisk},
};

/// Makes the entry, or mends it, unless a package has one of its own. Without it everything works, too.
pub(super) fn offer(layout: &Layout, products: &[Product]) {
    let Some(updater) = products.iter().find(|p| p.product == ProductId::updater()) else { return };
    if layout.products().join(SETUP_DIR).exists() {
        return;
    }
    if let Err(error) = listed::list(layout, &updater.version.to_string()) {
        tracing::warn!(%error, "it is not among the installed programs");
    }
}

/// Removes everything: see the module's header. Programs of this session are asked to end; what runs all the same, this program
/// among it, goes when Windows starts the next time.
///
/// # Errors
/// [`InstallError::NotRoot`]; [`InstallError::Packaged`], and nothing was removed; the first thing that is left.
pub fn uninstall(layout: &Layout) -> Result<(), InstallError> {
    check_rights(layout)?;
    let products = layout.products();
    if products.join(SETUP_DIR).exists() {
        return Err(InstallError::Packaged);
    }
    service::uninstall().map_err(|error| InstallError::NotStopped(error.to_string()))?;
    let aside = products.join(format!(".removed-{}", hex::encode(rand::random::<[u8; 8]>())));
    platform::take_running_aside(&products, &aside).map_err(disk(&products))?;
    // From here on its command would find nothing to run.
    if let Err(error) = listed::forget(layout) {
        tracing::warn!(%error, "it is among the installed programs still");
    }
    remove(layout)?;
    for dir in [Some(layout.supervisor()), layout.launcher()].into_iter().flatten() {
        let dir = dir.parent().unwrap_or(&products);
        RealDisk.remove_tree(dir).map_err(disk(dir))?;
    }
    // They stay when there is something in them: what goes at the next start, or what is not ours.
    let _ = std::fs::remove_dir(&products);
    Ok(())
}
