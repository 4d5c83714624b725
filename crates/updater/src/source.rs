//! Where the driver's decisions, metadata and packages come from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use protocol::{
    Decision, Timestamp,
    catalog::{Catalog, Entry},
    device::Device,
    ipc::Fetched,
    message::{DeviceDirectives, LONGEST_JITTER_SECONDS},
    product::{Platform, ProductId},
};
use release::tuf::{Fetch, Repository, Trusted, Verdict, consistent_target_path};
use tokio::sync::{Mutex, watch};

use crate::{
    client::{ClientError, Server},
    download::{Downloads, Wanted},
    platform::give_memory_back,
    settings::download::Settings,
    words,
};

/// What the vendor signed, as far as this PC has verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The releases, of this platform alone: a repository may hold thousands for others.
    pub catalog: Catalog,
    /// When the first of the roles expires.
    pub expires: Timestamp,
}

impl From<&Trusted> for Metadata {
    fn from(trusted: &Trusted) -> Self {
        Self { catalog: trusted.catalog().for_platform(&Platform::current()), expires: trusted.expires() }
    }
}

impl Metadata {
    /// As [`Metadata::from`], in memory of its own: copied out of a large repository one by one, the few entries that stay would lie
    /// scattered over all the memory that reading it took, and none of that could be given back.
    pub fn packed(trusted: Trusted) -> Result<Self, Trouble> {
        let pack = |trusted: &Trusted| {
            let Self { catalog, expires } = trusted.into();
            Ok::<_, serde_json::Error>((serde_json::to_vec(&catalog)?, expires))
        };
        let (bytes, expires) = pack(&trusted).map_err(|e| Trouble(words(&e)))?;
        drop(trusted);
        let catalog = serde_json::from_slice(&bytes).map_err(|e| Trouble(words(&e)))?;
        Ok(Self { catalog, expires })
    }
}

/// What went wrong, for people: the driver's only reaction is to try again later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Trouble(pub String);

/// The world outside, as the driver needs it.
pub trait Source: Send + Sync + 'static {
    /// Tells the server where this PC stands, and is told what to do.
    fn check_in(&self, device: Device) -> impl Future<Output = Result<DeviceDirectives, Trouble>> + Send;

    /// Brings the verified metadata up to date.
    fn refresh(&self, now: Timestamp) -> impl Future<Output = Result<Metadata, Trouble>> + Send;

    /// Check-ins in a row that ended in a misunderstanding ([`ClientError::is_misunderstanding`]), up to the last one.
    fn misunderstandings(&self) -> u32 {
        0
    }

    /// Fetches a package: a verified file, at its beginning, that nobody else can change.
    fn package(&self, entry: &Entry) -> impl Future<Output = Result<File, Trouble>> + Send;
}

/// The site's server, the vendor's repository that it mirrors, and wherever else packages are.
#[derive(Debug)]
pub struct SiteSource {
    server: Arc<Server>,
    /// One refresh at a time: its directory has one writer.
    repository: Mutex<Repository>,
    downloads: Downloads,
    /// How long staging may wait, by this PC's settings. `None`: as the site says.
    jitter: Option<Duration>,
    said: watch::Sender<Said>,
    fetching: watch::Sender<BTreeMap<ProductId, Fetched>>,
    misunderstood: AtomicU32,
}

/// What the last check-in means for fetching.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Said {
    jitter: Duration,
    /// Whose packages wait for nothing: what is required now, or not there at all.
    urgent: BTreeSet<ProductId>,
}

impl SiteSource {
    /// Opens no connection.
    pub fn new(server: Arc<Server>, repository: Repository, downloads: Downloads, settings: &Settings) -> Self {
        Self {
            server,
            repository: Mutex::new(repository),
            downloads,
            jitter: settings.start_jitter.map(|jitter| jitter.get()),
            said: watch::Sender::default(),
            fetching: watch::Sender::default(),
            misunderstood: AtomicU32::new(0),
        }
    }

    /// How much of each package is here, while it is fetched.
    pub fn fetching(&self) -> watch::Receiver<BTreeMap<ProductId, Fetched>> {
        self.fetching.subscribe()
    }

    fn note(&self, device: &Device, answer: &DeviceDirectives) {
        self.downloads.alternate(&answer.downloads.alternate);
        self.said.send_replace(said(device, answer));
    }

    /// Waits a random time, so that not all PCs of a site fetch at once; ends at once when the version is required.
    async fn spread(&self, product: &ProductId) {
        let mut said = self.said.subscribe();
        let longest = self.jitter.unwrap_or(said.borrow().jitter);
        let wait = longest.mul_f64(rand::random::<f64>());
        if wait.is_zero() || said.borrow().urgent.contains(product) {
            return;
        }
        tracing::info!(%product, seconds = wait.as_secs(), "fetching begins a little later, since other computers fetch too");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // Ends in an error only with this source.
            _ = said.wait_for(|said| said.urgent.contains(product)) => {}
        }
    }
}

