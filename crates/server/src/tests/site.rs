//! A site to test: a vendor's repository, a mail server's login, the server itself, and PCs.

pub mod mail;
pub mod pc;
pub mod vendor;

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    app::{App, Clock},
    start::{self, Flags},
};

/// A running site. Its clock stands still until a test moves it.
pub struct Site {
    pub app: App,
    pub base: String,
    pub client: Client,
    pub token: String,
    pub password: String,
    pub vendor: vendor::Vendor,
    pub dir: TempDir,
    clock: Arc<Mutex<Timestamp>>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Site {
    /// With connector 7.2.0 and 7.3.0 and updater 0.1.0 published, and a server that runs 7.2.0.
    pub async fn start() -> Self {
        let site = Self::with(&[
            ("connector", "7.2.0", ">=7.2, <7.3"),
            ("connector", "7.3.0", ">=7.3, <7.4"),
            ("updater", "0.1.0", "*"),
        ])
        .await;
        site.server_runs("7.2.0").await;
        site
    }

    /// With these releases published, and mirrored.
    pub async fn with(releases: &[(&str, &str, &str)]) -> Self {
        Self::with_probe(releases, None).await
    }

    /// As [`Site::with`]; the server's version comes from a probe command.
    pub async fn with_probe(releases: &[(&str, &str, &str)], probe: Option<String>) -> Self {
        crate::tls::install_provider();
        let dir = tempfile::tempdir().unwrap();
        let vendor = vendor::Vendor::new(&dir.path().join("vendor"));
        vendor.publish(1, releases);
        let mail = mail::start(&dir.path().join("mail-ca.pem")).await;
        let listener = start::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let base = format!("https://localhost:{}", address.port());
        let data = dir.path().join("data");
        let config = data.join("server.toml");
        let flags = Flags {
            listen: Some(address),
            url: Some(base.parse().unwrap()),
            vendor: Some(vendor.repository().to_str().unwrap().parse().unwrap()),
            vendor_root: Some(vendor.root()),
            imap: Some(mail),
            submission: Some("localhost:10587".parse().unwrap()),
            mail_ca: Some(dir.path().join("mail-ca.pem")),
            webmail: Some("https://webmail.example.test".parse().unwrap()),
            probe,
            ..Flags::default()
        };
        start::first_start(&data, &config, &flags).unwrap();
        let clock = Arc::new(Mutex::new(Timestamp::now()));
        let tell = clock.clone();
        let (stop, stopped) = watch::channel(false);
        let opened = start::open(
            &data,
            &config,
            "0.1.0",
            Clock::from_fn(move || *tell.lock().unwrap()),
            TimeZone::UTC,
            stopped.clone(),
        )
        .await
        .unwrap();
        let app = opened.app;
        let pin = reqwest::Certificate::from_pem(app.profile.certificate.as_ref().unwrap().as_bytes()).unwrap();
        let client =
            Client::builder().tls_certs_only([pin]).redirect(reqwest::redirect::Policy::none()).build().unwrap();
        // What the background tasks do first is done here, so that a test can say "nothing has changed".
        crate::mirror_tasks::refresh(&app).await.unwrap();
        crate::warning_log::tick(&app).await.unwrap();
        let file: Value = serde_json::from_slice(&std::fs::read(data.join("admin.json")).unwrap()).unwrap();
        let token = file["token"].as_str().unwrap().to_owned();
        let serving = tokio::spawn(start::serve(app.clone(), opened.identity, listener, None, stopped));
        let password = opened.new_password.unwrap();
        Self { app, base, client, token, password, vendor, dir, clock, stop, serving }
    }

    pub fn now(&self) -> Timestamp {
        *self.clock.lock().unwrap()
    }

    pub fn pass(&self, seconds: i64) {
        let mut clock = self.clock.lock().unwrap();
        *clock = clock.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    }

    pub async fn server_runs(&self, version: &str) {
        let body = serde_json::json!({"product": "connector", "version": version});
        self.admin(Method::POST, "/v1/admin/server-version", Some(body)).await;
    }

    /// The administrator's program asks; it must succeed.
    pub async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    pub async fn preflight(&self, to: &str) -> Value {
        self.admin(Method::GET, &format!("/v1/admin/preflight?to={to}"), None).await
    }

    pub async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.base)).send().await.unwrap()
    }

    /// Logs in to the console; the cookie.
    pub async fn console(&self) -> String {
        let response = self
            .client
            .post(format!("{}/console/login", self.base))
            .header("origin", &self.base)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("name=admin&password={}", self.password))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        let cookie = response.headers()["set-cookie"].to_str().unwrap().to_owned();
        for attribute in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        cookie.split(';').next().unwrap().to_owned()
    }

    /// A page of the console.
    pub async fn page(&self, cookie: &str, path: &str) -> String {
        let response = self.client.get(format!("{}{path}", self.base)).header("cookie", cookie).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.text().await.unwrap()
    }

    pub async fn stop(self) {
        self.stop.send(true).unwrap();
        self.serving.await.unwrap();
    }
}
