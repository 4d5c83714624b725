//! `[download]`: how this PC fetches packages.

use std::{fmt, path::PathBuf, time::Duration};

use reqwest::Url;
use serde::Deserialize;

/// The section. Every key is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Everything that the service asks of other computers goes through this proxy. `None`: directly.
    pub proxy: Option<ProxyAddress>,
    /// What is reached without the proxy all the same: a host with everything below it, an address, a network such as
    /// `10.0.0.0/8`.
    pub no_proxy: Vec<Host>,
    /// Where packages are looked for before anywhere else.
    pub sources: Vec<SourceAddress>,
    /// A file with certificates in PEM that are believed of `sources` and of the site's alternate addresses, besides the
    /// system's authorities and the site's own certificate.
    pub certificates: Option<PathBuf>,
    /// The most that packages may take of the line. `None`: no limit.
    pub bytes_per_second: Option<Bandwidth>,
    /// Bytes that downloads and installed versions may take together. `None`: what the disk has.
    pub max_disk: Option<u64>,
    /// Staging begins at a random moment within this time. `None`: as the site says.
    pub start_jitter: Option<Jitter>,
}

/// An HTTP proxy (RFC 9110, section 9.3.6: `CONNECT`), perhaps with a user's name and password, which are never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ProxyAddress(Url);

impl ProxyAddress {
    /// With name and password.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}:{:?}",
            self.0.scheme(),
            self.0.host_str().unwrap_or_default(),
            self.0.port_or_known_default()
        )
    }
}

impl TryFrom<String> for ProxyAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // The text may hold a password, so it is not repeated.
        let explain =
            "proxy: write http://HOST:PORT, if need be http://USER:PASSWORD@HOST:PORT; other kinds are not spoken";
        let url = Url::parse(&text).map_err(|_| explain)?;
        let plain = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if url.scheme() != "http" || !url.has_host() || !plain {
            return Err(explain.into());
        }
        Ok(Self(url))
    }
}

/// A host name, a domain, an address or a network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Host(String);

impl Host {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let known = |b: u8| b.is_ascii_alphanumeric() || b".-_:/*".contains(&b);
        if text.is_empty() || text.len() > 253 || !text.bytes().all(known) {
            return Err(format!(
                "no_proxy: {text:?} is not accepted; write a host, a domain, an address or a network, such as mail.example.com or 10.0.0.0/8"
            ));
        }
        Ok(Self(text))
    }
}

/// A directory that holds what the site's `tuf/targets` holds. Plain HTTP counts only when the administrator of this PC writes
/// it: packages are verified whatever they come over, but everybody on the way sees which.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SourceAddress(Url);

impl SourceAddress {
    /// The directory's address.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl TryFrom<String> for SourceAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let explain = || {
            format!(
                "sources: {text:?} is not accepted; write https://HOST/PATH or http://HOST/PATH, without a password, ? or #"
            )
        };
        let url = Url::parse(&text).map_err(|_| explain())?;
        if !matches!(url.scheme(), "http" | "https") || !is_directory(&url) {
            return Err(explain());
        }
        Ok(Self(url))
    }
}

/// Whether paths can be added to it.
pub(crate) fn is_directory(url: &Url) -> bool {
    url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

/// Bytes a second, at least [`Bandwidth::LEAST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Bandwidth(u64);

impl Bandwidth {
    /// Less would take days for a package, and could not be told from a source that stalls.
    pub const LEAST: u64 = 1024;

    /// Bytes a second.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Bandwidth {
    type Error = String;

    fn try_from(rate: u64) -> Result<Self, String> {
        if rate < Self::LEAST {
            return Err(format!("bytes_per_second: {rate} is too little; at least {} are accepted", Self::LEAST));
        }
        Ok(Self(rate))
    }
}

/// Up to a day, written as `10 minutes` or `90 s`; `0 s` for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Jitter(Duration);

impl Jitter {
    /// As the standard library's type.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl TryFrom<String> for Jitter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let explain =
            || format!("start_jitter: {text:?} is not accepted; write \"10 minutes\" or \"90 s\", at most a day");
        let span: jiff::Span = text.trim().parse().map_err(|_| explain())?;
        let exact = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| explain())?;
        let length = Duration::try_from(exact).map_err(|_| explain())?;
        if length > Duration::from_secs(24 * 3600) {
            return Err(explain());
        }
        Ok(Self(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read() {
        let text = br#"[download]
            proxy = "http://kim:secret@proxy.example.com:3128"
            no_proxy = ["mail.example.com", "10.0.0.0/8"]
            sources = ["https://cdn.example.com/lockstep/targets", "http://10.1.2.3:8080"]
            certificates = "/etc/lockstep/cdn.pem"
            bytes_per_second = 500_000
            max_disk = 2_000_000_000
            start_jitter = "10 minutes"
        "#;
        let read = crate::settings::parse(text).unwrap().download;
        assert_eq!(read.proxy.as_ref().unwrap().url().password(), Some("secret"));
        assert_eq!(read.no_proxy.iter().map(Host::as_str).collect::<Vec<_>>(), ["mail.example.com", "10.0.0.0/8"]);
        assert_eq!(read.sources[1].url().as_str(), "http://10.1.2.3:8080/");
        assert_eq!(read.bytes_per_second.unwrap().get(), 500_000);
        assert_eq!(read.max_disk, Some(2_000_000_000));
        assert_eq!(read.start_jitter.unwrap().get(), Duration::from_secs(600));
        assert!(!format!("{read:?}").contains("secret"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            r#"proxy = "socks5://proxy:1080""#,
            r#"proxy = "https://proxy:3128""#,
            r#"proxy = "http://proxy:3128/path""#,
            r#"proxy = """#,
            r#"no_proxy = ["a b"]"#,
            r#"no_proxy = ["a,b"]"#,
            r#"sources = ["file:///srv/targets"]"#,
            r#"sources = ["https://kim:secret@cdn.example.com/"]"#,
            r#"sources = ["https://cdn.example.com/?x"]"#,
            "bytes_per_second = 1023",
            "bytes_per_second = -1",
            "max_disk = \"much\"",
            r#"start_jitter = "25 hours""#,
            r#"start_jitter = "-1 s""#,
        ] {
            let error = crate::settings::parse(format!("[download]\n{bad}\n").as_bytes()).unwrap_err();
            assert!(error.contains("line 2"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_password_is_not_repeated_in_an_error() {
        for bad in [
            "proxy = \"socks5://kim:secret@proxy:1080\"",
            "proxi = \"http://kim:secret@proxy\"",
            "proxy = \"http://secret",
        ] {
            let error = crate::settings::parse(format!("[download]\n{bad}\n").as_bytes()).unwrap_err();
            assert!(error.starts_with("line 2: ") && !error.contains("secret"), "{error}");
        }
    }
}
