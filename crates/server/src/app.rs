//! What every request and every background task shares.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};
use protocol::{catalog::Catalog, message::MailServer, site::SiteProfile};
use tokio::sync::{Semaphore, watch};

use crate::{
    config::Config, integration::Bundles, mail_gate::Gate, mail_login::MailLogin, mirror::Mirror, push::Switchboard,
    rate_limit::RateLimit, site::SiteState, store::Store, switches::Switches, warning_log::WarningLog,
};

/// Tells the time; tests set it.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The system's.
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// Any other.
    pub fn from_fn(tell: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// How often somebody may try.
#[derive(Debug)]
pub struct Limits {
    /// Mail passwords, by account.
    pub login_user: RateLimit,
    /// Mail passwords, by address.
    pub login_address: RateLimit,
    /// Console passwords, by address.
    pub console_address: RateLimit,
    /// Enrolments, by address.
    pub enrol_address: RateLimit,
    /// Mail logins at the same time.
    pub mail_logins: Semaphore,
    /// Password hashes at the same time; each takes tens of megabytes.
    pub hashes: Semaphore,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            login_user: RateLimit::new(10, Duration::from_secs(30)),
            login_address: RateLimit::new(200, Duration::from_secs(1)),
            console_address: RateLimit::new(10, Duration::from_secs(20)),
            enrol_address: RateLimit::new(200, Duration::from_secs(1)),
            mail_logins: Semaphore::new(16),
            hashes: Semaphore::new(2),
        }
    }
}

/// The parts.
#[derive(Debug)]
pub struct Parts {
    /// The program's own version.
    pub version: &'static str,
    /// The data directory.
    pub data: PathBuf,
    /// `server.toml`, as it was at start.
    pub config: Config,
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// Local time, for logs that people read.
    pub zone: TimeZone,
    /// What the site wants, what its servers run.
    pub site: SiteState,
    /// The two switches.
    pub switches: Switches,
    /// The vendor's releases.
    pub mirror: Arc<Mirror>,
    /// "Ask again, now".
    pub push: Arc<Switchboard>,
    /// How often somebody may try.
    pub limits: Limits,
    /// Where mail passwords are checked.
    pub mail_login: MailLogin,
    /// What the mail server is answered at each login.
    pub mail_gate: Gate,
    /// Where the mail is, as connectors are told.
    pub mail: MailServer,
    /// What travels beside an installer.
    pub profile: SiteProfile,
    /// The vendor's pinned root, verbatim; it travels there too.
    pub vendor_root: Vec<u8>,
    /// Downloads of the integration page.
    pub bundles: Bundles,
    /// `logs/warning.log`.
    pub warning_log: WarningLog,
    /// For asking servers their version.
    pub http: reqwest::Client,
    /// What a browser may say as `Origin`.
    pub origins: Vec<String>,
    /// What is wrong at the moment, by what it is about.
    pub problems: Mutex<BTreeMap<String, String>>,
    /// Becomes true when the server stops.
    pub stop: watch::Receiver<bool>,
}

/// All parts, shared. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct App(Arc<Parts>);

impl App {
    /// Shares the parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.clock.0)()
    }

    /// Every release that is mirrored; none before the first one is.
    pub fn catalog(&self) -> Catalog {
        self.mirror.current().map(|served| served.catalog().clone()).unwrap_or_default()
    }

    /// Where the installers are.
    pub fn integration_page(&self) -> String {
        format!("{}/integration", self.config.url)
    }

    /// Says what is wrong about something, or that nothing is.
    pub fn set_problem(&self, about: &str, problem: Option<String>) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        match problem {
            Some(text) => problems.insert(about.to_owned(), text),
            None => problems.remove(about),
        };
    }

    /// What is wrong at the moment, in words.
    pub fn problems(&self) -> Vec<String> {
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<String> = problems.iter().map(|(about, text)| format!("{about}: {text}")).collect();
        all.extend(self.mirror.problem().map(|text| format!("vendor's releases: {text}")));
        match self.mirror.current() {
            None if self.mirror.problem().is_none() => all.push("vendor's releases: not mirrored yet".into()),
            Some(served) => all.extend(freshness(served.expires(), self.now())),
            None => {}
        }
        all
    }

    /// Waits for a time; `true` at once when the server stops.
    pub async fn stopping(&self, wait: Duration) -> bool {
        let mut stop = self.stop.clone();
        let stopped = stop.wait_for(|stop| *stop);
        tokio::time::timeout(wait, stopped).await.is_ok()
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// A path of the configuration: relative ones start at the data directory.
pub fn resolve(data: &Path, path: &Path) -> PathBuf {
    data.join(path)
}

/// Days before the vendor's metadata expires from which on the administrator is told.
const WARN_DAYS: i64 = 7;

/// What is to be said of the vendor's metadata, ahead of its expiry and after it.
fn freshness(expires: Timestamp, now: Timestamp) -> Option<String> {
    let hours = expires.duration_since(now).as_hours();
    if expires <= now {
        Some(format!("vendor's releases: the metadata expired on {expires}; PCs stage nothing new"))
    } else if hours < WARN_DAYS * 24 {
        let left = if hours < 48 { format!("{hours} hours") } else { format!("{} days", hours / 24) };
        Some(format!(
            "vendor's releases: the metadata expires in {left}, on {expires}, and PCs stage nothing new then; the vendor \
             should have renewed it"
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_administrator_is_told_a_week_before_the_metadata_expires() {
        let now: Timestamp = "2026-05-04T11:00:00Z".parse().unwrap();
        let said = |expires: &str| freshness(expires.parse().unwrap(), now);
        assert_eq!(said("2026-05-11T11:00:00Z"), None);
        assert!(said("2026-05-11T10:00:00Z").unwrap().contains("expires in 6 days, on 2026-05-11T10:00:00Z"));
        assert!(said("2026-05-04T11:00:01Z").unwrap().contains("expires in 0 hours"));
        assert!(said("2026-05-04T11:00:00Z").unwrap().contains("expired on"));
    }
}
