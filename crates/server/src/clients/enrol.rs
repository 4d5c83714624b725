//! An updater makes itself known, once.

use std::time::Instant;

use axum::{Extension, Json, body::Bytes, extract::State};
use base64::{Engine, prelude::BASE64_STANDARD};
use ed25519_dalek::VerifyingKey;
use protocol::{
    device::{Device, STABLE},
    message::{Enrol, Enrolled, V},
};

use super::parse;
use crate::{app::App, failure::Refusal, http::listen::Peer, plain_text::capped, secrets::same, store::nameless};

/// `POST /v1/enrol`.
///
/// # Errors
/// 400, 403 for a wrong enrolment key, 429.
pub async fn enrol(
    State(app): State<App>,
    Extension(Peer(peer)): Extension<Peer>,
    body: Bytes,
) -> Result<Json<Enrolled>, Refusal> {
    if !app.limits.enrol_address.allow_address(peer.ip(), Instant::now()) {
        return Err(Refusal::too_many());
    }
    let message: Enrol = parse(&body)?;
    if !same(&message.enrolment_key, &app.profile.enrolment_key) {
        return Err(Refusal::forbidden("the enrolment key is not this site's; reinstall from its integration page"));
    }
    let key = BASE64_STANDARD.decode(&message.public_key).ok().and_then(|key| <[u8; 32]>::try_from(key).ok());
    let key = key.and_then(|key| VerifyingKey::from_bytes(&key).ok()).filter(|key| !key.is_weak());
    let key = key.ok_or_else(|| Refusal::malformed("public_key is not an Ed25519 key in base64"))?;

    let id = hex::encode(rand::random::<[u8; 16]>());
    let mut platform = message.platform;
    platform.os = capped(&platform.os);
    platform.arch = capped(&platform.arch);
    let mut device = Device {
        id: id.clone(),
        hostname: capped(&message.hostname),
        // Who enrols is an updater; its first check-in says which version.
        updater: Some(protocol::Version::new(0, 0, 0)),
        ..Device::unknown(platform, STABLE)
    };
    let naming = app.switches.naming().await;
    let named = naming.on;
    if !named {
        device = nameless(&device);
    }
    app.store.add_device(&device, key.as_bytes(), app.now()).await?;
    if named {
        app.store.tell(&id, "enrolled", app.now()).await?;
    }
    Ok(Json(Enrolled { v: V, device: id }))
}
