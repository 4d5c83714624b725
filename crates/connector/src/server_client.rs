//! Talks to the site's server: login, check-in, and the event stream that says "check in again, now".
//!
//! | attack | answer |
//! |---|---|
//! | another server in between | the profile's certificate, or the system's authorities (see [`tls_trust`]) |
//! | a redirect to somewhere else, or to plain text | redirects are not followed; an address that is not `https` is refused |
//! | an answer without end | [`MAX_ANSWER`] bytes |
//! | a proxy from the environment | not used |

use std::time::Duration;

use protocol::{
    message::{ConnectorCheckIn, ConnectorDirective, Failure, KEEP_ALIVE_SECONDS, LoggedIn, Login, Push},
    site::SiteProfile,
};
use reqwest::{Client, Response, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use tls_trust::TlsTrustError;

use crate::sse::{SseError, SseParser};

/// Bytes of an answer, at most.
pub const MAX_ANSWER: u64 = 256 * 1024;

/// How long a request may take: long enough for a busy server, short enough for a start.
const REQUEST: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(4);

/// Why the site's server gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The profile's address is not `https`.
    #[error("the site's server has the address {0:?}, which is not https; ask the administrator for a new site.json")]
    BadAddress(String),
    /// The profile's certificate is of no use.
    #[error("the certificate that the site names cannot be used; ask the administrator for a new site.json")]
    Tls(#[from] TlsTrustError),
    /// It cannot be reached, or the connection broke.
    #[error("the site's server cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// It answered "no", with its own words.
    #[error("the site's server refused: {error}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// What it said.
        error: String,
    },
    /// Its answer is too long.
    #[error("the site's server sent more than {0} bytes")]
    TooLong(u64),
    /// Its answer is not the message that was expected.
    #[error("the site's server sent an answer that is not understood")]
    Malformed(#[source] serde_json::Error),
    /// Its event stream is not one.
    #[error(transparent)]
    Stream(#[from] SseError),
    /// Its event stream fell silent.
    #[error("the site's server gives no sign of life")]
    Silent,
}

impl ServerError {
    /// Whether the token is not (or no longer) good: the user must set the connector up again.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::UNAUTHORIZED)
    }
}

/// The site's server.
#[derive(Debug, Clone)]
pub struct ServerClient {
    http: Client,
    base: String,
}

impl ServerClient {
    /// For the server that the profile names.
    ///
    /// # Errors
    /// [`ServerError::BadAddress`], [`ServerError::Tls`].
    pub fn new(profile: &SiteProfile, version: &str) -> Result<Self, ServerError> {
        let base = profile.server.trim_end_matches('/').to_owned();
        if !base.starts_with("https://") {
            return Err(ServerError::BadAddress(base));
        }
        let http = Client::builder()
            .tls_backend_preconfigured(tls_trust::client_config(profile.certificate.as_deref())?)
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .user_agent(format!("lockstep-connector/{version}"))
            .build()
            .map_err(ServerError::Unreachable)?;
        Ok(Self { http, base })
    }

    /// Proves the mail account, once.
    ///
    /// # Errors
    /// [`ServerError`]; `Refused` for a wrong password.
    pub async fn login(&self, login: &Login) -> Result<LoggedIn, ServerError> {
        self.post("/v1/login", None, login).await
    }

    /// "This is me; may I go online?"
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn check_in(&self, token: &str, check_in: &ConnectorCheckIn) -> Result<ConnectorDirective, ServerError> {
        self.post("/v1/check-in/connector", Some(token), check_in).await
    }

    /// Opens the event stream.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn push(&self, token: &str) -> Result<PushStream, ServerError> {
        let request = self.http.get(format!("{}/v1/push/connector", self.base)).bearer_auth(token);
        let sending = request.header("accept", "text/event-stream").send();
        let response = tokio::time::timeout(REQUEST, sending)
            .await
            .map_err(|_| ServerError::Silent)?
            .map_err(ServerError::Unreachable)?;
        let response = successful(response).await?;
        Ok(PushStream { response, parser: SseParser::default(), ready: Vec::new() })
    }

    /// The transport, for packages.
    pub fn http(&self) -> &Client {
        &self.http
    }

    /// The address of something in the mirror of the vendor's repository.
    ///
    /// # Errors
    /// [`ServerError::BadAddress`] when the server's address cannot have paths.
    pub fn mirror(&self, path: &str) -> Result<reqwest::Url, ServerError> {
        let bad = || ServerError::BadAddress(self.base.clone());
        let mut url = reqwest::Url::parse(&self.base).map_err(|_| bad())?;
        url.path_segments_mut().map_err(|()| bad())?.pop_if_empty().push("tuf").extend(path.split('/'));
        Ok(url)
    }

    /// A small file of the mirror, such as TUF metadata, of at most `limit` bytes. `None`: there is none.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn small_file(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, ServerError> {
        let request = self.http.get(self.mirror(path)?).timeout(REQUEST);
        let response = request.send().await.map_err(ServerError::Unreachable)?;
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Ok(None),
            _ => whole(successful(response).await?, limit).await.map(Some),
        }
    }

    async fn post<A: DeserializeOwned>(
        &self,
        path: &str,
        token: Option<&str>,
        body: &impl Serialize,
    ) -> Result<A, ServerError> {
        let mut request = self.http.post(format!("{}{path}", self.base)).json(body).timeout(REQUEST);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = successful(request.send().await.map_err(ServerError::Unreachable)?).await?;
        serde_json::from_slice(&whole(response, MAX_ANSWER).await?).map_err(ServerError::Malformed)
    }
}

