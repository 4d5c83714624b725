//! Taking TLS connections. A slow or silent client costs a task and nothing else.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Extension, Router};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// For the TLS handshake, and then for each request's head.
const HEAD_DEADLINE: Duration = Duration::from_secs(15);

/// Connections at the same time; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 10_000;

/// How long running requests may take to end when the server stops.
const LAST_ORDERS: Duration = Duration::from_secs(5);

/// The address a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Serves until `stop` becomes true; then lets running requests end.
pub async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, router: Router, mut stop: watch::Receiver<bool>) {
    let acceptor = TlsAcceptor::from(tls);
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { break };
        let (tcp, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: others will be closed in a moment.
                    tracing::warn!(%error, "cannot take a connection");
                    sleep(Duration::from_millis(200)).await;
                    continue;
                }
            },
            () = told(&mut stop) => break,
        };
        let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
        connections.spawn(async move {
            connection(tcp, peer, acceptor, router, stop).await;
            drop(slot);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let ended = timeout(LAST_ORDERS, async { while connections.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!(open = connections.len(), "some connections are cut");
    }
}

async fn connection(
    tcp: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    // It only costs speed when it fails.
    let _ = tcp.set_nodelay(true);
    let tls = match timeout(HEAD_DEADLINE, acceptor.accept(tcp)).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "no TLS"),
        Err(_elapsed) => return tracing::debug!(%peer, "no TLS in time"),
    };
    let service = TowerToHyperService::new(router.layer(Extension(Peer(peer))));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE);
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(tls), service));
    let outcome = tokio::select! {
        outcome = serving.as_mut() => outcome,
        () = told(&mut stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}

async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that the one who could stop us is gone, so it is time as well.
    let _ = stop.wait_for(|stop| *stop).await;
}
