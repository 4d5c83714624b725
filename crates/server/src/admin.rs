//! The administrator's programs: JSON, with the token of `admin.json`.

mod gate;
mod policy;
mod status;
mod story;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
};
use protocol::{Version, product::ProductId, product::parse_version};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    app::App,
    config::SourceKind,
    failure::{Refusal, chain},
    http::bearer::Administrator,
    mirror_tasks,
    preflight::{Facts, Table},
    server_version, settings,
    site::Change,
    switches::Switch,
    warning_log,
};
pub use gate::mail_gate;
pub use policy::{hold, policy, retry, set_policy};
pub use status::status;
pub use story::story;

/// Parameters of the preflight.
#[derive(Debug, Deserialize)]
pub struct Asked {
    to: Option<String>,
    product: Option<String>,
}

/// `GET /v1/admin/preflight?to=7.3.0&product=connector`. Without `to`: the version that the site makes ready for.
///
/// # Errors
/// 400, 401, 404 for a product that the site does not manage.
pub async fn preflight(
    _: Administrator,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Json<Table>, Refusal> {
    let product = managed(&app, asked.product.as_deref())?;
    let facts = Facts::gather(&app).await?;
    let to = match asked.to {
        Some(text) => version(&text)?,
        None => facts.next(&product).ok_or_else(|| Refusal::malformed("say to which version, as in ?to=7.3.0"))?,
    };
    Ok(Json(facts.table(&product, &to)))
}

/// `POST /v1/admin/warn`: writes the report now.
///
/// # Errors
/// 401, 500.
pub async fn warn(_: Administrator, State(app): State<App>) -> Result<Json<Value>, Refusal> {
    let outcome = warning_log::evaluate(&app).await.map_err(Refusal::internal)?;
    Ok(Json(json!({
        "v": 1,
        "affected": outcome.affected,
        "report": outcome.report,
        "why_unknown": outcome.why_unknown,
        "log": app.warning_log.path().display().to_string(),
    })))
}

#[derive(Deserialize)]
struct Shown {
    product: Option<String>,
    version: String,
}

/// `POST /v1/admin/server-version`: a package hook says what its server runs.
///
/// # Errors
/// 400, 401, 404; 409 when the product's version comes from another source.
pub async fn server_version(_: Administrator, State(app): State<App>, body: Bytes) -> Result<Json<Value>, Refusal> {
    let shown: Shown = parse(&body)?;
    let product = managed(&app, shown.product.as_deref())?;
    let version = version(&shown.version)?;
    let source = app.config.products.get(&product).map(|p| &p.server_version.kind);
    if source.is_some_and(|kind| *kind != SourceKind::Pushed) {
        return Err(Refusal::conflict(format!(
            "the version of the {product}'s server comes from the source in server.toml; take that out to set it by hand"
        )));
    }
    let change = server_version::shows(&app, &product, &version).await?;
    Ok(Json(json!({
        "v": 1,
        "product": product,
        "server": version,
        "changed": change != Change::None,
        "completes_cut_over": matches!(change, Change::CutOverComplete(_)),
    })))
}

#[derive(Deserialize)]
struct CutOver {
    product: Option<String>,
    to: String,
}

/// `POST /v1/admin/cut-over`: announces the version that the server will have. PCs make ready for it, and it is complete when the
/// source shows it. To announce the version that the server has already withdraws a cut-over.
///
/// # Errors
/// 400, 401, 404; 409 when the server has that version already and there is no cut-over to withdraw.
pub async fn cut_over(_: Administrator, State(app): State<App>, body: Bytes) -> Result<Json<Value>, Refusal> {
    let asked: CutOver = parse(&body)?;
    let product = managed(&app, asked.product.as_deref())?;
    let to = version(&asked.to)?;
    let server = app.site.product(&product).and_then(|p| p.server);
    if server.as_ref() == Some(&to) {
        if app.site.withdraw(&app.store, &product, app.now()).await? {
            app.push.announce(format!("the cut-over of {product} was withdrawn"));
            return Ok(Json(json!({"v": 1, "product": product, "server": server, "expected": null})));
        }
        return Err(Refusal::conflict(format!("the {product}'s server has version {to} already")));
    }
    app.site.announce(&app.store, &product, &to, app.now()).await?;
    app.push.announce(format!("a cut-over of {product} to {to} was announced"));
    Ok(Json(json!({"v": 1, "product": product, "server": server, "expected": to})))
}

/// `POST /v1/admin/refresh`: asks the vendor for news now.
///
/// # Errors
/// 401; 502 when the vendor's repository cannot be used, with the reason.
pub async fn refresh(_: Administrator, State(app): State<App>) -> Result<Json<Value>, Refusal> {
    match mirror_tasks::refresh(&app).await {
        Ok(changed) => {
            let releases = app.catalog().entries.len();
            Ok(Json(json!({"v": 1, "changed": changed, "releases": releases})))
        }
        Err(error) => Err(Refusal::new(axum::http::StatusCode::BAD_GATEWAY, chain(&error))),
    }
}

#[derive(Deserialize)]
struct Setting {
    on: bool,
}

/// `PUT /v1/admin/settings/{readiness|statistics}`.
///
/// # Errors
/// 400, 401, 404.
pub async fn setting(
    _: Administrator,
    State(app): State<App>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let switch =
        Switch::named(&name).ok_or_else(|| Refusal::absent("there are two switches: readiness and statistics"))?;
    let setting: Setting = parse(&body)?;
    settings::set(&app, switch, setting.on).await?;
    Ok(Json(json!({"v": 1, "setting": name, "on": setting.on})))
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|e| Refusal::malformed(format!("the message is not understood: {e}")))
}

/// A product that the site manages; when there is only one, it need not be named.
pub fn managed(app: &App, name: Option<&str>) -> Result<ProductId, Refusal> {
    let products = &app.config.products;
    let known = || products.keys().map(ProductId::as_str).collect::<Vec<_>>().join(", ");
    let product = match name {
        Some(name) => name.parse().map_err(|e: protocol::product::BadProductId| Refusal::malformed(e.to_string()))?,
        None => match products.keys().next() {
            Some(only) if products.len() == 1 => only.clone(),
            _ => return Err(Refusal::malformed(format!("say which product: {}", known()))),
        },
    };
    if products.contains_key(&product) {
        Ok(product)
    } else {
        Err(Refusal::absent(format!("this site does not manage {product}; it manages {}", known())))
    }
}

fn version(text: &str) -> Result<Version, Refusal> {
    parse_version(text).map_err(|e| Refusal::malformed(e.to_string()))
}
