//! The mirror, served: exactly the bytes that were verified.

use axum::{
    extract::{Path, Request, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use tower::ServiceExt;
use tower_http::services::ServeFile;

use crate::{app::App, failure::Refusal};

const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// `GET /tuf/metadata/{name}`.
pub async fn metadata(State(app): State<App>, Path(name): Path<String>) -> Result<Response, Refusal> {
    let bytes = app.mirror.current().and_then(|served| served.metadata(&name));
    let bytes = bytes.ok_or_else(|| Refusal::absent("there is no such metadata"))?;
    let mut response = ([(header::CONTENT_TYPE, "application/json")], bytes).into_response();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        response.headers_mut().insert(header::CACHE_CONTROL, FOR_EVER);
    }
    Ok(response)
}

/// `GET /tuf/targets/{path}`, with ranges (RFC 9110, section 14), so that a download can be resumed.
pub async fn target(State(app): State<App>, Path(path): Path<String>, request: Request) -> Result<Response, Refusal> {
    let absent = || Refusal::absent("there is no such target");
    let served = app.mirror.current().ok_or_else(absent)?;
    let file = served.target(&path).ok_or_else(absent)?;
    let sent = ServeFile::new(file).oneshot(request).await;
    let mut response = sent.unwrap_or_else(|never| match never {}).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, FOR_EVER);
    Ok(response)
}
