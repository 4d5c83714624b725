//! The kinds of value in `server.toml`, each read once and then known to be good.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use serde::Deserialize;

use super::{SourceKind, VersionSource};

/// A time between two events, at least one second, written as `14 days`, `5 minutes` or `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Interval(Duration);

impl Interval {
    /// So many seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// As the standard library's type.
    pub fn get(self) -> Duration {
        self.0
    }

    /// Whole seconds.
    pub fn seconds(self) -> u64 {
        self.0.as_secs()
    }
}

impl Default for Interval {
    fn default() -> Self {
        Self::from_seconds(5)
    }
}

impl TryFrom<String> for Interval {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let explain =
            || format!("{text:?} is not a length of time; write it as \"14 days\", \"5 minutes\" or \"30 s\"");
        let span: jiff::Span = text.trim().parse().map_err(|_| explain())?;
        let exact = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| explain())?;
        let duration = Duration::try_from(exact).map_err(|_| explain())?;
        let longest = Duration::from_secs(10 * 366 * 24 * 3600);
        if duration < Duration::from_secs(1) || duration > longest {
            return Err(format!("{text:?} is out of range; from \"1 second\" to ten years are accepted"));
        }
        Ok(Self(duration))
    }
}

/// `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HostPort {
    /// A name or an address, without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let explain = || format!("{text:?} is not accepted; write host:port, such as mail.example.com:993");
        let (host, port) = text.rsplit_once(':').ok_or_else(explain)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port: u16 = port.parse().map_err(|_| explain())?;
        let plain = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:".contains(&b));
        if !plain || port == 0 {
            return Err(explain());
        }
        Ok(Self { host: host.into(), port })
    }
}

impl TryFrom<String> for HostPort {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// An `https://` or `http://` address, without a `/` at its end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SiteUrl(reqwest::Url);

impl SiteUrl {
    /// As text, without a `/` at its end.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The host's name or address, without a port.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// What a browser sends as `Origin`: scheme, host, and port where it is not the usual one.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }
}

impl FromStr for SiteUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let explain = || format!("{text:?} is not accepted; write an address such as https://mail.example.com:4443");
        let url = reqwest::Url::parse(text.trim()).map_err(|_| explain())?;
        let plain = matches!(url.scheme(), "https" | "http")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none();
        if plain { Ok(Self(url)) } else { Err(explain()) }
    }
}

impl TryFrom<String> for SiteUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for SiteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where the vendor's TUF repository is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum VendorRepository {
    /// On a web server.
    Url(SiteUrl),
    /// In a directory, such as a mounted share.
    Directory(PathBuf),
}

impl FromStr for VendorRepository {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("http://") || text.starts_with("https://") {
            return text.parse().map(Self::Url);
        }
        if text.is_empty() || text.contains("://") {
            return Err(format!("{text:?} is not accepted; write an http(s) address or a directory"));
        }
        Ok(Self::Directory(text.into()))
    }
}

impl TryFrom<String> for VendorRepository {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for VendorRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
            Self::Directory(path) => path.display().fmt(f),
        }
    }
}

/// As written, before it is known that at most one source is named.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    probe: Option<Vec<String>>,
    url: Option<SiteUrl>,
    #[serde(default)]
    every: Interval,
    #[serde(default)]
    timeout: Interval,
}

impl TryFrom<RawSource> for VersionSource {
    type Error = &'static str;

    fn try_from(raw: RawSource) -> Result<Self, Self::Error> {
        let kind = match (raw.probe, raw.url) {
            (Some(_), Some(_)) => {
                return Err("name either probe or url, not both: a server's version has one source");
            }
            (Some(argv), None) if argv.is_empty() => {
                return Err(
                    "probe is a list of the program and its arguments, such as [\"/usr/sbin/dovecot\", \"--version\"]",
                );
            }
            (Some(argv), None) => SourceKind::Probe(argv),
            (None, Some(url)) => SourceKind::Url(url),
            (None, None) => SourceKind::Pushed,
        };
        Ok(Self { kind, every: raw.every, timeout: raw.timeout })
    }
}
