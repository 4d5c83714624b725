//! How things stand, all of it.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::{
    app::App,
    failure::Refusal,
    http::bearer::Administrator,
    plain_text::printable,
    preflight::{Facts, gate_name},
    switches::Switch,
};

/// `GET /v1/admin/status`.
///
/// # Errors
/// 401, 500.
pub async fn status(_: Administrator, State(app): State<App>) -> Result<Json<Value>, Refusal> {
    let facts = Facts::gather(&app).await?;
    let products: Vec<Value> = facts
        .site
        .products
        .iter()
        .map(|(product, chosen)| {
            json!({
                "product": product,
                "server": chosen.server,
                "expected": app.site.expected(product),
                "next": facts.next(product),
                "policy": chosen.policy,
                "hold": chosen.hold,
                "words": crate::wishes::words(chosen).iter().map(|w| printable(w)).collect::<Vec<_>>(),
            })
        })
        .collect();
    let devices: Vec<Value> = facts
        .devices
        .iter()
        .map(|row| {
            let d = &row.device;
            let products: Vec<Value> = d
                .products
                .iter()
                .map(|(product, state)| {
                    json!({
                        "product": product,
                        "installed": state.installed,
                        "staged": state.staged,
                        "state": state.state,
                        "detail": state.detail.as_deref().map(printable),
                        "failed": state.failed.iter().map(|f| &f.version).collect::<Vec<_>>(),
                    })
                })
                .collect();
            json!({
                "device": d.id,
                "pc": printable(&d.hostname),
                "platform": printable(&d.platform.to_string()),
                "updater": d.updater,
                "disk_free": d.disk_free,
                "metadata_expires": d.metadata_expires,
                "last_seen": row.last_seen,
                "told": printable(&row.told),
                "products": products,
            })
        })
        .collect();
    let seats: Vec<Value> = facts
        .seats
        .iter()
        .map(|seat| {
            let connected = app.push.is_connected(seat.id.as_str());
            // What a connected client said before the last change is about to be replaced.
            let stale = connected && !app.push.is_up_to_date(seat.id.as_str());
            let device = seat.device.as_deref().and_then(|id| facts.devices.iter().find(|d| d.device.id == id));
            let state = device.zip(seat.product.as_ref()).map(|(d, product)| d.device.product(product));
            let own = seat.detail.as_deref();
            let detail = own.or(state.as_ref().and_then(|s| s.detail.as_deref())).unwrap_or(&seat.told);
            json!({
                "connected": connected,
                "state": state.as_ref().map(|s| s.state),
                "detail": printable(detail),
                "seat": seat.id.as_str(),
                "user": seat.user.as_deref().map(printable),
                "pc": seat.hostname.as_deref().map(printable),
                "product": seat.product,
                "version": seat.version,
                "gate": seat.gate.filter(|_| !stale).map(gate_name),
                "outbox": seat.outbox,
                "cut_off_since": seat.cut_off_since,
                "device": seat.device,
                "last_seen": seat.last_seen,
                "told": printable(&seat.told),
            })
        })
        .collect();
    let (cut_off_now, silent) = facts.cut_off_now();
    let mirror = app.mirror.current();
    let releases: Vec<Value> = mirror
        .iter()
        .flat_map(|served| &served.catalog().entries)
        .map(|e| {
            let r = &e.release;
            json!({
                "product": r.product,
                "version": r.version,
                "platform": r.platform.to_string(),
                "channel": r.channel,
                "server": r.server.to_string(),
                "available": facts.available.get(&e.target),
            })
        })
        .collect();
    Ok(Json(json!({
        "v": 1,
        "site": app.config.name,
        "url": app.config.url.as_str(),
        "lockstep_server": app.version,
        "products": products,
        "devices": devices,
        "seats": seats,
        "cut_off_now": cut_off_now,
        "cut_off_and_silent": silent,
        "troubles": facts.troubles(),
        "switches": {
            "readiness": app.switches.is_on(Switch::Readiness),
            "statistics": app.switches.is_on(Switch::Statistics),
        },
        "mirror": {
            "version": mirror.as_ref().map(|served| served.version()),
            "expires": mirror.as_ref().map(|served| served.expires()),
            "releases": releases,
        },
        "problems": app.problems(),
        "mail_gate": {
            "listen": app.config.mail_gate.listen.map(|l| l.to_string()),
            "counts": app.mail_gate.notes.counts(),
        },
    })))
}