/// The event stream, open.
#[derive(Debug)]
pub struct PushStream {
    response: Response,
    parser: SseParser,
    ready: Vec<Push>,
}

impl PushStream {
    /// Waits for the next event.
    ///
    /// # Errors
    /// [`ServerError`]; `Silent` when no sign of life came for more than twice the promised time.
    pub async fn next(&mut self) -> Result<Push, ServerError> {
        let patience = Duration::from_secs(2 * KEEP_ALIVE_SECONDS + 15);
        loop {
            if let Some(push) = self.ready.pop() {
                return Ok(push);
            }
            let chunk = tokio::time::timeout(patience, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| ServerError::Silent)?.map_err(ServerError::Unreachable)?;
            let Some(chunk) = chunk else { return Err(ServerError::Silent) };
            for event in self.parser.push(&chunk)? {
                // Whatever an event says, it means the same: "check in again".
                let push = serde_json::from_str(&event.data).unwrap_or(Push { v: 1, why: String::new() });
                self.ready.push(push);
            }
        }
    }
}

async fn successful(response: Response) -> Result<Response, ServerError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = whole(response, MAX_ANSWER).await.unwrap_or_default();
    let error = match serde_json::from_slice::<Failure>(&body) {
        Ok(failure) => failure.error.chars().filter(|c| !c.is_control()).take(500).collect(),
        Err(_) => format!("HTTP {status}"),
    };
    Err(ServerError::Refused { status, error })
}

async fn whole(mut response: Response, limit: u64) -> Result<Vec<u8>, ServerError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(ServerError::Unreachable)? {
        body.extend_from_slice(&chunk);
        if body.len() as u64 > limit {
            return Err(ServerError::TooLong(limit));
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_tls_is_refused() {
        let profile: SiteProfile =
            serde_json::from_str(r#"{"v":1,"server":"http://mail.example.com","enrolment_key":"k"}"#).unwrap();
        assert!(matches!(ServerClient::new(&profile, "7.2.0"), Err(ServerError::BadAddress(_))));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_unreachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let profile: SiteProfile =
            serde_json::from_str(&format!(r#"{{"v":1,"server":"https://{address}","enrolment_key":"k"}}"#)).unwrap();
        let client = ServerClient::new(&profile, "7.2.0").unwrap();
        let error = client.push("token").await.unwrap_err();
        assert!(matches!(error, ServerError::Unreachable(_)), "{error:?}");
        assert!(!error.is_unauthorized());
    }
}
