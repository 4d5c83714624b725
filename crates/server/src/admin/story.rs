//! What happened to a device, a seat, or the site.

use axum::{
    Json,
    extract::{Query, State},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{app::App, failure::Refusal, http::bearer::Administrator, plain_text::printable};

/// Whose story.
#[derive(Debug, Deserialize)]
pub struct Asked {
    /// A device's or a seat's id as in the status, or `site`.
    of: String,
}

/// `GET /v1/admin/story?of=ID`, newest first. Of somebody unknown there is none.
///
/// # Errors
/// 401, 500.
pub async fn story(
    _: Administrator,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, Refusal> {
    let events = app.store.story(&asked.of).await?;
    let events: Vec<Value> = events.into_iter().map(|e| json!({"at": e.at, "text": printable(&e.text)})).collect();
    Ok(Json(json!({"v": 1, "of": printable(&asked.of), "story": events})))
}
