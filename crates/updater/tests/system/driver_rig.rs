//! A driver on a real disk with real programs; only the server's answers are given by this test, from the same
//! `directive()` that the server calls.

use std::{
    collections::BTreeMap,
    fs::File,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use lockstep_updater::{
    driver::{Driver, Event, Published, Setup, Why, Word},
    platform::User,
    record::RecordFile,
    services::Systemd,
    slots::{RealDisk, Slots},
    source::{Metadata, Source, Trouble},
};
use protocol::{
    Timestamp, Version,
    catalog::{Catalog, Entry},
    device::{Device, DeviceState},
    directive,
    message::DeviceDirectives,
    policy::UpgradePolicy,
    product::ProductId,
    site::{Site, SiteProduct},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::fixture::{Pc, connector, eventually, needs_root, version};

pub(super) const WORKS: &str = r#"[ "$1" = self-check ] && exit 0; exec sleep 1000"#;
pub(super) const BROKEN: &str = r#"[ "$1" = self-check ] && exit 7; exec sleep 1000"#;

/// The site and the vendor.
#[derive(Default)]
pub struct World {
    pub(super) site: Mutex<Site>,
    pub(super) catalog: Mutex<Catalog>,
    pub(super) packages: Mutex<BTreeMap<String, PathBuf>>,
    pub(super) expires: Mutex<Timestamp>,
    pub(super) reports: Mutex<Vec<Device>>,
    pub(super) away: Mutex<bool>,
}

impl World {
    /// Its metadata never expires.
    pub fn is_fresh_for_ever(&self) {
        *self.expires.lock().unwrap() = Timestamp::MAX;
    }

    /// The site manages a product.
    pub fn manages(&self, product: &ProductId, how: SiteProduct) {
        self.site.lock().unwrap().products.insert(product.clone(), how);
    }

    /// The vendor signs a release.
    pub fn publish(&self, entry: Entry, package: PathBuf) {
        self.packages.lock().unwrap().insert(entry.target.clone(), package);
        self.catalog.lock().unwrap().entries.push(entry);
    }

    /// Its package.
    pub fn package_of(&self, entry: &Entry) -> PathBuf {
        self.packages.lock().unwrap()[&entry.target].clone()
    }

    /// What the vendor has signed.
    pub fn signed(&self) -> Catalog {
        self.catalog.lock().unwrap().clone()
    }
}

impl Source for World {
    async fn check_in(&self, device: Device) -> Result<DeviceDirectives, Trouble> {
        if *self.away.lock().unwrap() {
            return Err(Trouble("away".into()));
        }
        let (site, catalog) = (self.site.lock().unwrap(), self.catalog.lock().unwrap());
        let now = Timestamp::now();
        let directives = site.products.keys().map(|p| directive(p, &site, &catalog, &device, now, 1)).collect();
        self.reports.lock().unwrap().push(device);
        Ok(DeviceDirectives { v: 1, directives, next_check_in_seconds: 3600, downloads: Default::default() })
    }

    async fn refresh(&self, now: Timestamp) -> Result<Metadata, Trouble> {
        let expires = *self.expires.lock().unwrap();
        if expires <= now {
            return Err(Trouble(format!("cannot update: metadata expired on {expires}")));
        }
        Ok(Metadata { catalog: self.catalog.lock().unwrap().clone(), expires })
    }

    async fn package(&self, entry: &Entry) -> Result<File, Trouble> {
        let path = self.packages.lock().unwrap().get(&entry.target).cloned();
        path.and_then(|p| File::open(p).ok()).ok_or_else(|| Trouble("no such package".into()))
    }
}

pub(super) struct Rig {
    pub(super) pc: Pc,
    pub(super) world: Arc<World>,
    pub(super) events: mpsc::Sender<Event>,
    published: watch::Receiver<Published>,
    pub(super) running: JoinHandle<()>,
}

impl Rig {
    /// A site whose server runs 7.2, with a PC that has the connector 7.2.0.
    pub(super) async fn new(scripts: &[(&str, &str)]) -> Self {
        needs_root();
        let pc = Pc::new();
        let world = Arc::new(World::default());
        *world.expires.lock().unwrap() = Timestamp::MAX;
        for (number, script) in scripts {
            let (entry, path) = pc.package(number, script);
            world.packages.lock().unwrap().insert(entry.target.clone(), path);
            world.catalog.lock().unwrap().entries.push(entry);
        }
        let policy = UpgradePolicy::Silent;
        let product = SiteProduct { server: Some(version("7.2.0")), policy, ..SiteProduct::default() };
        world.site.lock().unwrap().products.insert(connector(), product);
        let rig = Self::start(pc, world).await;
        rig.until("the connector is installed", |p| installed(p) == Some(version("7.2.0"))).await;
        rig
    }

    pub(super) async fn start(pc: Pc, world: Arc<World>) -> Self {
        Self::start_with_clock(pc, world, Timestamp::now).await
    }

    pub(super) async fn start_with_clock(pc: Pc, world: Arc<World>, clock: fn() -> Timestamp) -> Self {
        let file = RecordFile::new(pc.layout.state(), Arc::new(RealDisk));
        let record = file.read().unwrap();
        let slots = Slots::new(pc.layout.clone(), Arc::new(RealDisk));
        let metadata =
            Metadata { catalog: world.catalog.lock().unwrap().clone(), expires: *world.expires.lock().unwrap() };
        let mut driver = Driver::new(Setup {
            layout: pc.layout.clone(),
            slots,
            file,
            record,
            metadata: Some(metadata),
            source: world.clone(),
            version: Version::new(0, 1, 0),
            hostname: "pc-ready".into(),
            channel: "stable".into(),
            policy: None,
            machine: Default::default(),
            clock,
            systemd: Systemd::default(),
            supervised: false,
        });
        driver.recover().await.unwrap();
        let (events, published) = (driver.events(), driver.published());
        Self { pc, world, events, published, running: tokio::spawn(driver.run()) }
    }

    /// As by SIGKILL, then a new start.
    pub(super) async fn restart(self) -> Self {
        self.running.abort();
        // Cancelled, as wanted.
        drop(self.running.await);
        Self::start(self.pc, self.world).await
    }

    pub(super) async fn until(&self, what: &str, is_so: impl Fn(&Published) -> bool) {
        let published = self.published.clone();
        eventually(what, || is_so(&published.borrow())).await;
    }

    pub(super) async fn state(&self, state: DeviceState) {
        self.until(&format!("{state:?}"), |p| p.products.get(&connector()).is_some_and(|c| c.state == state)).await;
    }

    pub(super) fn watch(&self) -> watch::Receiver<Published> {
        self.published.clone()
    }

    pub(super) fn now(&self) -> Published {
        self.published.borrow().clone()
    }

    /// The protected server's version changes, and the server pushes.
    pub(super) async fn flip(&self, number: &str) {
        self.world.site.lock().unwrap().products.get_mut(&connector()).unwrap().server = Some(version(number));
        self.push().await;
    }

    pub(super) async fn push(&self) {
        self.events.send(Event::Wanted(Why::Pushed)).await.unwrap();
    }

    pub(super) fn policy(&self, policy: UpgradePolicy) {
        self.world.site.lock().unwrap().products.get_mut(&connector()).unwrap().policy = policy;
    }

    pub(super) async fn consent(&self) -> Result<String, String> {
        let (answer, said) = oneshot::channel();
        let root = Word { user: User::Uid(0), for_everybody: true };
        self.events.send(Event::Consent(root, answer)).await.unwrap();
        said.await.unwrap()
    }

    pub(super) async fn confirm(&self, number: &str) {
        self.events.send(Event::Confirmed(connector(), version(number))).await.unwrap();
    }

    pub(super) fn versions(&self) -> Vec<Version> {
        self.pc.slots.observe(&connector()).unwrap().versions.into_iter().collect()
    }

    pub(super) fn last_report(&self) -> Device {
        self.world.reports.lock().unwrap().last().cloned().unwrap()
    }
}

pub(super) fn installed(published: &Published) -> Option<Version> {
    published.products.get(&connector())?.installed.clone()
}

pub(super) fn restart(published: &Published) -> Option<Version> {
    published.restart.get(&connector()).cloned()
}
