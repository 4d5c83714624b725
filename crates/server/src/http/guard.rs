//! What holds for every request and every answer.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{app::App, failure::Refusal};

/// Nothing but our own style sheet, no scripts, no frames, forms to ourselves only.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// A quick request that takes longer is given up; it is as long as a mail login may take, and then some.
const DEADLINE: Duration = Duration::from_secs(30);

/// A request that changes something and comes from a browser must come from our own pages. Programs send no `Origin`.
pub async fn origin(State(app): State<App>, request: Request, next: Next) -> Response {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let origin = request.headers().get(header::ORIGIN);
    if let Some(foreign) = origin.filter(|origin| !safe && !is_own(&app, origin)) {
        // Behind a proxy, or under another name: this tells which address the configuration should have.
        let why = format!("this request comes from another site's page: {foreign:?}, not {}", app.config.url.origin());
        return Refusal::forbidden(why).into_response();
    }
    next.run(request).await
}

/// Whether an `Origin` is one of our own.
pub fn is_own(app: &App, origin: &HeaderValue) -> bool {
    origin.to_str().is_ok_and(|origin| app.origins.iter().any(|own| own == origin))
}

/// The headers that every answer carries.
pub async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    // Not "no-referrer": under it a browser sends `Origin: null` with our own forms (Fetch standard, "append a request
    // `Origin` header"), and they would be refused.
    set(header::REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(header::CACHE_CONTROL, "no-store");
    response
}

/// Gives up on a request whose answer does not begin in time, such as one whose body trickles in.
pub async fn deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => Refusal::new(StatusCode::REQUEST_TIMEOUT, "this took too long").into_response(),
    }
}
