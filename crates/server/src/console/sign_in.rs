//! Logging in and out.

use std::time::Instant;

use askama::Template;
use axum::{
    Extension, Form,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use jiff::SignedDuration;
use serde::Deserialize;

use super::{password, session};
use crate::{
    app::App,
    failure::Refusal,
    http::listen::Peer,
    secrets::{random_token, token_hash},
};
use session::{GOOD_FOR_SECONDS, Session, check_origin, set_cookie};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    site: &'a str,
    problem: Option<&'a str>,
    program: &'a str,
}

/// `GET /console/login`.
///
/// # Errors
/// 500.
pub async fn login_page(State(app): State<App>) -> Result<Response, Refusal> {
    page(&app, StatusCode::OK, None)
}

/// What the login form sends.
#[derive(Deserialize)]
pub struct Credentials {
    name: String,
    password: String,
}

/// `POST /console/login`.
///
/// # Errors
/// 403 when the form is not from our own page; 429.
pub async fn log_in(
    State(app): State<App>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
    Form(given): Form<Credentials>,
) -> Result<Response, Refusal> {
    check_origin(&app, &headers)?;
    if !app.limits.console_address.allow_address(peer.ip(), Instant::now()) {
        return Err(Refusal::too_many());
    }
    let stored = app.store.admin_password(&given.name).await?;
    let right = {
        let _slot = app.limits.hashes.acquire().await.map_err(Refusal::internal)?;
        password::is_right(given.password, stored).await
    };
    if !right {
        tracing::warn!(%peer, "a login to the console was refused");
        return page(&app, StatusCode::UNAUTHORIZED, Some("This name and password are not right."));
    }
    let token = random_token();
    let now = app.now();
    let expires = now.saturating_add(SignedDuration::from_secs(GOOD_FOR_SECONDS)).map_err(Refusal::internal)?;
    app.store.open_session(&token_hash(&token), &given.name, Some(expires), now).await?;
    app.store.tell("site", "an administrator logged in to the console", now).await?;
    Ok(([(header::SET_COOKIE, set_cookie(Some(&token)))], Redirect::to("/console")).into_response())
}

/// A form with nothing but its token.
#[derive(Deserialize)]
pub struct Bare {
    form: String,
}

/// `POST /console/logout`.
///
/// # Errors
/// 403.
pub async fn log_out(
    session: Session,
    State(app): State<App>,
    headers: HeaderMap,
    Form(bare): Form<Bare>,
) -> Result<Response, Refusal> {
    session.check_form(&app, &headers, &bare.form)?;
    app.store.close_session(&session.hash()).await?;
    Ok(([(header::SET_COOKIE, set_cookie(None))], Redirect::to("/console/login")).into_response())
}

fn page(app: &App, status: StatusCode, problem: Option<&str>) -> Result<Response, Refusal> {
    let page = LoginPage { site: &app.config.name, problem, program: app.version };
    Ok((status, Html(page.render().map_err(Refusal::internal)?)).into_response())
}
