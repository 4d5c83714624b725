//! The site's server over TLS: enrolment, signed check-ins, the push stream, metadata.
//!
//! | attack | answer |
//! |---|---|
//! | another server in the middle | the site profile's certificate is the only one that is trusted, where it names one |
//! | a redirect to plain HTTP or elsewhere | redirects are not followed, only `https://` is spoken |
//! | a proxy set in the environment | the environment is not asked, only the machine's own settings |
//! | an endless or stalled answer | every answer has a limit in bytes and in time |
//! | a request sent again by somebody else | signed with a sequence number; one signed request at a time, so numbers arrive in order |

use std::{path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use ed25519_dalek::SigningKey;
use protocol::{
    Version,
    device::Device,
    message::{
        DEVICE_HEADER, DeviceCheckIn, DeviceDirectives, Enrol, Enrolled, Failure, PushHello, SIGNATURE_HEADER, V,
    },
    product::Platform,
    site::SiteProfile,
};
use reqwest::{Response, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use tls_trust::TlsTrustError;
use tokio::sync::{Mutex, watch};

use crate::{
    download::transport::{TransportError, through_proxy},
    identity::{Identity, IdentityError, TicketOffice},
    push::PushStream,
    settings::download::Settings,
    slots::Disk,
};

/// Bytes of an answer to a check-in.
const MAX_ANSWER: u64 = 1 << 20;
/// Bytes of the id that the server gives.
const MAX_DEVICE: usize = 128;
/// Seconds for a whole request and its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Seconds until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);

/// Why the server did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection, no TLS, or it broke off.
    #[error("the site's server {server} cannot be reached")]
    Unreachable {
        /// Its address.
        server: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It says no.
    #[error("the site's server answers {status}: {error}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// Its reason.
        error: String,
    },
    /// Its answer is not understood.
    #[error("the site's server gave an answer that is not understood")]
    Malformed(#[source] serde_json::Error),
    /// Its answer has no end.
    #[error("the site's server gave an answer longer than {0} bytes")]
    TooLong(u64),
    /// The id that it gives cannot be sent back in a header: kept, it would fail every request from then on.
    #[error("the site's server gave this PC an id that cannot be used")]
    BadDevice,
    /// This PC's identity is not usable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The site profile's certificate cannot be used, or it names none and the system's authorities cannot be read.
    #[error("TLS towards the site's server cannot be set up; is the certificate in site.json whole?")]
    Tls(#[from] TlsTrustError),
    /// The proxy in this PC's settings cannot be used.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The site profile cannot be used.
    #[error("the site profile's {0} cannot be used")]
    Profile(&'static str),
}

impl ClientError {
    /// Whether the server, or what stands in its place, was reached, but not understood, or did not understand: the sign of a
    /// program that cannot speak to it. A network that is down is none, nor is a server that has trouble of its own.
    pub fn is_misunderstanding(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => is_misunderstood(source),
            Self::Refused { status, .. } => {
                let busy = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(status);
                (status.is_client_error() || status.is_redirection()) && !busy
            }
            Self::Malformed(_) | Self::TooLong(_) | Self::BadDevice => true,
            Self::Identity(_) | Self::Tls(_) | Self::Transport(_) | Self::Profile(_) => false,
        }
    }
}

/// TLS that both sides begin and do not finish, or an answer that is not HTTP. Whatever the system says of the connection itself
/// is the network's.
fn is_misunderstood(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |e| e.source());
    let mut of_the_network = error.is_connect() || error.is_timeout();
    for cause in causes {
        if tls_trust::is_tls_error(cause) {
            return true;
        }
        of_the_network |= cause.is::<std::io::Error>();
    }
    !of_the_network
}

mod lean;

/// The site's server, as this PC sees it.
pub struct Server {
    http: reqwest::Client,
    profile: SiteProfile,
    base: String,
    hostname: String,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    identity: Mutex<Option<Identity>>,
    tickets: watch::Sender<Option<TicketOffice>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Server {
    /// A server to talk to; `identity` is the file that this PC's identity is kept in. Opens no connection.
    ///
    /// # Errors
    /// [`ClientError::Profile`], [`ClientError::Identity`].
    pub fn new(
        profile: SiteProfile,
        settings: &Settings,
        hostname: String,
        version: &Version,
        identity: PathBuf,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, ClientError> {
        let http = http(&profile, settings, version)?;
        let found = Identity::read(identity.clone(), disk.clone())?;
        let tickets = watch::Sender::new(found.as_ref().map(Identity::tickets));
        let base = profile.server.trim_end_matches('/').to_owned();
        Ok(Self { http, profile, base, hostname, path: identity, disk, identity: Mutex::new(found), tickets })
    }

    /// The transport, for packages.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Vouches for local users, once this PC is enrolled.
    pub fn tickets(&self) -> watch::Receiver<Option<TicketOffice>> {
        self.tickets.subscribe()
    }

    /// The address of something in the mirror of the vendor's repository.
    ///
    /// # Errors
    /// [`ClientError::Profile`] when the server's address cannot have paths.
    pub fn mirror(&self, path: &str) -> Result<reqwest::Url, ClientError> {
        let mut url = reqwest::Url::parse(&self.base).map_err(|_| ClientError::Profile("server address"))?;
        url.path_segments_mut()
            .map_err(|()| ClientError::Profile("server address"))?
            .pop_if_empty()
            .push("tuf")
            .extend(path.split('/'));
        Ok(url)
    }

    /// Tells the server where this PC stands, and is told what to do. Enrols first, if need be.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn check_in(&self, mut device: Device) -> Result<DeviceDirectives, ClientError> {
        let mut slot = self.identity.lock().await;
        let identity = self.enrolled(&mut slot).await?;
        device.id = identity.device().to_owned();
        let body = DeviceCheckIn { v: V, seq: identity.next_seq()?, device };
        let response = self.signed(identity, "/v1/check-in/device", &body, Some(PATIENCE)).await?;
        drop(slot);
        self.answer(response).await
    }

    /// Opens the stream on which the server says "check in again, now".
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn open_push(&self) -> Result<PushStream, ClientError> {
        let mut slot = self.identity.lock().await;
        let identity = self.enrolled(&mut slot).await?;
        let body = PushHello { v: V, seq: identity.next_seq()? };
        let opening = self.signed(identity, "/v1/push/device", &body, None);
        let response = match tokio::time::timeout(PATIENCE, opening).await {
            Ok(response) => response?,
            Err(_) => {
                let error = "no answer".into();
                return Err(ClientError::Refused { status: StatusCode::GATEWAY_TIMEOUT, error });
            }
        };
        drop(slot);
        if response.status().is_success() { Ok(PushStream::new(response)) } else { Err(self.refusal(response).await) }
    }

    /// Fetches a small file, such as TUF metadata. `None`: there is none.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn small_file(&self, url: reqwest::Url, limit: u64) -> Result<Option<Vec<u8>>, ClientError> {
        let response = self.http.get(url).timeout(PATIENCE).send().await.map_err(|e| self.unreachable(e))?;
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Ok(None),
            status if status.is_success() => self.body(response, limit).await.map(Some),
            _ => Err(self.refusal(response).await),
        }
    }

    async fn enrolled<'a>(&self, slot: &'a mut Option<Identity>) -> Result<&'a mut Identity, ClientError> {
        match slot {
            Some(identity) => Ok(identity),
            empty => {
                let identity = self.enrol().await?;
                self.tickets.send_replace(Some(identity.tickets()));
                Ok(empty.insert(identity))
            }
        }
    }

    /// Makes a key for this enrolment: nothing about it comes from the hardware.
    async fn enrol(&self) -> Result<Identity, ClientError> {
        let key = SigningKey::from_bytes(&rand::random());
        let body = Enrol {
            v: V,
            enrolment_key: self.profile.enrolment_key.clone(),
            public_key: BASE64_STANDARD.encode(key.verifying_key().to_bytes()),
            hostname: self.hostname.clone(),
            platform: Platform::current(),
        };
        let url = format!("{}/v1/enrol", self.base);
        let response =
            self.http.post(url).timeout(PATIENCE).json(&body).send().await.map_err(|e| self.unreachable(e))?;
        let enrolled: Enrolled = self.answer(response).await?;
        if !is_usable(&enrolled.device) {
            return Err(ClientError::BadDevice);
        }
        tracing::info!(device = enrolled.device, "enrolled at {}", self.base);
        Ok(Identity::create(self.path.clone(), self.disk.clone(), enrolled.device, key)?)
    }

    async fn signed(
        &self,
        identity: &Identity,
        path: &str,
        body: &impl Serialize,
        patience: Option<Duration>,
    ) -> Result<Response, ClientError> {
        let body = lean::to_vec(body).map_err(ClientError::Malformed)?;
        let mut request = self
            .http
            .post(format!("{}{path}", self.base))
            .header(header::CONTENT_TYPE, "application/json")
            .header(DEVICE_HEADER, identity.device())
            .header(SIGNATURE_HEADER, identity.sign(path, &body))
            .body(body);
        if let Some(patience) = patience {
            request = request.timeout(patience);
        }
        request.send().await.map_err(|e| self.unreachable(e))
    }

    async fn answer<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let body = self.body(response, MAX_ANSWER).await?;
        serde_json::from_slice(&body).map_err(ClientError::Malformed)
    }

    async fn refusal(&self, response: Response) -> ClientError {
        let status = response.status();
        let said = self.body(response, 8 * 1024).await.ok();
        let error = said.and_then(|body| serde_json::from_slice::<Failure>(&body).ok());
        let error = error.map_or_else(|| "no reason given".into(), |f| f.error.chars().take(500).collect());
        ClientError::Refused { status, error }
    }

    async fn body(&self, mut response: Response, limit: u64) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(|e| self.unreachable(e))? {
            if (body.len() + bytes.len()) as u64 > limit {
                return Err(ClientError::TooLong(limit));
            }
            body.extend_from_slice(&bytes);
        }
        Ok(body)
    }

    fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable { server: self.base.clone(), source: source.without_url() }
    }
}

