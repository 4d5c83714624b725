//! Taking the mail server's requests: plain HTTP/1.1 on loopback.
//!
//! Nobody is ever made to wait here. When something is too slow, too long or too much it is cut off at once: Dovecot then
//! lets its client in.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, RawQuery, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet, time::timeout};

use super::answer::answer;
use crate::{app::App, failure::Refusal, http::bearer, secrets::same};

/// For a request's head, and between two requests. Dovecot closes an idle connection after 10 seconds; ours must not be the
/// first to, or a request could be lost in between.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// For a request, its body included. Dovecot waits 1.5 seconds.
const DEADLINE: Duration = Duration::from_secs(5);

/// Bytes; Dovecot's requests have less than 40 KiB, however long a client makes its ID.
const MAX_BODY: usize = 64 * 1024;

/// Connections at the same time; Dovecot opens at most 100.
const MAX_CONNECTIONS: usize = 512;

/// Answers until the task is dropped.
pub async fn serve(listener: TcpListener, app: App) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let router = router(app.clone());
    loop {
        let tcp = match listener.accept().await {
            Ok((tcp, _)) => tcp,
            Err(error) => {
                // Out of descriptors, most likely: others will be closed in a moment.
                tracing::warn!(%error, "the mail gate cannot take a connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        // One too many is closed at once, so that whoever asks need not wait for its own deadline.
        let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
        // It only costs speed when it fails.
        let _ = tcp.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_buf_size(MAX_BODY);
            if let Err(error) = builder.serve_connection(TokioIo::new(tcp), service).await {
                tracing::debug!(%error, "a connection to the mail gate ended early");
            }
            drop(slot);
        });
        while connections.try_join_next().is_some() {}
    }
}

fn router(app: App) -> Router {
    Router::new()
        .fallback(ask)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(deadline))
        .with_state(app)
}

async fn deadline(request: Request, next: Next) -> Response {
    match timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => Refusal::new(StatusCode::REQUEST_TIMEOUT, "this took too long").into_response(),
    }
}

async fn ask(State(app): State<App>, RawQuery(query): RawQuery, headers: HeaderMap, body: Bytes) -> Response {
    let known = bearer::token(&headers).is_some_and(|token| same(token.trim(), &app.mail_gate.secret));
    if app.mail_gate.notes.stranger(!known) {
        let why = "somebody asks it with a wrong secret; if that is the mail server, put what `lockstep mail-gate` prints \
                   into its configuration again";
        app.set_problem("mail gate", (!known).then(|| why.into()));
    }
    if !known {
        return Refusal::unknown("this needs the secret that `lockstep mail-gate` prints").into_response();
    }
    let query = query.unwrap_or_default();
    let command = query.split('&').find_map(|pair| pair.strip_prefix("command=")).unwrap_or_default();
    Json(answer(&app, command, &body)).into_response()
}
