//! HTTP clients as the administrator of this PC wants them: through a proxy or not. The environment is not asked.

use std::{fs, io, path::PathBuf, time::Duration};

use protocol::site::SiteProfile;
use reqwest::{ClientBuilder, NoProxy, Proxy, redirect};
use tls_trust::TlsTrustError;

use crate::settings::download::Settings;

/// Seconds until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);
/// A CDN may send its clients elsewhere so many times.
const MAX_REDIRECTS: usize = 3;
/// Bytes; a longer file of certificates is refused.
const MAX_CERTIFICATES: u64 = 1 << 20;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The proxy cannot be used.
    #[error("the proxy in updater.toml cannot be used")]
    Proxy(#[source] reqwest::Error),
    /// The certificates cannot be read.
    #[error("the certificates {path} cannot be read")]
    Certificates {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// They are none.
    #[error("TLS cannot be set up; are the certificates in updater.toml and site.json whole?")]
    Tls(#[from] TlsTrustError),
    /// The library refuses.
    #[error("no HTTP client can be made")]
    Client(#[source] reqwest::Error),
}

/// A client's proxy, from the machine's settings alone.
///
/// # Errors
/// [`TransportError::Proxy`].
pub fn through_proxy(builder: ClientBuilder, settings: &Settings) -> Result<ClientBuilder, TransportError> {
    // Without this, `https_proxy` and its like would count.
    let builder = builder.no_proxy();
    let Some(proxy) = &settings.proxy else {
        return Ok(builder);
    };
    let around: Vec<_> = settings.no_proxy.iter().map(|host| host.as_str()).collect();
    let proxy = Proxy::all(proxy.url().clone()).map_err(TransportError::Proxy)?;
    Ok(builder.proxy(proxy.no_proxy(NoProxy::from_string(&around.join(",")))))
}

/// Makes clients for places other than the site's server.
#[derive(Debug)]
pub struct Transport {
    settings: Settings,
    site: Option<String>,
}

impl Transport {
    /// `profile`: an alternate place may have a certificate of the site's own authority.
    pub fn new(settings: &Settings, profile: &SiteProfile) -> Self {
        Self { settings: settings.clone(), site: profile.certificate.clone() }
    }

    /// A client that believes the system's authorities, the site's certificate and those in the machine's settings. What it
    /// fetches is verified in any case.
    ///
    /// # Errors
    /// [`TransportError`].
    pub fn elsewhere(&self) -> Result<reqwest::Client, TransportError> {
        let mut named = self.site.clone().unwrap_or_default();
        if let Some(path) = &self.settings.certificates {
            let failed = |source| TransportError::Certificates { path: path.clone(), source };
            if fs::metadata(path).map_err(failed)?.len() > MAX_CERTIFICATES {
                return Err(failed(io::ErrorKind::FileTooLarge.into()));
            }
            named.push('\n');
            named.push_str(&fs::read_to_string(path).map_err(failed)?);
        }
        let named = Some(named).filter(|named| !named.trim().is_empty());
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls_trust::system_and(named.as_deref())?)
            .user_agent("lockstep-updater")
            .redirect(redirect::Policy::custom(follow))
            .referer(false)
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(0);
        through_proxy(builder, &self.settings)?.build().map_err(TransportError::Client)
    }
}

/// Only towards TLS, and not for ever.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    if attempt.url().scheme() != "https" {
        return attempt.error("a redirect to something else than https:// is not followed");
    }
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("too many redirects");
    }
    attempt.follow()
}
