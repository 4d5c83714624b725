//! `Authorization: Bearer …` (RFC 6750).

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};

use crate::{app::App, failure::Refusal, secrets::token_hash};

/// The token of a request, if it has one.
pub fn token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && token.len() <= 2048).then_some(token)
}

/// Proof that a request comes from the administrator's own programs: it carries the token of `admin.json`.
#[derive(Debug)]
pub struct Administrator;

impl FromRequestParts<App> for Administrator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let refused =
            || Refusal::unknown("this needs the token of admin.json, which lies in the server's data directory");
        let token = token(&parts.headers).ok_or_else(refused)?;
        if app.store.program_token(&token_hash(token)).await? { Ok(Self) } else { Err(refused()) }
    }
}
