//! Tickets: an updater's word that a user runs on its PC.

use jiff::{SignedDuration, Timestamp};
use protocol::message::{Ticket, TicketClaim};

use super::signed::is_by;
use crate::{
    app::App,
    store::{DeviceRow, StoreError},
};

/// Bytes; a claim is far shorter.
const MAX_CLAIM: usize = 1024;

/// The device that vouches, and until when its word holds without being renewed. `None`: the ticket is worth nothing.
///
/// # Errors
/// [`StoreError`].
pub async fn voucher(app: &App, ticket: &Ticket, now: Timestamp) -> Result<Option<(DeviceRow, Timestamp)>, StoreError> {
    if ticket.claim.len() > MAX_CLAIM {
        return Ok(None);
    }
    let Ok(claim) = serde_json::from_str::<TicketClaim>(&ticket.claim) else {
        return Ok(None);
    };
    let Some(row) = app.store.device(&claim.device).await? else {
        return Ok(None);
    };
    if !is_by(&row, Ticket::PATH, ticket.claim.as_bytes(), &ticket.signature) {
        return Ok(None);
    }
    let good_for = SignedDuration::from_secs(TicketClaim::GOOD_FOR_SECONDS);
    if now.duration_since(claim.issued).abs() > good_for {
        tracing::info!(device = row.device.id, issued = %claim.issued, "a ticket is too old, or the PC's clock is wrong");
        return Ok(None);
    }
    Ok(Some((row, now.saturating_add(good_for).unwrap_or(Timestamp::MAX))))
}
