//! The first start, and every start.

mod first;
mod open;

use std::{io, net::SocketAddr, path::PathBuf};

use tls_trust::TlsTrustError;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::{
    app::App,
    config::{ConfigError, Loopback, MailGate, Missing},
    console::password::HashError,
    http, mail_gate,
    mirror::MirrorError,
    mirror_tasks, server_version,
    store::StoreError,
    tls::{Identity, TlsError},
    warning_log,
};
pub use first::{Flags, first_start};
pub use open::{Opened, open};

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The first start was not told enough.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The configuration is not usable.
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
    /// A value given on the command line is not accepted.
    #[error("{flag}: {why}")]
    Flag {
        /// Which one.
        flag: &'static str,
        /// What is accepted.
        why: String,
    },
    /// A file cannot be used.
    #[error("cannot use {what} {path}")]
    File {
        /// What it is.
        what: &'static str,
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The vendor's root is not one.
    #[error("{path} is not the vendor's root of trust; get root.json from the vendor again")]
    VendorRoot {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: release::tuf::Error,
    },
    /// The mirror cannot be opened.
    #[error("the mirror cannot be opened")]
    Mirror(#[from] MirrorError),
    /// The vendor's address cannot be used.
    #[error("the vendor's repository cannot be set up")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database cannot be opened.
    #[error("lockstep.sqlite in the data directory cannot be opened; it must be this account's own, and writable")]
    Store(#[from] StoreError),
    /// The certificate cannot be used.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// Trust towards the mail server cannot be set up.
    #[error("`ca` in the section [mail] of server.toml must name a file with the mail server's certificate in PEM")]
    Mail(#[from] TlsTrustError),
    /// The first administrator's password cannot be stored.
    #[error("the administrator cannot be made")]
    Password(#[from] HashError),
    /// The mail gate's port is taken, or not ours to take.
    #[error(
        "cannot listen on {address} for the mail server; is another server running there? `listen` under [mail_gate] in server.toml names another port"
    )]
    MailGate {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The port is taken, or not ours to take.
    #[error("cannot listen on {address}; is another server running there? `listen` in server.toml names another port")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Takes the port.
///
/// # Errors
/// [`StartError::Listen`].
pub async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

/// Takes the mail gate's port, where there is one.
///
/// # Errors
/// [`StartError::MailGate`].
pub async fn bind_mail_gate(gate: &MailGate) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = gate.listen.map(Loopback::get) else { return Ok(None) };
    TcpListener::bind(address).await.map(Some).map_err(|source| StartError::MailGate { address, source })
}

/// Serves, and does everything that is due meanwhile, until `stop` becomes true.
pub async fn serve(
    app: App,
    identity: Identity,
    listener: TcpListener,
    mail_gate: Option<TcpListener>,
    stop: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    if let Some(listener) = mail_gate {
        tasks.spawn(mail_gate::serve(listener, app.clone()));
        tasks.spawn(mail_gate::keep_notes(app.clone()));
    }
    tasks.spawn(mirror_tasks::follow(app.clone()));
    tasks.spawn(warning_log::follow(app.clone()));
    for (product, configured) in &app.config.products {
        tasks.spawn(server_version::follow(app.clone(), product.clone(), configured.server_version.clone()));
    }
    http::listen::serve(listener, identity.config, http::router(app.clone()), stop).await;
    tasks.shutdown().await;
    app.store.close().await;
}
