//! PCs as the server meets them: an updater's key and reports, a connector's token and check-ins.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use protocol::{
    device::{Device, ProductState},
    message::{DEVICE_HEADER, SIGNATURE_HEADER, Ticket, TicketClaim, signed_bytes},
    product::{Platform, ProductId},
};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::Site;

pub const CHECK_IN: &str = "/v1/check-in/device";

/// An updater.
pub struct Pc {
    pub id: String,
    pub key: SigningKey,
    pub seq: u64,
}

/// A connector.
pub struct Seat {
    pub token: String,
    pub hostname: String,
}

impl Pc {
    pub async fn enrol(site: &Site, hostname: &str) -> Self {
        let key = SigningKey::from_bytes(&rand::random());
        let body = json!({
            "v": 1, "enrolment_key": site.app.profile.enrolment_key, "hostname": hostname, "os": "linux", "arch": "x86_64",
            "public_key": BASE64_STANDARD.encode(key.verifying_key().as_bytes()),
        });
        let answer = site.client.post(format!("{}/v1/enrol", site.base)).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let answer: Value = answer.json().await.unwrap();
        Self { id: answer["device"].as_str().unwrap().into(), key, seq: 0 }
    }

    pub fn device(&self, hostname: &str, installed: &str, staged: &[&str]) -> Device {
        let state = ProductState {
            installed: Some(installed.parse().unwrap()),
            staged: staged.iter().map(|v| v.parse().unwrap()).collect(),
            ..ProductState::default()
        };
        Device {
            id: self.id.clone(),
            hostname: hostname.into(),
            updater: Some("0.1.0".parse().unwrap()),
            products: BTreeMap::from([(ProductId::connector(), state)]),
            ..Device::unknown(Platform { os: "linux".into(), arch: "x86_64".into() }, "stable")
        }
    }

    pub async fn check_in(&mut self, site: &Site, device: &Device) -> Value {
        self.seq += 1;
        let body = json!({"v": 1, "seq": self.seq, "device": device}).to_string();
        let response = self.send(site, CHECK_IN, CHECK_IN, &body).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }

    /// Sends a body, signed for `purpose`.
    pub async fn send(&self, site: &Site, path: &str, purpose: &str, body: &str) -> Response {
        let signature = BASE64_STANDARD.encode(self.key.sign(&signed_bytes(purpose, body.as_bytes())).to_bytes());
        site.client
            .post(format!("{}{path}", site.base))
            .header(DEVICE_HEADER, &self.id)
            .header(SIGNATURE_HEADER, signature)
            .body(body.to_owned())
            .send()
            .await
            .unwrap()
    }

    /// A ticket, issued so many seconds ago.
    pub fn ticket(&self, site: &Site, age: i64) -> Ticket {
        let issued = site.now().checked_sub(jiff::SignedDuration::from_secs(age)).unwrap();
        let claim = serde_json::to_string(&TicketClaim { device: self.id.clone(), uid: 1000, issued }).unwrap();
        let signature = self.key.sign(&signed_bytes(Ticket::PATH, claim.as_bytes()));
        Ticket { claim, signature: BASE64_STANDARD.encode(signature.to_bytes()) }
    }
}

impl Seat {
    pub async fn log_in(site: &Site, user: &str, hostname: &str) -> Self {
        let seat = format!("seat-{:032x}", rand::random::<u128>());
        let response = try_log_in(site, user, "right", &seat, hostname).await;
        assert_eq!(response.status(), StatusCode::OK);
        let answer: Value = response.json().await.unwrap();
        Self { token: answer["token"].as_str().unwrap().into(), hostname: hostname.into() }
    }

    pub async fn check_in(&self, site: &Site, version: &str, ticket: Option<Ticket>) -> Value {
        self.says(site, json!({"version": version, "ticket": ticket})).await
    }

    /// A check-in with these fields in place of the usual ones.
    pub async fn says(&self, site: &Site, fields: Value) -> Value {
        let mut body = json!({
            "v": 1, "product": "connector", "version": "7.2.0", "gate": "online", "outbox": 0,
            "hostname": self.hostname, "os": "linux", "arch": "x86_64",
        });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let response = site
            .client
            .post(format!("{}/v1/check-in/connector", site.base))
            .bearer_auth(&self.token)
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }
}

pub async fn try_log_in(site: &Site, user: &str, password: &str, seat: &str, hostname: &str) -> Response {
    let body = json!({
        "v": 1, "user": user, "password": password, "seat": seat, "hostname": hostname, "os": "linux", "arch": "x86_64",
    });
    site.client.post(format!("{}/v1/login", site.base)).json(&body).send().await.unwrap()
}
