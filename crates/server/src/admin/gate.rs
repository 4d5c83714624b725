//! The mail gate: what goes into the mail server's configuration.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::{app::App, failure::Refusal, http::bearer::Administrator, mail_gate::settings_for_dovecot};

/// `GET /v1/admin/mail-gate`: the secret is in the answer.
///
/// # Errors
/// 401; 409 when there is no gate.
pub async fn mail_gate(_: Administrator, State(app): State<App>) -> Result<Json<Value>, Refusal> {
    let listen = app.config.mail_gate.listen.ok_or_else(|| {
        Refusal::conflict(
            "there is no mail gate: set `listen` under [mail_gate] in server.toml, such as \"127.0.0.1:4480\", and restart lockstep-server",
        )
    })?;
    Ok(Json(json!({
        "v": 1,
        "listen": listen.to_string(),
        "ends_sessions": app.config.mail_gate.end_sessions.is_some(),
        "dovecot": settings_for_dovecot(&app.mail_gate, listen.get()),
        "counts": app.mail_gate.notes.counts(),
    })))
}
