//! Who would be ready, and who would be cut off, if a product's server had another version: one row for each seat,
//! and one for each device that nobody uses yet.
//!
//! Decided by [`protocol::preflight::readiness`], which composes what decides for real. Everything that a client said comes out
//! of here as one printable line each.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use protocol::{
    Version,
    catalog::Catalog,
    device::{Device, DeviceState, STABLE},
    message::Gate,
    next_server_version,
    preflight::{Readiness, readiness},
    product::ProductId,
    site::Site,
};
use serde::Serialize;

use crate::{
    app::App,
    clients::running,
    plain_text::printable,
    store::{DeviceRow, SeatRow, StoreError},
    switches::Switch,
};

/// The whole answer, as the API gives it.
#[derive(Debug, Serialize)]
pub struct Table {
    /// Format version.
    pub v: u32,
    /// Which product.
    pub product: ProductId,
    /// The version that its server has now.
    pub server: Option<Version>,
    /// The version that is asked about.
    pub to: Version,
    /// Whether the rows tell the truth.
    pub known: bool,
    /// Why not.
    pub why_unknown: Option<String>,
    /// Those who would be cut off come first.
    pub rows: Vec<Row>,
    /// How many of each kind.
    pub summary: Summary,
}

/// One seat, or a device without one.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The mail account. `None`: nobody uses the device yet.
    pub user: Option<String>,
    /// The PC's name for people.
    pub pc: String,
    /// The device's id, or the seat's where there is no updater.
    pub subject: String,
    /// What is installed there.
    pub installed: Option<Version>,
    /// The updater's version. `None`: there is none.
    pub updater: Option<Version>,
    /// What would happen.
    #[serde(flatten)]
    pub readiness: Readiness,
    /// Where the device stands. `None`: there is no updater to tell.
    pub state: Option<DeviceState>,
    /// What is going on or went wrong there, in words.
    pub detail: Option<String>,
    /// Where the connector stands.
    pub gate: Option<Gate>,
    /// The last check-in.
    pub last_seen: Timestamp,
    /// Whether an updater on this PC would be enough not to be cut off.
    #[serde(skip)]
    pub lacks_only_the_updater: bool,
}

/// How many of each kind.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Would be upgraded silently.
    pub ready: u64,
    /// Of all, those that have the version already.
    pub staged: u64,
    /// Would ask the user first.
    pub would_ask: u64,
    /// Would stay cut off until a maintenance window opens.
    pub would_wait: u64,
    /// Not seen for too long to know.
    pub not_seen: u64,
    /// Would be cut off.
    pub cut_off: u64,
    /// Nothing would change.
    pub current: u64,
}

/// Everything that the answer depends on.
#[derive(Debug)]
pub struct Facts {
    /// What the site wants.
    pub site: Site,
    /// Every release. `None`: nothing was mirrored yet.
    pub catalog: Option<Catalog>,
    /// Since when the site has each release, by target path.
    pub available: HashMap<String, Timestamp>,
    /// All devices.
    pub devices: Vec<DeviceRow>,
    /// All seats.
    pub seats: Vec<SeatRow>,
    /// Whether readiness reports are on.
    pub readiness_on: bool,
    /// The time.
    pub now: Timestamp,
    /// For the rollout.
    pub seed: u64,
}

