//! What a person sees in a browser instead of an error in JSON, or of nothing at all.

use askama::Template;
use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use protocol::message::Failure;

use crate::app::App;

/// Bytes; errors are short.
const MAX: usize = 64 * 1024;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    site: &'a str,
    program: &'a str,
    title: &'a str,
    why: &'a str,
}

/// Turns an error into a page for those who asked for pages. The status and the other headers stay.
pub async fn for_people(State(app): State<App>, request: Request, next: Next) -> Response {
    let person = names_pages(request.headers(), header::ACCEPT);
    let response = next.run(request).await;
    let status = response.status();
    let failed = status.is_client_error() || status.is_server_error();
    if !person || !failed || names_pages(response.headers(), header::CONTENT_TYPE) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, MAX).await.unwrap_or_default();
    let told = serde_json::from_slice::<Failure>(&bytes).map(|failure| failure.error);
    let why = told.unwrap_or_else(|_| "this server cannot do that".into());
    let title = status.canonical_reason().unwrap_or("Error");
    let page = ErrorPage { site: &app.config.name, program: app.version, title, why: &why };
    let Ok(text) = page.render() else { return Response::from_parts(parts, Body::from(bytes)) };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    Response::from_parts(parts, Body::from(text))
}

/// Browsers ask for HTML by name, programs do not.
fn names_pages(headers: &HeaderMap, header: HeaderName) -> bool {
    headers.get(header).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains("text/html"))
}
