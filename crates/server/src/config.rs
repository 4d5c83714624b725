//! `server.toml`: what the administrator chose. It is written, commented, at the first start; from then on it is the
//! administrator's. The program changes two values in it, the switches, and keeps everything else as it is.

mod downloads;
mod edit;
mod first_start;
mod mail_gate;
mod values;

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use protocol::{Version, policy::UpgradePolicy, product::ProductId};
use serde::Deserialize;

pub use downloads::Downloads;
pub use edit::set_switch;
pub use first_start::{FirstStart, Missing, template};
pub use mail_gate::{EndSessions, Loopback, MailGate, Placeholder};
pub use values::{HostPort, Interval, SiteUrl, VendorRepository};

/// The file's name in the data directory.
pub const FILE_NAME: &str = "server.toml";

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there, or not readable.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file could not be replaced.
    #[error("cannot write {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not TOML, has a key that does not exist, or a value that is not accepted.
    #[error("{path} is not a valid configuration:\n{message}")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// The line, the key, and what is accepted.
        message: String,
    },
}

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen, such as `0.0.0.0:4443`.
    pub listen: SocketAddr,
    /// The address under which people and PCs reach this server.
    pub url: SiteUrl,
    /// The site's name for people.
    #[serde(default)]
    pub name: String,
    /// Certificate and key.
    #[serde(default)]
    pub tls: Tls,
    /// Whose releases.
    pub vendor: Vendor,
    /// The protected mail server.
    pub mail: Mail,
    /// What is managed.
    pub products: BTreeMap<ProductId, Product>,
    /// Readiness reports.
    #[serde(default)]
    pub readiness: Readiness,
    /// Anonymous statistics for the vendor.
    #[serde(default)]
    pub statistics: Statistics,
    /// How often the site's PCs come by.
    #[serde(default)]
    pub clients: Clients,
    /// Where they fetch packages.
    #[serde(default)]
    pub downloads: Downloads,
    /// What the mail server asks at each login.
    #[serde(default)]
    pub mail_gate: MailGate,
}

/// Certificate and key, in PEM. Relative paths start at the data directory.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Default for Tls {
    fn default() -> Self {
        Self { certificate: "tls/cert.pem".into(), key: "tls/key.pem".into() }
    }
}

/// Whose releases are mirrored.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vendor {
    /// The TUF repository: an address or a directory.
    pub repository: VendorRepository,
    /// The pinned `root.json`.
    #[serde(default = "vendor_root")]
    pub root: PathBuf,
    /// How often the vendor is asked for news.
    #[serde(default = "an_hour")]
    pub refresh_every: Interval,
}

/// The mail server that the connectors talk to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// IMAP over TLS (RFC 8314).
    pub imap: HostPort,
    /// Message submission (RFC 6409).
    pub submission: HostPort,
    /// Whether submission begins in plain text and goes on with STARTTLS (RFC 3207).
    #[serde(default)]
    pub submission_starttls: bool,
    /// A CA, or the server's own certificate, in PEM. `None`: the system's authorities.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Where people read mail in a browser.
    #[serde(default)]
    pub webmail: Option<SiteUrl>,
}

/// One managed product.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// What the administrator calls the server that this product belongs to.
    #[serde(default = "the_mail_server")]
    pub server_name: String,
    /// When and how upgrades are carried out.
    #[serde(default)]
    pub policy: UpgradePolicy,
    /// Nothing is offered while it is set.
    #[serde(default)]
    pub hold: bool,
    /// The server version that PCs prepare for. `None`: the newest one that a release is made for.
    #[serde(default)]
    pub next: Option<Version>,
    /// Where the server's version comes from.
    #[serde(default)]
    pub server_version: VersionSource,
}

/// Where the server's version comes from: a command, an address, or, with neither, whoever calls
/// `lockstep server-version set`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, try_from = "values::RawSource")]
pub struct VersionSource {
    /// Which of the three.
    pub kind: SourceKind,
    /// How often it is asked.
    pub every: Interval,
    /// When an answer is given up.
    pub timeout: Interval,
}

/// The three sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SourceKind {
    /// A program and its arguments, run without a shell; the first version in its output counts.
    Probe(Vec<String>),
    /// An address; the first version in the answer counts.
    Url(SiteUrl),
    /// Somebody tells us.
    #[default]
    Pushed,
}

/// Readiness reports: who would be cut off, by name. They never leave the site.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Readiness {
    /// Without it no names are stored and no report is written.
    pub enabled: bool,
    /// How often the warning log is written.
    pub report_every: Interval,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { enabled: true, report_every: Interval::from_seconds(14 * 24 * 3600) }
    }
}

/// Anonymous statistics for the vendor.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Statistics {
    /// Whether they may be sent.
    pub contribute: bool,
}

/// How often the site's PCs come by.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clients {
    /// The longest time between two check-ins; news are pushed in between.
    pub check_in_every: Interval,
    /// The shortest time between two prompts for the administrator's password on a PC without an updater. `None`: the
    /// upgrade policy says ([`UpgradePolicy::ask_again_after`]).
    pub ask_again: Option<Interval>,
}

impl Default for Clients {
    fn default() -> Self {
        Self { check_in_every: Interval::from_seconds(300), ask_again: None }
    }
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError::Read`]; [`ConfigError::Invalid`], which names the line, the key, and what is accepted.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(&text).map_err(|message| ConfigError::Invalid { path: path.into(), message })
    }

    /// Reads the text of a configuration file.
    ///
    /// # Errors
    /// The line, the key, and what is accepted, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }
}

fn vendor_root() -> PathBuf {
    "vendor-root.json".into()
}

fn an_hour() -> Interval {
    Interval::from_seconds(3600)
}

fn the_mail_server() -> String {
    "the mail server".into()
}

#[cfg(test)]
mod tests;
