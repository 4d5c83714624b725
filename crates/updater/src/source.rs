//! Where the driver's decisions, metadata and packages come from.

use std::{fs::File, future::Future, path::PathBuf, sync::Arc};

use protocol::{
    Timestamp,
    catalog::{Catalog, Entry},
    device::Device,
    message::DeviceDirectives,
    product::Platform,
};
use release::tuf::{Fetch, Repository, Trusted, Verdict, consistent_target_path};
use tokio::sync::Mutex;

use crate::{
    client::{ClientError, Server},
    download::{Limits, Wanted, download},
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

    /// Fetches a package: a verified file, at its beginning, that nobody else can change.
    fn package(&self, entry: &Entry) -> impl Future<Output = Result<File, Trouble>> + Send;
}

/// The site's server, and the vendor's repository that it mirrors.
#[derive(Debug)]
pub struct SiteSource {
    server: Arc<Server>,
    /// One refresh at a time: its directory has one writer.
    repository: Mutex<Repository>,
    downloads: PathBuf,
}

impl SiteSource {
    /// `downloads` is a directory that only the service can reach.
    pub fn new(server: Arc<Server>, repository: Repository, downloads: PathBuf) -> Self {
        Self { server, repository: Mutex::new(repository), downloads }
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
        self.server.check_in(device).await.map_err(|e| Trouble(words(&e)))
    }

    async fn refresh(&self, now: Timestamp) -> Result<Metadata, Trouble> {
        match self.repository.lock().await.refresh(&Mirror(&self.server), now).await {
            Ok(trusted) => Ok((&trusted).into()),
            Err(error) => Err(Trouble(refused(&error))),
        }
    }

    async fn package(&self, entry: &Entry) -> Result<File, Trouble> {
        let path = format!("targets/{}", consistent_target_path(&entry.target, &entry.sha256));
        let url = self.server.mirror(&path).map_err(|e| Trouble(words(&e)))?;
        let wanted = Wanted { length: entry.length, sha256: &entry.sha256 };
        download(self.server.http(), url.as_str(), &self.downloads, wanted, Limits::default())
            .await
            .map_err(|e| Trouble(words(&e)))
    }
}
