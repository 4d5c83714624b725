//! The socket that users' programs talk to.
//!
//! | attack | answer |
//! |---|---|
//! | a caller names a path, address, version or argument | a request is a verb and nothing else ([`protocol::ipc`]) |
//! | a caller claims to be somebody else | the kernel says who it is (`SO_PEERCRED`; on Windows the process and its token), once, when it connects |
//! | a wrong program confirms a version as healthy | device and inode of the peer's program are compared with the active version's |
//! | a process id that is used again by the right program | the start time at connection is compared as well |
//! | endless, slow or countless requests | limits on bytes, time, requests and connections ([`limits`]) |
//! | a reader that never reads | a write has a deadline |
//! | a server whose words make a reply longer than anybody reads | cut where they come in, and every reply is made to fit ([`fit`]) |
//! | the socket's name taken over | its directory is the service's own, 0755 |
//!
//! | module | room for |
//! |---|---|
//! | [`rules`] | which verb is open to whom: a table |
//! | [`limits`] | how much of it: pure |
//! | [`serve`] | one connection |
//! | [`fit`] | a reply that is no longer than its readers take: pure |
//! | `client` | the other end, for this crate's own programs |

pub mod client;
pub mod fit;
pub mod limits;
pub mod rules;
pub mod serve;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use protocol::{
    Timestamp, Version,
    ipc::{Fetched, Reply, Status},
    product::ProductId,
};
use tokio::sync::{mpsc, watch};

use crate::{
    driver::{Event, Published},
    identity::TicketOffice,
    platform::{self, Listener, Peer, User},
    slots::Slots,
};
use limits::Limits;

/// What every connection shares.
pub struct Hub {
    /// Where things stand.
    pub published: watch::Receiver<Published>,
    /// How much of each package is here, while it is fetched.
    pub fetching: watch::Receiver<BTreeMap<ProductId, Fetched>>,
    /// To the driver.
    pub events: mpsc::Sender<Event>,
    /// Vouches for users, once this PC is enrolled.
    pub tickets: watch::Receiver<Option<TicketOffice>>,
    /// The versions on the disk.
    pub slots: Slots,
    /// Finds a program's file.
    pub layout: crate::layout::Layout,
    /// The updater's version.
    pub version: Version,
    /// The site's server, for people.
    pub server: String,
    /// Tells the time.
    pub clock: fn() -> Timestamp,
    /// Who has had how much.
    pub limits: Mutex<Limits>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Hub {
    /// How things stand, for one user.
    pub fn status(&self, peer: &Peer) -> Status {
        let published = self.published.borrow().clone();
        let office = self.tickets.borrow().clone();
        Status {
            updater: self.version.clone(),
            device: office.as_ref().map(|o| o.device().to_owned()),
            server: self.server.clone(),
            products: published.products,
            why: published.why,
            ticket: office.and_then(|o| o.issue(peer.user.number(), (self.clock)())),
            fetching: self.fetching.borrow().clone(),
            problem: published.problem,
            last_contact: published.last_contact,
            decisions: published.decisions,
            pc: published.pc,
            history: published.history,
        }
    }

    /// The product whose active version's program the peer runs, as the kernel shows it now. Looks at files.
    pub fn active_program(&self, peer: &Peer) -> Option<(ProductId, Version)> {
        let process = platform::process(peer.pid?)?;
        if Some(process.started) != peer.started {
            return None;
        }
        let products: Vec<_> = self.published.borrow().products.keys().cloned().collect();
        products.into_iter().find_map(|product| {
            let version = self.slots.observe(&product).ok()?.current?;
            let manifest = self.slots.manifest(&product, &version).ok()?;
            let program = self.layout.version(&product, &version).join(manifest.description.program);
            (platform::file_id(&program).ok()? == process.program).then_some((product, version))
        })
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        // A panic elsewhere leaves counters that are at worst too high.
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers connections for ever.
pub async fn listen(listener: Listener, hub: Arc<Hub>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of descriptors, most likely; they come back.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        if !hub.limits().connect(&peer.user) {
            tracing::warn!(user = %peer.user, "too many connections");
            continue;
        }
        let hub = hub.clone();
        tokio::spawn(async move {
            if let Err(error) = serve::serve(stream, &peer, &hub).await {
                tracing::debug!(user = %peer.user, error = %crate::words(&error), "a connection ended");
            }
            hub.limits().disconnect(&peer.user);
        });
    }
}

/// What a watcher is told when one state follows another: progress first, then the restarts that concern its user. At the start,
/// everything.
pub fn news(old: Option<&Published>, new: &Published, user: &str) -> Vec<Reply> {
    let line = |p: &Published, product: &ProductId| {
        let state = p.products.get(product)?;
        Some((state.installed.clone(), state.state, p.why.get(product).cloned()))
    };
    let mut replies = Vec::new();
    for product in new.products.keys() {
        let now = line(new, product);
        if let Some((installed, state, why)) = now.clone().filter(|_| old.and_then(|o| line(o, product)) != now) {
            let detail = why.unwrap_or_default();
            replies.push(Reply::Progress { product: product.clone(), installed, state, detail, bytes: None });
        }
    }
    let products: BTreeSet<_> = new.restart.keys().chain(new.restart_for.keys()).collect();
    for product in products {
        let now = new.restart_of(product, user);
        if let Some(version) = now.filter(|_| old.and_then(|old| old.restart_of(product, user)) != now) {
            replies.push(Reply::RestartNow { product: product.clone(), version: version.clone() });
        }
    }
    replies
}

/// What a watcher is told of the packages that are being fetched: those of which there is more, or less, than it was told.
pub fn fetched(
    told: &BTreeMap<ProductId, Fetched>,
    now: &BTreeMap<ProductId, Fetched>,
    published: &Published,
) -> Vec<Reply> {
    let changed = now.iter().filter(|(product, bytes)| told.get(product) != Some(bytes));
    let line = |(product, bytes): (&ProductId, &Fetched)| {
        let state = published.products.get(product)?;
        Some(Reply::Progress {
            product: product.clone(),
            installed: state.installed.clone(),
            state: state.state,
            detail: published.why.get(product).cloned().unwrap_or_default(),
            bytes: Some(*bytes),
        })
    };
    changed.filter_map(line).collect()
}

/// Whether a user may have another check-in now.
pub(crate) fn may_check_now(hub: &Hub, user: &User) -> bool {
    hub.limits().check_now(user, Instant::now())
}