impl Facts {
    /// Gathers them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn gather(app: &App) -> Result<Self, StoreError> {
        Ok(Self {
            site: app.site.site(),
            catalog: app.mirror.current().map(|served| served.catalog().clone()),
            available: app.store.releases().await?,
            devices: app.store.devices().await?,
            seats: app.store.seats().await?,
            readiness_on: app.switches.is_on(Switch::Readiness),
            now: app.now(),
            seed: app.site.seed(),
        })
    }

    /// The server version that the site should make ready for: what a cut-over announced or the administrator configured, else what the
    /// newest release is made for, else the present one. `None`: nothing is known of the product's server.
    pub fn next(&self, product: &ProductId) -> Option<Version> {
        let chosen = self.site.products.get(product)?;
        let newest = || next_server_version(product, STABLE, None, &self.site, self.catalog.as_ref()?);
        chosen.next.clone().or_else(newest).or_else(|| chosen.server.clone())
    }

    /// The table for a product and a server version.
    pub fn table(&self, product: &ProductId, to: &Version) -> Table {
        let why_unknown = if !self.readiness_on {
            Some(
                "readiness reports are switched off, so this server does not know its users; switch them on with `lockstep settings readiness on`",
            )
        } else if self.catalog.is_none() {
            Some("the vendor's releases have not been mirrored yet; `lockstep status` says why")
        } else {
            None
        };
        let rows = if why_unknown.is_none() { self.rows(product, to) } else { Vec::new() };
        Table {
            v: 1,
            product: product.clone(),
            server: self.site.products.get(product).and_then(|p| p.server.clone()),
            to: to.clone(),
            known: why_unknown.is_none(),
            why_unknown: why_unknown.map(Into::into),
            summary: Summary::of(&rows),
            rows,
        }
    }

    fn rows(&self, product: &ProductId, to: &Version) -> Vec<Row> {
        let devices: HashMap<&str, &DeviceRow> = self.devices.iter().map(|d| (d.device.id.as_str(), d)).collect();
        let mut used = HashSet::new();
        let mut rows = Vec::new();
        for seat in self.seats.iter().filter(|s| s.product.as_ref() == Some(product)) {
            let tied = seat.device.as_deref().and_then(|id| devices.get(id)).copied();
            used.extend(tied.map(|row| row.device.id.as_str()));
            rows.extend(self.seat_row(product, to, seat, tied));
        }
        for unused in self.devices.iter().filter(|d| !used.contains(d.device.id.as_str())) {
            rows.push(self.row(product, to, None, &unused.device, unused.last_seen, Some(&unused.device)));
        }
        rows.sort_by_cached_key(|r| (r.readiness.urgency(), r.user.is_none(), r.user.clone(), r.pc.clone()));
        rows
    }

    /// A seat's row for another server version. `None`: it has not checked in yet.
    pub fn row_of_seat(&self, product: &ProductId, to: &Version, seat: &SeatRow) -> Option<Row> {
        let tied = seat.device.as_deref().and_then(|id| self.devices.iter().find(|d| d.device.id == id));
        self.seat_row(product, to, seat, tied)
    }

    fn seat_row(&self, product: &ProductId, to: &Version, seat: &SeatRow, tied: Option<&DeviceRow>) -> Option<Row> {
        let version = seat.version.as_ref()?;
        let Some(tied) = tied else {
            let device = running(None, seat, product, version, &seat.platform);
            return Some(self.row(product, to, Some(seat), &device, seat.last_seen, None));
        };
        let mut device = tied.device.clone();
        let state = device.products.entry(product.clone()).or_default();
        state.installed.get_or_insert_with(|| version.clone());
        Some(self.row(product, to, Some(seat), &device, tied.last_seen, Some(&tied.device)))
    }

    fn row(
        &self,
        product: &ProductId,
        to: &Version,
        seat: Option<&SeatRow>,
        device: &Device,
        last_seen: Timestamp,
        reported: Option<&Device>,
    ) -> Row {
        let verdict = self.readiness(product, to, device, last_seen);
        let state = reported.map(|d| d.product(product));
        let hostname = seat.and_then(|s| s.hostname.as_deref()).unwrap_or(&device.hostname);
        Row {
            user: seat.and_then(|s| s.user.as_deref()).map(printable),
            pc: printable(hostname),
            subject: reported.map_or_else(|| device.id.clone(), |d| d.id.clone()),
            installed: device.product(product).installed,
            updater: device.updater.clone(),
            lacks_only_the_updater: verdict.is_cut_off() && self.an_updater_would_mend(product, to, device, last_seen),
            readiness: plain(verdict),
            state: state.as_ref().map(|s| s.state),
            detail: state.and_then(|s| s.detail).as_deref().map(printable),
            gate: seat.and_then(|s| s.gate),
            last_seen,
        }
    }

    fn an_updater_would_mend(&self, product: &ProductId, to: &Version, device: &Device, last_seen: Timestamp) -> bool {
        let with = Device { updater: Some(Version::new(u64::MAX, 0, 0)), ..device.clone() };
        device.updater.is_none() && !self.readiness(product, to, &with, last_seen).is_cut_off()
    }

    fn readiness(&self, product: &ProductId, to: &Version, device: &Device, last_seen: Timestamp) -> Readiness {
        let none = Catalog::default();
        let catalog = self.catalog.as_ref().unwrap_or(&none);
        let best = catalog
            .of(product, &device.platform, &device.channel)
            .filter(|e| e.release.works_with(to))
            .max_by(|a, b| a.release.version.cmp(&b.release.version));
        let available = best.and_then(|e| self.available.get(&e.target)).copied();
        readiness(product, to, &self.site, catalog, device, last_seen, available, self.now, self.seed)
    }
}

impl Table {
    /// The users who would be cut off for want of an updater and nothing else, each once.
    pub fn users_without_updater(&self) -> BTreeSet<String> {
        self.rows.iter().filter(|r| r.lacks_only_the_updater).filter_map(|r| r.user.clone()).collect()
    }
}

impl Summary {
    fn of(rows: &[Row]) -> Self {
        let mut summary = Self::default();
        for row in rows {
            match row.readiness {
                Readiness::Current => summary.current += 1,
                Readiness::Ready { staged } => {
                    summary.ready += 1;
                    summary.staged += u64::from(staged);
                }
                Readiness::WouldAsk { staged } => {
                    summary.would_ask += 1;
                    summary.staged += u64::from(staged);
                }
                Readiness::WouldWait { staged, .. } => {
                    summary.would_wait += 1;
                    summary.staged += u64::from(staged);
                }
                Readiness::NotSeen { .. } => summary.not_seen += 1,
                Readiness::CutOff { .. } => summary.cut_off += 1,
            }
        }
        summary
    }
}

/// A device state's name, the same in every place.
pub fn state_name(state: DeviceState) -> String {
    name(&state)
}

/// A gate's name.
pub fn gate_name(gate: Gate) -> String {
    name(&gate)
}

fn name(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(ToOwned::to_owned)).unwrap_or_default()
}

/// Reasons may hold what a device said, such as why a version was rolled back.
fn plain(verdict: Readiness) -> Readiness {
    match verdict {
        Readiness::CutOff { reason, remedy } => Readiness::CutOff { reason: printable(&reason), remedy },
        other => other,
    }
}
