//! A connector proves, once, that its user has the mail account.

use std::time::Instant;

use axum::{Extension, Json, body::Bytes, extract::State, http::StatusCode};
use protocol::message::{LoggedIn, Login, MAX_TEXT, V};

use super::parse;
use crate::{
    app::App,
    failure::{Refusal, chain},
    http::listen::Peer,
    mail_login::Verdict,
    plain_text::capped,
    secrets::{seat_token, token_hash},
    store::SeatId,
};

/// `POST /v1/login`. The password is checked by a login to the mail server; it is neither stored nor logged.
///
/// # Errors
/// 400; 401 when the mail server refuses the password; 429; 503 when the mail server cannot be asked.
pub async fn login(
    State(app): State<App>,
    Extension(Peer(peer)): Extension<Peer>,
    body: Bytes,
) -> Result<Json<LoggedIn>, Refusal> {
    let now = Instant::now();
    if !app.limits.login_address.allow_address(peer.ip(), now) {
        return Err(Refusal::too_many());
    }
    let message: Login = parse(&body)?;
    check(&message)?;
    if !app.limits.login_user.allow(&message.user, now) {
        return Err(Refusal::too_many());
    }

    let verdict = {
        let _slot = app.limits.mail_logins.acquire().await.map_err(Refusal::internal)?;
        app.mail_login.check(&message.user, &message.password).await
    };
    match verdict {
        Ok(Verdict::Accepted) => {}
        Ok(Verdict::Denied) => {
            return Err(Refusal::unknown("the mail server does not accept this user and password"));
        }
        Err(error) => {
            tracing::warn!(error = chain(&error), "a password could not be checked");
            return Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the mail server cannot check the password now; try again later",
            ));
        }
    }

    let seat = SeatId::of(&message.seat, &message.user);
    let token = seat_token(&message.user);
    let naming = app.switches.naming().await;
    let named = naming.on;
    let hostname = capped(&message.hostname);
    let user = named.then_some(message.user.as_str());
    let hostname = named.then_some(hostname.as_str());
    let mut platform = message.platform;
    platform.os = capped(&platform.os);
    platform.arch = capped(&platform.arch);
    app.store.seat_logged_in(&seat, &token_hash(&token), user, hostname, &platform, app.now()).await?;
    if named {
        app.store.tell(seat.as_str(), "logged in", app.now()).await?;
    }
    Ok(Json(LoggedIn { v: V, token, mail: app.mail.clone() }))
}

fn check(message: &Login) -> Result<(), Refusal> {
    if message.user.is_empty() || message.user.chars().count() > MAX_TEXT || message.user.contains(char::is_control) {
        return Err(Refusal::malformed("user is not the name of a mail account"));
    }
    if message.password.is_empty() || message.password.len() > 1024 || message.password.contains('\0') {
        return Err(Refusal::malformed("password is empty, longer than 1024 bytes, or has a NUL"));
    }
    let random = message.seat.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !(16..=64).contains(&message.seat.len()) || !random {
        return Err(Refusal::malformed("seat is not 16 to 64 characters of A-Z, a-z, 0-9, - and _"));
    }
    Ok(())
}
