//! The server's administration interface, over HTTP with the token from `admin.json`.

use std::{fs, io, path::Path, time::Duration};

use anyhow::{Context, bail};
use protocol::message::Failure;
use reqwest::{Client, Method};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use crate::terminal::plain;

/// Bytes; a longer answer is refused.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Seconds until a request is given up. A preflight of a large site takes a while.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What the server leaves beside its data for this tool.
#[derive(Deserialize)]
struct AdminFile {
    url: String,
    #[serde(default)]
    certificate: Option<String>,
    token: String,
}

/// The site's server.
pub struct Server {
    url: String,
    token: String,
    client: Client,
}

impl Server {
    /// Reads `admin.json` in the server's data directory.
    pub fn open(data: &Path) -> anyhow::Result<Self> {
        let path = data.join("admin.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => bail!(
                "{} does not exist: give the server's data directory with --data DIR or LOCKSTEP_DATA, and start the \
                 server once",
                path.display()
            ),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                bail!("{} is for the server's account and root only: run this as one of them", path.display())
            }
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
        };
        let file: AdminFile =
            serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
        let client = http_client(file.certificate.as_deref())
            .with_context(|| format!("the certificate in {} cannot be used", path.display()))?;
        Ok(Self { url: file.url.trim_end_matches('/').to_owned(), token: file.token, client })
    }

    /// Asks.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.send(Method::GET, path, None::<&()>).await
    }

    /// Tells.
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<T> {
        let mut request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let exchange = async {
            let mut response = request.send().await?;
            let status = response.status();
            let mut bytes = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                if bytes.len() + chunk.len() > MAX_ANSWER {
                    bail!("the answer is longer than {MAX_ANSWER} bytes");
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok((status, bytes))
        };
        let answer = timeout(TIMEOUT, exchange).await.context("no answer in two minutes");
        let (status, bytes) = answer
            .and_then(|a| a)
            .with_context(|| format!("cannot reach lockstep-server at {}; is it running?", plain(&self.url)))?;
        if !status.is_success() {
            let why = serde_json::from_slice::<Failure>(&bytes).map(|f| plain(&f.error)).unwrap_or_default();
            bail!("lockstep-server refused ({status}): {}", if why.is_empty() { "no reason given" } else { &why });
        }
        let bytes = if bytes.is_empty() { b"null".as_slice() } else { &bytes };
        serde_json::from_slice(bytes).context("lockstep-server's answer cannot be read; are both of the same release?")
    }
}

/// Trusts the pinned certificate alone where there is one, else the system's authorities. Follows no redirects.
pub fn http_client(certificate: Option<&str>) -> anyhow::Result<Client> {
    let tls = tls_trust::client_config(certificate)?;
    let builder = Client::builder().tls_backend_preconfigured(tls);
    Ok(builder.redirect(reqwest::redirect::Policy::none()).connect_timeout(Duration::from_secs(10)).build()?)
}
