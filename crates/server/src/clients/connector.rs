//! A connector's check-in, and its event stream.

use axum::{Json, body::Bytes, extract::State, http::HeaderMap, response::Response};
use protocol::{
    Version,
    device::{Device, ProductState, STABLE},
    directive,
    message::{ConnectorCheckIn, ConnectorDirective, Gate, V},
    product::{Platform, ProductId},
};

use super::{parse, stream, ticket::voucher, words};
use crate::{
    app::App,
    config::Interval,
    failure::Refusal,
    http::bearer,
    plain_text::capped,
    preflight::gate_name,
    secrets::{token_hash, user_in_token},
    store::{SeatReport, SeatRow},
};

/// `POST /v1/check-in/connector`.
///
/// # Errors
/// 400; 401 for an unknown token.
pub async fn connector_check_in(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ConnectorDirective>, Refusal> {
    let (seat, token) = seat(&app, &headers).await?;
    let mut message: ConnectorCheckIn = parse(&body)?;
    message.platform.os = capped(&message.platform.os);
    message.platform.arch = capped(&message.platform.arch);
    let change = app.push.change();
    let now = app.now();

    let vouched = match &message.ticket {
        Some(ticket) => voucher(&app, ticket, now).await?,
        None => None,
    };
    let (tied, device) = match vouched {
        Some((row, until)) => (Some((row.device.id.clone(), until)), Some(row.device)),
        // An updater that restarts has no ticket for a moment: its last one holds as long as it said.
        None => match seat.device.clone().filter(|_| seat.ticket_until > now) {
            Some(id) => (Some((id.clone(), seat.ticket_until)), app.store.device(&id).await?.map(|row| row.device)),
            None => (None, None),
        },
    };
    let device = running(device, &seat, &message.product, &message.version, &message.platform);
    let directive = directive(&message.product, &app.site.site(), &app.catalog(), &device, now, app.site.seed());

    let naming = app.switches.naming().await;
    let named = naming.on;
    let user = user_in_token(token).filter(|_| named);
    let hostname = named.then(|| capped(&message.hostname));
    let detail = message.detail.as_deref().map(|d| capped(d.trim())).filter(|d| named && !d.is_empty());
    let told = if named { words(&directive) } else { String::new() };
    let report = SeatReport {
        user: user.as_deref(),
        hostname: hostname.as_deref(),
        platform: &message.platform,
        product: &message.product,
        version: &message.version,
        gate: message.gate,
        outbox: message.outbox,
        detail: detail.as_deref(),
        cut_off: directive.decision.is_incompatible() && message.gate != Gate::Online,
        device: tied.as_ref().map(|(id, until)| (id.as_str(), *until)),
    };
    app.store.seat_checked_in(&seat.id, &report, &told, now).await?;
    if named && told != seat.told {
        let text = format!("runs {}, told: {told}", message.version);
        app.store.tell(seat.id.as_str(), &text, now).await?;
    }
    if named && seat.gate != Some(message.gate) {
        let waiting =
            if message.outbox == 0 { String::new() } else { format!(", {} waiting to be sent", message.outbox) };
        app.store.tell(seat.id.as_str(), &format!("mail is {}{waiting}", gate_name(message.gate)), now).await?;
    }
    if let Some(detail) = detail.as_deref().filter(|detail| seat.detail.as_deref() != Some(detail)) {
        app.store.tell(seat.id.as_str(), &format!("reports: {detail}"), now).await?;
    }
    app.push.answered(seat.id.as_str(), change);
    Ok(Json(ConnectorDirective {
        v: V,
        directive,
        mail: app.mail.clone(),
        integration_page: app.integration_page(),
        next_check_in_seconds: app.config.clients.check_in_every.seconds(),
        ask_again_seconds: app.config.clients.ask_again.map(Interval::seconds),
    }))
}

/// `GET /v1/push/connector`.
///
/// # Errors
/// 401 for an unknown token.
pub async fn connector_push(State(app): State<App>, headers: HeaderMap) -> Result<Response, Refusal> {
    let (seat, _) = seat(&app, &headers).await?;
    Ok(stream::open(&app, seat.id.as_str()))
}

async fn seat<'a>(app: &App, headers: &'a HeaderMap) -> Result<(SeatRow, &'a str), Refusal> {
    let unknown = || Refusal::unknown("this site does not know the token; log in again");
    let token = bearer::token(headers).ok_or_else(unknown)?;
    let seat = app.store.seat_of_token(&token_hash(token)).await?.ok_or_else(unknown)?;
    Ok((seat, token))
}

/// The PC as this connector's decision sees it: what the connector itself runs is what counts as installed, so an old
/// process is told that it must change even when the machine has already switched.
pub fn running(
    tied: Option<Device>,
    seat: &SeatRow,
    product: &ProductId,
    version: &Version,
    platform: &Platform,
) -> Device {
    let mut device = tied.unwrap_or_else(|| Device {
        id: seat.id.as_str().to_owned(),
        hostname: seat.hostname.clone().unwrap_or_default(),
        ..Device::unknown(platform.clone(), STABLE)
    });
    let state: &mut ProductState = device.products.entry(product.clone()).or_default();
    state.installed = Some(version.clone());
    device
}
