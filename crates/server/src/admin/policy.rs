//! Policies, windows, holds and second tries.

use axum::{Json, body::Bytes, extract::State};
use jiff::Timestamp;
use protocol::{
    Version,
    hold::{Hold, SiteHold, like},
    policy::{DowngradePolicy, UpgradePolicy},
    product::ProductId,
    site::Retry,
    terms::Again,
    window::Window,
};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{managed, parse};
use crate::{
    app::App,
    failure::Refusal,
    http::bearer::Administrator,
    plain_text::printable,
    store::{DeviceRow, SeatRow},
    wishes::{self, Wishes},
};

/// `GET /v1/admin/policy`: what is in force, by product.
///
/// # Errors
/// 401.
pub async fn policy(_: Administrator, State(app): State<App>) -> Result<Json<Value>, Refusal> {
    let site = app.site.site();
    let products: Vec<Value> = site.products.keys().filter_map(|product| shown(&app, product)).collect();
    Ok(Json(json!({ "v": 1, "products": products })))
}

fn shown(app: &App, product: &ProductId) -> Option<Value> {
    let chosen = app.site.product(product)?;
    Some(json!({
        "product": product,
        "upgrade": chosen.policy,
        "downgrade": chosen.downgrade,
        "maintenance": chosen.windows,
        "deadline_seconds": chosen.grace_seconds(),
        "hold": chosen.hold,
        "holds": chosen.holds,
        "words": wishes::words(&chosen).iter().map(|w| printable(w)).collect::<Vec<_>>(),
    }))
}

/// A change of policy; what is not named stays, and `null` goes back to how it comes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    product: Option<String>,
    #[serde(default, deserialize_with = "named")]
    upgrade: Option<Option<UpgradePolicy>>,
    #[serde(default, deserialize_with = "named")]
    downgrade: Option<Option<DowngradePolicy>>,
    #[serde(default, deserialize_with = "named")]
    maintenance: Option<Option<Vec<Window>>>,
    #[serde(default, deserialize_with = "named")]
    time_zone: Option<Option<String>>,
    #[serde(default)]
    required_too: Option<bool>,
    #[serde(default, deserialize_with = "named")]
    deadline_seconds: Option<Option<u32>>,
}

/// Tells a value that is `null` from one that is not there.
fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(reader: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(reader).map(Some)
}

/// `PUT /v1/admin/policy`.
///
/// # Errors
/// 400, 401, 404.
pub async fn set_policy(_: Administrator, State(app): State<App>, body: Bytes) -> Result<Json<Value>, Refusal> {
    let change: Change = parse(&body)?;
    let product = managed(&app, change.product.as_deref())?;
    let alter = |wishes: &mut Wishes| {
        if let Some(upgrade) = change.upgrade {
            wishes.upgrade = upgrade;
        }
        if let Some(downgrade) = change.downgrade {
            wishes.downgrade = downgrade;
        }
        if let Some(seconds) = change.deadline_seconds {
            wishes.grace_seconds = seconds;
        }
        let windows = wishes.windows.get_or_insert_default();
        if let Some(weekly) = change.maintenance {
            windows.weekly = weekly.unwrap_or_default();
        }
        if let Some(zone) = change.time_zone {
            windows.zone = zone;
        }
        windows.required_too = change.required_too.unwrap_or(windows.required_too);
        Ok(())
    };
    app.site.wish(&app, &product, "the policy was changed", alter).await?;
    Ok(Json(shown(&app, &product).unwrap_or_default()))
}

/// A hold to add, or one to take back by what it holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldChange {
    what: Hold,
    #[serde(default)]
    remove: bool,
    #[serde(default)]
    pcs: Option<Vec<String>>,
    #[serde(default)]
    until: Option<Timestamp>,
    #[serde(default)]
    reason: String,
}

/// `POST /v1/admin/holds`.
///
/// # Errors
/// 400, 401; 404 for a product that the site does not manage, or a hold that there is none of.
pub async fn hold(_: Administrator, State(app): State<App>, body: Bytes) -> Result<Json<Value>, Refusal> {
    let change: HoldChange = parse(&body)?;
    let products = match &change.what.product {
        Some(product) => vec![managed(&app, Some(product.as_str()))?],
        None => app.config.products.keys().cloned().collect(),
    };
    let why = format!("{} {}", if change.remove { "no longer held:" } else { "held:" }, change.what);
    for product in &products {
        let what = Hold { product: Some(product.clone()), versions: change.what.versions.clone() };
        let same = |h: &SiteHold| h.what == what && (change.pcs.is_none() || h.pcs == change.pcs);
        let alter = |wishes: &mut Wishes| {
            let before = wishes.holds.len();
            wishes.holds.retain(|h| !same(h));
            if change.remove && wishes.holds.len() == before {
                return Err(Refusal::absent(format!("{what} is not held; `lockstep hold list` shows what is")));
            }
            if !change.remove {
                let (pcs, until, reason) = (change.pcs.clone(), change.until, printable(&change.reason));
                wishes.holds.push(SiteHold { what: what.clone(), pcs, until, reason });
            }
            Ok(())
        };
        app.site.wish(&app, product, &why, alter).await?;
    }
    Ok(Json(json!({ "v": 1, "held": !change.remove, "what": change.what })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Another {
    /// A user, a PC's name or pattern, or a device's id.
    whom: String,
    version: Version,
    #[serde(default)]
    product: Option<String>,
}

/// `POST /v1/admin/retry`: a version that was rolled back is tried again on the PCs that are named.
///
/// # Errors
/// 400, 401; 404 when no PC that is so named has rolled that version back.
pub async fn retry(_: Administrator, State(app): State<App>, body: Bytes) -> Result<Json<Value>, Refusal> {
    let asked: Another = parse(&body)?;
    let product = managed(&app, asked.product.as_deref())?;
    let (devices, seats) = (app.store.devices().await?, app.store.seats().await?);
    let failures: Vec<(&DeviceRow, Retry)> = devices
        .iter()
        .filter(|d| is_meant(&asked.whom, d, &seats))
        .filter_map(|d| {
            let failed = d.device.product(&product).failed.into_iter().find(|f| f.version == asked.version)?;
            let failure = Again { version: failed.version, failed_at: failed.at };
            Some((d, Retry { device: d.device.id.clone(), failure }))
        })
        .collect();
    if failures.is_empty() {
        return Err(Refusal::absent(format!(
            "no PC that is called so, and no PC of a user called so, has rolled back {product} {}",
            asked.version
        )));
    }
    let alter = |wishes: &mut Wishes| {
        failures.iter().for_each(|(_, retry)| wishes.retry(retry.clone()));
        Ok(())
    };
    app.site.wish(&app, &product, &format!("{} is to be tried again", asked.version), alter).await?;
    let pcs: Vec<_> = failures.iter().map(|(d, _)| printable(&d.device.hostname)).collect();
    Ok(Json(json!({ "v": 1, "product": product, "version": asked.version, "pcs": pcs })))
}

fn is_meant(whom: &str, row: &DeviceRow, seats: &[SeatRow]) -> bool {
    let device = &row.device;
    let of_user = |s: &SeatRow| s.device.as_deref() == Some(&device.id) && s.user.as_deref() == Some(whom);
    device.id == whom || like(whom, &device.hostname) || seats.iter().any(of_user)
}
