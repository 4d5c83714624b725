//! The server's HTTP: who may ask what, and how connections are taken.
//!
//! | attack | answer |
//! |---|---|
//! | a page on another site makes the administrator's browser send a request | [`guard`]: a change asked for by a browser must come from our own pages |
//! | a page in a frame, foreign scripts, guessed content types | headers on every answer: [`guard`] |
//! | a body of a gigabyte | [`MAX_BODY`] |
//! | a request that trickles in for hours | deadlines for the TLS handshake, the head, and the whole request: [`listen`] |

pub mod bearer;
mod error_page;
pub mod guard;
pub mod listen;
mod tuf;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    response::Redirect,
    routing::{get, post, put},
};
use protocol::message::MAX_BODY;

use crate::{admin, app::App, clients, console, failure::Refusal, integration};

/// Every route, with what guards it.
pub fn router(app: App) -> Router {
    let quick = Router::new()
        .route("/", get(|| async { Redirect::to("/console") }))
        .route("/v1/enrol", post(clients::enrol))
        .route(clients::DEVICE_CHECK_IN, post(clients::device_check_in))
        .route(clients::DEVICE_PUSH, post(clients::device_push))
        .route("/v1/login", post(clients::login))
        .route("/v1/check-in/connector", post(clients::connector_check_in))
        .route("/v1/push/connector", get(clients::connector_push))
        .route("/integration", get(integration::page))
        .route("/integration/updater", get(integration::updater))
        .route("/integration/connector", get(integration::connector))
        .route("/console", get(console::first_page))
        .route("/console/login", get(console::login_page).post(console::log_in))
        .route("/console/logout", post(console::log_out))
        .route("/console/settings", get(console::settings_page).post(console::change_setting))
        .route("/console/pc/{id}", get(console::pc_page))
        .route("/console/site", get(console::site_page))
        .route("/assets/site.css", get(console::style_sheet))
        .route("/v1/admin/preflight", get(admin::preflight))
        .route("/v1/admin/status", get(admin::status))
        .route("/v1/admin/story", get(admin::story))
        .route("/v1/admin/warn", post(admin::warn))
        .route("/v1/admin/server-version", post(admin::server_version))
        .route("/v1/admin/cut-over", post(admin::cut_over))
        .route("/v1/admin/mail-gate", get(admin::mail_gate))
        .route("/v1/admin/policy", get(admin::policy).put(admin::set_policy))
        .route("/v1/admin/holds", post(admin::hold))
        .route("/v1/admin/retry", post(admin::retry))
        .route("/v1/admin/settings/{switch}", put(admin::setting))
        .layer(middleware::from_fn(guard::deadline));
    let long = Router::new()
        .route("/v1/admin/refresh", post(admin::refresh))
        .route("/integration/{file}", get(integration::download))
        .route("/tuf/metadata/{name}", get(tuf::metadata))
        .route("/tuf/targets/{*path}", get(tuf::target));
    quick
        .merge(long)
        .fallback(|| async { Refusal::absent("there is nothing at this address") })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(app.clone(), guard::origin))
        .layer(middleware::from_fn_with_state(app.clone(), error_page::for_people))
        .layer(middleware::from_fn(guard::headers))
        .with_state(app)
}
