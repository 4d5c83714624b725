//! Who is looking at the console, and whether a form came from it.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};

use crate::{
    app::App,
    failure::Refusal,
    http::guard,
    secrets::{form_token, same, token_hash},
};

/// The prefix makes browsers insist on `Secure`, `Path=/` and no `Domain` (RFC 6265bis, section 4.1.3).
const COOKIE: &str = "__Host-lockstep";

/// Seconds; then the administrator logs in again.
pub const GOOD_FOR_SECONDS: i64 = 12 * 3600;

/// An administrator who has logged in. A request without one is sent to the login page.
#[derive(Debug)]
pub struct Session {
    /// Who.
    pub admin: String,
    token: String,
}

impl Session {
    /// What forms of this session must carry.
    pub fn form_token(&self) -> String {
        form_token(&self.token)
    }

    /// What the store knows the session by.
    pub fn hash(&self) -> [u8; 32] {
        token_hash(&self.token)
    }

    /// Makes sure that a form came from this session's own pages.
    ///
    /// # Errors
    /// 403.
    pub fn check_form(&self, app: &App, headers: &HeaderMap, token: &str) -> Result<(), Refusal> {
        check_origin(app, headers)?;
        if same(token, &self.form_token()) {
            Ok(())
        } else {
            Err(Refusal::forbidden("this form is not from your session; load the page again"))
        }
    }
}

/// Makes sure that a form came from one of our own pages. Every browser says where a form came from.
///
/// # Errors
/// 403.
pub fn check_origin(app: &App, headers: &HeaderMap) -> Result<(), Refusal> {
    let own = headers.get(header::ORIGIN).is_some_and(|origin| guard::is_own(app, origin));
    let why = || {
        Refusal::forbidden(format!("this form was not sent from the console; open it at {}/console", app.config.url))
    };
    if own { Ok(()) } else { Err(why()) }
}

impl FromRequestParts<App> for Session {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let to_login = || Redirect::to("/console/login").into_response();
        let token = cookie(&parts.headers).ok_or_else(to_login)?.to_owned();
        let admin = app.store.session(&token_hash(&token), app.now()).await;
        match admin.map_err(|e| Refusal::from(e).into_response())? {
            Some(admin) => Ok(Self { admin, token }),
            None => Err(to_login()),
        }
    }
}

/// The cookie that opens a session, or (no token) ends one.
pub fn set_cookie(token: Option<&str>) -> String {
    let (value, age) = token.map_or(("", 0), |token| (token, GOOD_FOR_SECONDS));
    format!("{COOKIE}={value}; Path=/; Max-Age={age}; Secure; HttpOnly; SameSite=Strict")
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE && !value.is_empty()).then_some(value)
    })
}
