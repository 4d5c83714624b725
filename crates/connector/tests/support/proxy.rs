//! A line to the mail server that is cut at a chosen byte.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Where a connection is cut. Bytes are those that the client sends on one connection, as they are on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nowhere.
    Never,
    /// After so many: what comes then never reaches the server.
    After(u64),
    /// What the client sends reaches the server; after so many bytes nothing that the server says comes back, and a second
    /// later the line is cut.
    Reply(u64),
}

/// Listens on a port of its own.
pub struct Proxy {
    pub port: u16,
    cut: watch::Sender<Cut>,
    cuts: Arc<AtomicU64>,
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            cut: watch::Sender::new(Cut::Never),
            cuts: Arc::default(),
        };
        let (cut, cuts) = (proxy.cut.subscribe(), proxy.cuts.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (cut, cuts) = (cut.clone(), cuts.clone());
                tokio::spawn(async move {
                    // A server that is switched off takes no connections: the client sees it closed.
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await {
                        carry(client, server, cut, &cuts).await;
                    }
                });
            }
        });
        proxy
    }

    /// From now on, also on connections that are open.
    pub fn cut(&self, cut: Cut) {
        self.cut.send_replace(cut);
    }

    /// How often a line was cut so far.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::SeqCst)
    }
}

async fn carry(client: TcpStream, server: TcpStream, cut: watch::Receiver<Cut>, cuts: &AtomicU64) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let sent = AtomicU64::new(0);
    let up = async {
        let mut buffer = vec![0; 4096];
        loop {
            let Ok(read @ 1..) = from_client.read(&mut buffer).await else { return };
            let before = sent.fetch_add(read as u64, Ordering::SeqCst);
            let (now, cut) = (before + read as u64, *cut.borrow());
            if let Cut::After(limit) = cut
                && now > limit
            {
                let rest = usize::try_from(limit.saturating_sub(before)).unwrap();
                // The line breaks either way.
                let _ = to_server.write_all(&buffer[..rest.min(read)]).await;
                cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if to_server.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 4096];
        loop {
            let Ok(read @ 1..) = from_server.read(&mut buffer).await else { return };
            let now = *cut.borrow();
            if let Cut::Reply(limit) = now
                && sent.load(Ordering::SeqCst) > limit
            {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
