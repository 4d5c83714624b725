//! Runs first at every start: whatever the process was killed in, afterwards one complete version is active, and nothing
//! incomplete is left.
//!
//! Staging and removing are forgotten: what they left has a name that no version has, and is swept. A switch of the link
//! either happened or not; which of the two is read from the link, and the journal tells what it was for.

use protocol::{Version, product::ProductId};

use super::{
    Disk, Observed, SlotError, Slots,
    journal::{Entry, Journal, Operation, Slot},
};
use crate::layout::Layout;

/// A switch of the link that was under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// Of which product.
    pub product: ProductId,
    /// Where it was to point.
    pub to: Option<Version>,
    /// Where it had pointed.
    pub from: Option<Version>,
    /// Whether running programs were to be told.
    pub restart: bool,
    /// Whether it points there.
    pub switched: bool,
}

pub(super) fn recover(
    layout: &Layout,
    disk: &dyn Disk,
    journal: &Journal,
    slots: &Slots,
    mine: fn(&ProductId) -> bool,
) -> Result<Vec<Interrupted>, SlotError> {
    let entries = match journal.read() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            tracing::error!(%error, "the journal is not readable; the versions on the disk are complete or swept all the same");
            vec![]
        }
        Err(error) => return Err(SlotError::disk("reading the journal")(error)),
    };
    journal.adopt(entries.clone());
    let mut interrupted = Vec::new();
    for product in slots.products().into_iter().filter(mine) {
        let observed = observe_whole(slots, &product)?;
        sweep(layout, disk, &product, &observed)?;
        let link = entries.iter().find(|e| e.product == product && e.operation.slot() == Slot::Link);
        let current = mend(layout, disk, &product, &observed, link)?;
        if let Some(Operation::Activate { to, from, restart, .. }) = link.map(|e| e.operation.clone()) {
            let switched = current == to;
            interrupted.push(Interrupted { product: product.clone(), to, from, restart, switched });
        }
        journal.end(&product, Slot::Versions).map_err(SlotError::disk("closing the journal"))?;
    }
    Ok(interrupted)
}

/// What there is of a product. Where an exchange is more than one step (Windows), a version's name may be missing in its middle: it
/// is given back first.
pub(super) fn observe_whole(slots: &Slots, product: &ProductId) -> Result<Observed, SlotError> {
    let look = || slots.observe(product).map_err(SlotError::disk("looking at the installed versions"));
    let observed = look()?;
    let versions = slots.layout.versions(product);
    let mut finished = false;
    for name in &observed.leftovers {
        let Some((dir, version)) = super::plan::half_exchanged(name) else { continue };
        if observed.versions.contains(&version) {
            continue;
        }
        tracing::warn!(%product, %version, "finishing an exchange that was interrupted");
        let finishing = slots.disk.finish_exchange(&versions.join(dir), &versions.join(version.to_string()));
        finishing.map_err(SlotError::disk("finishing an exchange"))?;
        finished = true;
    }
    if finished { look() } else { Ok(observed) }
}

pub(super) fn sweep(
    layout: &Layout,
    disk: &dyn Disk,
    product: &ProductId,
    observed: &Observed,
) -> Result<(), SlotError> {
    let versions = layout.versions(product);
    // A rename may have happened without having been made durable. First of all it is: what it took out of sight must not
    // come back, after a power cut, with half of its files gone.
    for dir in [layout.product(product), versions.clone()] {
        match disk.sync_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            other => other.map_err(SlotError::disk("making the versions durable"))?,
        }
    }
    for name in &observed.leftovers {
        tracing::info!(%product, name, "removing what an interrupted operation left");
        disk.remove_tree(&versions.join(name)).map_err(SlotError::disk("removing leftovers"))?;
    }
    for name in &observed.stray_links {
        disk.remove_file(&layout.product(product).join(name)).map_err(SlotError::disk("removing leftovers"))?;
    }
    Ok(())
}

/// A link that points nowhere cannot come from us; should somebody have deleted the active version by hand, the one
/// before it is better than none.
fn mend(
    layout: &Layout,
    disk: &dyn Disk,
    product: &ProductId,
    observed: &Observed,
    entry: Option<&Entry>,
) -> Result<Option<Version>, SlotError> {
    let link = layout.current(product);
    let there = disk.read_pointer(&link).map_err(SlotError::disk("reading the link"))?;
    if observed.current.is_some() || there.is_none() {
        return Ok(observed.current.clone());
    }
    let from = match entry.map(|e| &e.operation) {
        Some(Operation::Activate { from, .. }) => from.clone(),
        _ => None,
    };
    let best = from.filter(|v| observed.versions.contains(v)).or_else(|| observed.versions.last().cloned());
    tracing::error!(%product, ?there, ?best, "the active version's directory is missing");
    let Some(best) = best else {
        disk.remove_file(&link).map_err(SlotError::disk("removing the link"))?;
        return Ok(None);
    };
    let fresh = layout.product(product).join(format!("{}mend", super::plan::LINK_PREFIX));
    disk.remove_file(&fresh)
        .and_then(|()| disk.make_pointer(&std::path::Path::new("versions").join(best.to_string()), &fresh))
        .and_then(|()| disk.rename(&fresh, &link))
        .and_then(|()| disk.sync_dir(&layout.product(product)))
        .map_err(SlotError::disk("mending the link"))?;
    Ok(Some(best))
}