fn said(device: &Device, answer: &DeviceDirectives) -> Said {
    let seconds = answer.downloads.start_jitter_seconds.unwrap_or(0).min(LONGEST_JITTER_SECONDS);
    let urgent = answer.directives.iter().filter(|directive| {
        matches!(directive.decision, Decision::Required { .. })
            || device.product(&directive.product).installed.is_none()
    });
    Said { jitter: Duration::from_secs(seconds), urgent: urgent.map(|d| d.product.clone()).collect() }
}

/// Says how much is here, and that nothing is fetched any more when it is gone.
struct Meter<'a> {
    fetching: &'a watch::Sender<BTreeMap<ProductId, Fetched>>,
    product: &'a ProductId,
    total: u64,
}

impl Meter<'_> {
    fn tell(&self, done: u64) {
        let bytes = Fetched { done, total: self.total };
        self.fetching.send_modify(|all| {
            all.insert(self.product.clone(), bytes);
        });
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        self.fetching.send_modify(|all| {
            all.remove(self.product);
        });
    }
}

struct Mirror<'a>(&'a Server);

impl Fetch for Mirror<'_> {
    type Error = ClientError;

    async fn fetch(&self, path: &str, max_length: u64) -> Result<Option<Vec<u8>>, ClientError> {
        self.0.small_file(self.0.mirror(path)?, max_length).await
    }
}

/// Why nothing new is fetched, for people.
fn refused(error: &release::tuf::Error) -> String {
    let details = words(error);
    match error.verdict() {
        Verdict::Expired(expired) => format!("cannot update: metadata expired on {expired}"),
        Verdict::NotSigned => format!("cannot update: the site serves what the vendor has not signed ({details})"),
        Verdict::Older => format!("cannot update: the site serves an older state than this computer knows ({details})"),
        Verdict::Other => format!("cannot update: {details}"),
    }
}

impl Source for SiteSource {
    async fn check_in(&self, device: Device) -> Result<DeviceDirectives, Trouble> {
        let answer = self.server.check_in(device.clone()).await;
        let misunderstood = answer.as_ref().err().is_some_and(ClientError::is_misunderstanding);
        // Check-ins do not overlap.
        let before = if misunderstood { self.misunderstood.load(Ordering::Relaxed) } else { 0 };
        self.misunderstood.store(before.saturating_add(misunderstood.into()), Ordering::Relaxed);
        let answer = answer.map_err(|e| Trouble(words(&e)))?;
        self.note(&device, &answer);
        Ok(answer)
    }

    fn misunderstandings(&self) -> u32 {
        self.misunderstood.load(Ordering::Relaxed)
    }

    async fn refresh(&self, now: Timestamp) -> Result<Metadata, Trouble> {
        let refreshed = match self.repository.lock().await.refresh(&Mirror(&self.server), now).await {
            Ok(trusted) => Metadata::packed(trusted),
            Err(error) => Err(Trouble(refused(&error))),
        };
        // Metadata of a large repository takes megabytes while it is read.
        give_memory_back();
        refreshed
    }

    async fn package(&self, entry: &Entry) -> Result<File, Trouble> {
        let product = &entry.release.product;
        self.spread(product).await;
        let path = consistent_target_path(&entry.target, &entry.sha256);
        let mirror = self.server.mirror(&format!("targets/{path}")).map_err(|e| Trouble(words(&e)))?;
        let wanted = Wanted { length: entry.length, sha256: &entry.sha256 };
        let meter = Meter { fetching: &self.fetching, product, total: entry.length };
        let tell = |done| meter.tell(done);
        let fetched = match self.downloads.fetch(&path, (self.server.http(), mirror), wanted, &tell).await {
            Ok(package) => self.downloads.make_room_for_content(package, wanted).await,
            Err(error) => Err(error),
        };
        give_memory_back();
        fetched.map_err(|e| Trouble(words(&e)))
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Directive, Version, message::Downloads as Wish};

    use super::*;

    #[test]
    fn what_is_required_or_not_there_yet_waits_for_nothing() {
        let [connector, mailer] = [ProductId::connector(), "mailer".parse().unwrap()];
        let mut device = Device::unknown(Platform::current(), "stable");
        let version = Version::new(7, 3, 0);
        let answer = |device: &Device, decision: Decision| {
            let directive = |product: &ProductId| Directive {
                product: product.clone(),
                decision: decision.clone(),
                policy: Default::default(),
                terms: Default::default(),
                server: None,
                why: String::new(),
            };
            let directives = vec![directive(&connector), directive(&mailer)];
            let downloads = Wish { alternate: vec![], start_jitter_seconds: Some(u64::MAX) };
            said(device, &DeviceDirectives { v: 1, directives, next_check_in_seconds: 60, downloads })
        };
        assert_eq!(answer(&device, Decision::Stage { version: version.clone() }).urgent.len(), 2, "none is installed");
        for product in [&connector, &mailer] {
            device.products.entry(product.clone()).or_default().installed = Some(Version::new(7, 2, 0));
        }
        let staged = answer(&device, Decision::Stage { version: version.clone() });
        assert_eq!(staged, Said { jitter: Duration::from_secs(LONGEST_JITTER_SECONDS), urgent: BTreeSet::new() });
        let deadline = Timestamp::UNIX_EPOCH;
        assert_eq!(answer(&device, Decision::Required { version, deadline }).urgent.len(), 2);
    }
}
