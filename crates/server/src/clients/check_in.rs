//! A device's check-in, and its event stream.

use axum::{Json, body::Bytes, extract::State, http::HeaderMap, response::Response};
use protocol::{
    device::{Device, DeviceState},
    directive,
    message::{DeviceCheckIn, DeviceDirectives, PushHello, V},
};

use super::{parse, signed::signer, stream, words};
use crate::{
    app::App,
    cut_off::is_about_trust,
    failure::Refusal,
    plain_text::capped,
    store::{Sequence, nameless},
};

/// Its path, which the signature is bound to.
pub const DEVICE_CHECK_IN: &str = "/v1/check-in/device";

/// Its path, which the signature is bound to.
pub const DEVICE_PUSH: &str = "/v1/push/device";

/// Products, staged versions and failed versions that are kept of a report.
const MAX_ITEMS: usize = 32;

/// `POST /v1/check-in/device`.
///
/// # Errors
/// 400; 401 for an unknown device or a wrong signature; 403 for a report about another device; 409 for a replay.
pub async fn device_check_in(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<DeviceDirectives>, Refusal> {
    let known = signer(&app, &headers, DEVICE_CHECK_IN, &body).await?;
    let message: DeviceCheckIn = parse(&body)?;
    let device = trimmed(message.device);
    let id = device.id.clone();
    if id != known.device.id {
        return Err(Refusal::forbidden("a device reports about itself only"));
    }
    let change = app.push.change();
    let now = app.now();
    let naming = app.switches.naming().await;
    let named = naming.on;
    let stored = if named { device.clone() } else { nameless(&device) };
    in_order(app.store.device_said(&id, number(message.seq)?, Some(&stored), now).await?)?;

    let site = app.site.site().with_updater();
    let catalog = app.catalog();
    let decide = |product| directive(product, &site, &catalog, &device, now, app.site.seed());
    let directives: Vec<_> = site.products.keys().map(decide).collect();
    if named {
        let states = states(&device);
        if states != self::states(&known.device) {
            app.store.tell(&id, &format!("reports: {states}"), now).await?;
        }
        let told = directives.iter().map(words).collect::<Vec<_>>().join("; ");
        if told != known.told {
            app.store.device_told(&id, &told).await?;
            app.store.tell(&id, &format!("told: {told}"), now).await?;
        }
    }
    app.push.answered(&id, change);
    let next_check_in_seconds = app.config.clients.check_in_every.seconds();
    let downloads = app.config.downloads.message();
    Ok(Json(DeviceDirectives { v: V, directives, next_check_in_seconds, downloads }))
}

/// `POST /v1/push/device`.
///
/// # Errors
/// As for [`device_check_in`].
pub async fn device_push(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    let known = signer(&app, &headers, DEVICE_PUSH, &body).await?;
    let hello: PushHello = parse(&body)?;
    in_order(app.store.device_said(&known.device.id, number(hello.seq)?, None, app.now()).await?)?;
    Ok(stream::open(&app, &known.device.id))
}

fn number(seq: u64) -> Result<i64, Refusal> {
    i64::try_from(seq).map_err(|_| Refusal::malformed("seq is larger than any number that counts up from zero gets"))
}

fn in_order(sequence: Sequence) -> Result<(), Refusal> {
    match sequence {
        Sequence::Accepted => Ok(()),
        Sequence::Replayed => Err(Refusal::conflict(
            "seq is not higher than before: the message was sent before, or this PC is a copy of another; enrol it again",
        )),
    }
}

/// Cuts what a device says to what is kept.
fn trimmed(mut device: Device) -> Device {
    device.hostname = capped(&device.hostname);
    device.channel = capped(&device.channel);
    device.platform.os = capped(&device.platform.os);
    device.platform.arch = capped(&device.platform.arch);
    device.machine.holds.truncate(MAX_ITEMS);
    device.machine.zone = device.machine.zone.as_deref().map(capped);
    if let Some(windows) = &mut device.machine.windows {
        windows.weekly.truncate(MAX_ITEMS);
        windows.zone = windows.zone.as_deref().map(capped);
    }
    while device.products.len() > MAX_ITEMS {
        device.products.pop_last();
    }
    for state in device.products.values_mut() {
        state.staged.truncate(MAX_ITEMS);
        state.failed.truncate(MAX_ITEMS);
        state.detail = state.detail.as_deref().map(capped);
        for failed in &mut state.failed {
            failed.reason = capped(&failed.reason);
        }
    }
    device
}

/// What a device's products are at, for its story.
fn states(device: &Device) -> String {
    let all = device.products.iter().map(|(product, state)| {
        let installed = state.installed.as_ref().map_or("not installed".into(), ToString::to_string);
        let mut text = format!("{product} {installed}, {}", crate::preflight::state_name(state.state));
        let tells = matches!(state.state, DeviceState::Failed | DeviceState::RolledBack);
        if let Some(detail) = state.detail.as_deref().filter(|detail| tells || is_about_trust(detail)) {
            text.push_str(&format!(": {detail}"));
        }
        if let Some(failed) = state.failed.last() {
            text.push_str(&format!("; {} was rolled back: {}", failed.version, failed.reason));
        }
        text
    });
    all.collect::<Vec<_>>().join("; ")
}
