//! Who is cut off now, and which PCs report trouble: what the first page and `lockstep status` begin with.

use jiff::Timestamp;
use protocol::{Version, device::DeviceState, directive, message::Gate, preflight::Readiness, product::ProductId};
use serde::Serialize;

use crate::{
    clients::running,
    plain_text::printable,
    preflight::{Facts, gate_name},
    store::SeatRow,
};

/// A user who is cut off because of the connector's version. All text is printable.
#[derive(Debug, Serialize)]
pub struct CutOff {
    /// The mail account. `None`: readiness reports are off.
    pub user: Option<String>,
    /// The PC's name for people.
    pub pc: String,
    /// The device's id, or the seat's where there is no updater.
    pub subject: String,
    /// Which product.
    pub product: ProductId,
    /// What runs there.
    pub version: Version,
    /// `offline` or `upgrading`.
    pub gate: Gate,
    /// Since when the connector has said so.
    pub since: Timestamp,
    /// Why.
    pub why: String,
    /// What will happen, or what somebody must do.
    pub then: String,
    /// What the connector or the updater says is going on there.
    pub detail: Option<String>,
    /// Messages that wait to be sent.
    pub outbox: u64,
    /// The last check-in.
    pub last_seen: Timestamp,
}

/// A PC whose updater reports that something failed. All text is printable.
#[derive(Debug, Serialize)]
pub struct Trouble {
    /// The PC's name for people.
    pub pc: String,
    /// The device's id.
    pub subject: String,
    /// Which product.
    pub product: ProductId,
    /// Where it stands.
    pub state: DeviceState,
    /// What failed.
    pub detail: String,
    /// Whether it is about signatures: somebody may be offering what the vendor has not signed.
    pub trust: bool,
    /// The last check-in.
    pub last_seen: Timestamp,
}

impl Facts {
    /// Those who are cut off now, the longest first, and how many more would be but have not been heard of since.
    pub fn cut_off_now(&self) -> (Vec<CutOff>, usize) {
        let (mut cut_off, mut silent) = (Vec::new(), 0);
        for seat in &self.seats {
            match (self.why_incompatible(seat), seat.cut_off_since, seat.gate) {
                (Some(why), Some(since), Some(gate)) if gate != Gate::Online => {
                    cut_off.extend(self.cut_off(seat, gate, since, why));
                }
                (Some(_), _, _) => silent += 1,
                (None, _, _) => {}
            }
        }
        cut_off.sort_by_cached_key(|c| (c.since, c.user.clone(), c.pc.clone()));
        (cut_off, silent)
    }

    /// PCs that report trouble, those with trouble about trust first.
    pub fn troubles(&self) -> Vec<Trouble> {
        let mut all = Vec::new();
        for row in &self.devices {
            for (product, state) in &row.device.products {
                let detail = state.detail.as_deref().map(printable).unwrap_or_default();
                let trust = is_about_trust(&detail);
                if trust || matches!(state.state, DeviceState::Failed | DeviceState::RolledBack) {
                    all.push(Trouble {
                        pc: printable(&row.device.hostname),
                        subject: row.device.id.clone(),
                        product: product.clone(),
                        state: state.state,
                        detail,
                        trust,
                        last_seen: row.last_seen,
                    });
                }
            }
        }
        all.sort_by_cached_key(|t| (!t.trust, t.pc.clone(), t.product.clone()));
        all
    }

    /// Why what a seat runs cannot work with its server's present version. `None`: it can, or that is not known.
    fn why_incompatible(&self, seat: &SeatRow) -> Option<String> {
        let (product, version) = (seat.product.as_ref()?, seat.version.as_ref()?);
        let tied = seat.device.as_deref().and_then(|id| self.devices.iter().find(|d| d.device.id == id));
        let device = running(tied.map(|row| row.device.clone()), seat, product, version, &seat.platform);
        let directive = directive(product, &self.site, self.catalog.as_ref()?, &device, self.now, self.seed);
        directive.decision.is_incompatible().then_some(directive.why)
    }

    fn cut_off(&self, seat: &SeatRow, gate: Gate, since: Timestamp, why: String) -> Option<CutOff> {
        let (product, version) = (seat.product.clone()?, seat.version.clone()?);
        let server = self.site.products.get(&product)?.server.as_ref()?;
        let row = self.row_of_seat(&product, server, seat)?;
        let then = match row.readiness {
            Readiness::CutOff { reason, remedy } => format!("{reason}: {remedy}"),
            Readiness::WouldAsk { .. } => "waits for its user's consent".into(),
            Readiness::WouldWait { until, .. } => format!("waits for the maintenance window, until {until:.0}"),
            Readiness::NotSeen { .. } => "upgrades when it is back".into(),
            Readiness::Ready { .. } => "upgrades by itself".into(),
            Readiness::Current => "the new version is installed; the program has not restarted yet".into(),
        };
        let said = seat.detail.as_deref().map(printable);
        Some(CutOff {
            user: row.user,
            pc: row.pc,
            subject: row.subject,
            product,
            version,
            gate,
            since,
            why: printable(&why),
            then,
            detail: said.or(row.detail),
            outbox: seat.outbox,
            last_seen: seat.last_seen,
        })
    }
}

impl CutOff {
    /// `offline` or `upgrading`.
    pub fn gate_name(&self) -> String {
        gate_name(self.gate)
    }
}

/// Whether words of an updater are about what is signed, and by whom. It only makes a line stand out, so words will do.
pub fn is_about_trust(detail: &str) -> bool {
    let detail = detail.to_ascii_lowercase();
    ["signed", "signature", "metadata", "trusted root", "sha-256", "rollback attack"]
        .iter()
        .any(|word| detail.contains(word))
}
