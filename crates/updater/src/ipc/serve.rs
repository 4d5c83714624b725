//! One connection: frames in, replies out.

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::ipc::{FrameError, FrameReader, MAX_REQUEST, Reply, Request, Verb};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{oneshot, watch::Receiver},
    time::timeout,
};

use super::{
    Hub, fetched,
    fit::fitted,
    limits::Pace,
    may_check_now, news,
    rules::{Open, open},
};
use crate::{
    driver::{Event, Why, Word},
    platform::{Peer, Stream},
};

/// The format version that is spoken.
const V: u32 = 1;
/// Without a request for this long, a connection that does not watch is closed.
const IDLE: Duration = Duration::from_secs(60);
/// A peer that does not take a reply in this time is given up.
const SLOW: Duration = Duration::from_secs(10);
/// A watcher is told of the bytes of a package no more often than this.
const BYTES_EVERY: Duration = Duration::from_millis(500);
/// The driver answers a consent in this time.
const DRIVER: Duration = Duration::from_secs(10);

/// Why a connection ended that was not closed by its peer.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// Reading or writing failed.
    #[error("the connection broke off")]
    Broken(#[from] io::Error),
    /// What came is not a request.
    #[error("a request is not understood")]
    Malformed(#[from] FrameError),
    /// It asked for nothing, or did not take its reply.
    #[error("the peer is idle or too slow")]
    Idle,
    /// It asked for too much.
    #[error("the peer asks too often")]
    TooFast,
}

/// Answers one peer until it goes, or misbehaves.
///
/// # Errors
/// [`Ended`].
pub async fn serve(mut stream: Stream, peer: &Peer, hub: &Arc<Hub>) -> Result<(), Ended> {
    let mut frames = FrameReader::new(MAX_REQUEST);
    let mut pace = Pace::new(Instant::now());
    let mut buffer = [0; MAX_REQUEST];
    loop {
        let read = timeout(IDLE, stream.read(&mut buffer)).await.map_err(|_| Ended::Idle)??;
        if read == 0 {
            return Ok(());
        }
        frames.push(&buffer[..read]);
        loop {
            let request: Request = match frames.next_frame() {
                Ok(Some(request)) => request,
                Ok(None) => break,
                Err(error) => {
                    send(&mut stream, &refused("this is not a request")).await?;
                    return Err(error.into());
                }
            };
            if !pace.request(Instant::now()) {
                send(&mut stream, &refused("too many requests; wait a little")).await?;
                return Err(Ended::TooFast);
            }
            if request.v != V {
                send(&mut stream, &refused(&format!("this updater speaks version {V} of the protocol"))).await?;
                continue;
            }
            if request.verb == Verb::Watch {
                return watch(stream, peer, hub).await;
            }
            let reply = answer(request.verb, peer, hub).await;
            send(&mut stream, &reply).await?;
        }
    }
}

async fn answer(verb: Verb, peer: &Peer, hub: &Arc<Hub>) -> Reply {
    match open(verb) {
        Open::ToAll => {}
        Open::ToAllSparingly if may_check_now(hub, &peer.user) => {}
        Open::ToAllSparingly => return refused("asked too often; try again in a minute"),
        Open::ToRoot if peer.is_administrator => {}
        Open::ToRoot => return refused("only an administrator may ask for that"),
        Open::ToActiveProgram => return confirm_healthy(peer, hub).await,
    }
    match verb {
        Verb::Status => Reply::Status(Box::new(hub.status(peer))),
        Verb::Consent => ask(peer, hub, |answer| Event::Consent(Word::of(peer), answer)).await,
        Verb::Retry => ask(peer, hub, Event::Retry).await,
        Verb::CheckNow => match hub.events.send(Event::Wanted(Why::Asked)).await {
            Ok(()) => Reply::Ok { detail: "checking in".into() },
            Err(_) => refused("the updater is ending"),
        },
        // Handled by their callers.
        Verb::Watch | Verb::ConfirmHealthy => refused("not here"),
    }
}

/// Asks the driver, and waits for its answer.
async fn ask(peer: &Peer, hub: &Hub, event: impl FnOnce(oneshot::Sender<Result<String, String>>) -> Event) -> Reply {
    let (answer, said) = oneshot::channel();
    if hub.events.send(event(answer)).await.is_err() {
        return refused("the updater is ending");
    }
    match timeout(DRIVER, said).await {
        Ok(Ok(Ok(detail))) => {
            tracing::info!(user = %peer.user, session = peer.session, detail, "a user has spoken");
            Reply::Ok { detail }
        }
        Ok(Ok(Err(error))) => Reply::Refused { error },
        Ok(Err(_)) | Err(_) => refused("the updater is busy; try again"),
    }
}

async fn confirm_healthy(peer: &Peer, hub: &Arc<Hub>) -> Reply {
    let (looking, caller) = (hub.clone(), peer.clone());
    let found = tokio::task::spawn_blocking(move || looking.active_program(&caller)).await.ok().flatten();
    let Some((product, version)) = found else {
        tracing::warn!(user = %peer.user, pid = ?peer.pid, "a program that is not an active version confirmed its health");
        return refused("only the active version's own program can confirm that it is healthy");
    };
    let detail = format!("{product} {version} is confirmed");
    match hub.events.send(Event::Confirmed(product, version)).await {
        Ok(()) => Reply::Ok { detail },
        Err(_) => refused("the updater is ending"),
    }
}

/// Tells everything once, then what changes. A watcher that says anything more is not understood and closed.
async fn watch(mut stream: Stream, peer: &Peer, hub: &Hub) -> Result<(), Ended> {
    let mut published = hub.published.clone();
    let mut fetching = hub.fetching.clone();
    let user = peer.user.to_string();
    let mut told = None;
    let mut told_bytes = BTreeMap::new();
    let mut again = tokio::time::Instant::now();
    loop {
        let now = published.borrow_and_update().clone();
        for reply in news(told.as_ref(), &now, &user) {
            send(&mut stream, &reply).await?;
        }
        if tokio::time::Instant::now() >= again {
            let bytes = fetching.borrow_and_update().clone();
            for reply in fetched(&told_bytes, &bytes, &now) {
                send(&mut stream, &reply).await?;
            }
            told_bytes = bytes;
            again = tokio::time::Instant::now() + BYTES_EVERY;
        }
        told = Some(now);
        let mut byte = [0];
        tokio::select! {
            changed = published.changed() => if changed.is_err() { return Ok(()) },
            // Waits only when something is fetched: a package brings thousands of changes.
            () = more_bytes(&mut fetching, again) => {}
            read = stream.read(&mut byte) => return if read? == 0 { Ok(()) } else { Err(Ended::TooFast) },
        }
    }
}

/// Waits until there is more of a package, but not before `again`.
async fn more_bytes<T>(fetching: &mut Receiver<T>, again: tokio::time::Instant) {
    if fetching.changed().await.is_err() {
        // Nothing is fetched any more; everything else goes on.
        std::future::pending::<()>().await;
    }
    tokio::time::sleep_until(again).await;
}

async fn send(stream: &mut Stream, reply: &Reply) -> Result<(), Ended> {
    timeout(SLOW, stream.write_all(&fitted(reply))).await.map_err(|_| Ended::Idle)??;
    Ok(())
}

fn refused(error: &str) -> Reply {
    Reply::Refused { error: error.into() }
}