/// An id is kept for good, so one that no request could carry must never be.
fn is_usable(device: &str) -> bool {
    (1..=MAX_DEVICE).contains(&device.len()) && device.bytes().all(|b| b.is_ascii_graphic())
}

fn http(profile: &SiteProfile, settings: &Settings, version: &Version) -> Result<reqwest::Client, ClientError> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls_trust::client_config(profile.certificate.as_deref())?)
        .user_agent(format!("lockstep-updater/{version}"))
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT)
        .pool_max_idle_per_host(1)
        .tcp_keepalive(Duration::from_secs(120));
    through_proxy(builder, settings)?.build().map_err(|_| ClientError::Profile("certificate"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::slots::RealDisk;

    fn server(address: &str, certificate: Option<&str>) -> Result<Server, ClientError> {
        let profile = SiteProfile {
            v: 1,
            server: address.into(),
            certificate: certificate.map(str::to_owned),
            enrolment_key: "key".into(),
            name: String::new(),
            policy: None,
        };
        let nowhere = PathBuf::from("/nonexistent/identity.json");
        Server::new(profile, &Settings::default(), "pc".into(), &Version::new(0, 1, 0), nowhere, Arc::new(RealDisk))
    }

    #[test]
    fn a_target_path_stays_a_path_whatever_is_in_it() {
        let server = server("https://mail.example.test:4443/", None).unwrap();
        for (path, url) in [
            ("metadata/1.root.json", "https://mail.example.test:4443/tuf/metadata/1.root.json"),
            ("targets/connector/ab.c.lpk", "https://mail.example.test:4443/tuf/targets/connector/ab.c.lpk"),
            ("targets/a?b#c d", "https://mail.example.test:4443/tuf/targets/a%3Fb%23c%20d"),
        ] {
            assert_eq!(server.mirror(path).unwrap().as_str(), url);
        }
    }

    #[test]
    fn an_id_that_no_request_could_carry_is_never_kept() {
        assert!(is_usable("d-0f3a"));
        for bad in ["", "a b", "a\nb", "\u{fc}", &"x".repeat(129)] {
            assert!(!is_usable(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_profile_whose_certificate_is_none_is_refused_and_not_replaced_by_the_systems_authorities() {
        for text in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(server("https://mail.example.test", Some(text)).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn plain_http_is_not_spoken() {
        let server = server("https://mail.example.test", None).unwrap();
        let url = "http://127.0.0.1:9/metadata".parse().unwrap();
        let error = crate::words(&server.small_file(url, 10).await.unwrap_err());
        assert!(error.contains("URL scheme is not allowed"), "{error}");
    }
}
