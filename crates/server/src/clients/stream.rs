//! An event stream (`text/event-stream`, HTML standard, section 9.2).

use std::{convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::stream;
use protocol::message::{KEEP_ALIVE_SECONDS, Push, V};
use tokio::sync::{broadcast::error::RecvError, watch};

use crate::{app::App, push::Stream};

struct Listener {
    stream: Stream,
    stop: watch::Receiver<bool>,
}

/// Opens one for a client. It ends when the server stops.
pub fn open(app: &App, client: &str) -> Response {
    let listener = Listener { stream: app.push.listen(client), stop: app.stop.clone() };
    let events = stream::unfold(listener, |mut listener| async {
        let push = next(&mut listener).await?;
        let event =
            Event::default().json_data(push).unwrap_or_else(|_| Event::default().data("{\"v\":1,\"why\":\"\"}"));
        Some((Ok::<_, Infallible>(event), listener))
    });
    let alive = KeepAlive::new().interval(Duration::from_secs(KEEP_ALIVE_SECONDS)).text("still here");
    Sse::new(events).keep_alive(alive).into_response()
}

async fn next(listener: &mut Listener) -> Option<Push> {
    if let Some(first) = listener.stream.first.take() {
        return Some(first);
    }
    tokio::select! {
        event = listener.stream.events.recv() => match event {
            Ok(push) => Some(push),
            Err(RecvError::Lagged(_)) => Some(Push { v: V, why: "several things have changed".into() }),
            Err(RecvError::Closed) => None,
        },
        _ = listener.stop.wait_for(|stop| *stop) => None,
    }
}
