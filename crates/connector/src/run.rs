//! The running connector. What is local comes first and needs nobody: the store, then the local servers. Everything
//! else goes on beside it, and may fail and try again without the user's mail program noticing.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lockstep_client::Updater as UpdaterClient;
use protocol::Version;
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    account::Account,
    checkin::{self, CheckIn, VERDICT},
    clock,
    gate::{GateMachine, Verdict},
    gatekeeper::GateKeeper,
    installer::{self, Installation, Told, per_machine},
    instance::{Instance, InstanceError},
    live::{Live, LiveError},
    local::{self, CallError, Credentials, LocalContext, ServeError, StoreHandle},
    notices, opening, outbox, profile,
    server_client::ServerClient,
    status::Status,
    sync,
    words::HERE,
};

mod keeper;
mod presence;
mod tidy;
mod unopened;

/// How long the updater may take to answer.
const UPDATER_PATIENCE: Duration = Duration::from_secs(2);

/// How long open connections and a message that is being sent may take after the program was asked to stop.
const LAST_MESSAGE: Duration = Duration::from_millis(700);

/// How long a port that another program holds is waited for.
const PORT_PATIENCE: u32 = 30;

/// Why the connector does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another one does.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// The account.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The mail store.
    #[error("the mail store in {path} cannot be opened")]
    Store {
        /// Which.
        path: PathBuf,
        /// Why.
        source: mail_store::Error,
    },
    /// The mail store, later.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A port.
    #[error(
        "port {port} of 127.0.0.1 cannot be used; is another program using it? Choose another one with --imap-port or --smtp-port of: {}", HERE.setup
    )]
    Port {
        /// Which.
        port: u16,
        /// Why.
        source: std::io::Error,
    },
    /// The program's own version.
    #[error(transparent)]
    Version(#[from] protocol::product::BadVersion),
}

/// Where everything is.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The PC's root directory.
    pub root: PathBuf,
    /// The user's data directory.
    pub data: PathBuf,
    /// The running program.
    pub program: PathBuf,
    /// Its version.
    pub version: String,
}

/// Why a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As asked.
    Asked,
    /// The connector that is installed for everybody on this PC is to go on, by its launcher, with the same data.
    TakenOver,
}

/// Runs until `stop` is ready, or the machine's connector is to take over.
///
/// # Errors
/// [`RunError`] when it cannot start. After that nothing ends it but `stop`.
pub async fn run(options: RunOptions, stop: impl Future<Output = ()>) -> Result<Ended, RunError> {
    let version = protocol::product::parse_version(&options.version)?;
    if is_outlived(&options, &version) {
        return Ok(Ended::TakenOver);
    }
    // Without an account there is nothing to run, and no directory to lock.
    let account = Account::load(&options.data).map_err(LiveError::Account)?;
    let _instance = Instance::acquire(&options.data).await?;
    let start = say_that_it_starts(&options, &account);
    // The store may have to be migrated, and the keyring may be slow: they wait together.
    let opened = open_store(&options.data, &version, start.clone());
    let (store, live) = tokio::join!(opened, Live::load(&options.data, &options.version));
    let (store, trouble) = match (store, &live) {
        (Ok(opened), _) => opened,
        (Err(error), Ok(live)) => {
            unopened::tell(&options, &version, live, start, &error).await;
            return Err(error);
        }
        (Err(error), Err(_)) => return Err(error),
    };
    let live = Arc::new(live?);
    let account = live.account();
    let imap = listen(account.imap_port).await?;
    let smtp = listen(account.smtp_port).await?;

    let machine = GateMachine::new(version.clone(), kept_verdict(&store).await?, start.since);
    let machine = machine.after(start.last_online_at, start.last_offline_at).with_trouble(trouble);
    let gate = Arc::new(GateKeeper::new(machine));
    let progress = Arc::new(sync::Progress::default());
    let answered = watch::Sender::new(None);
    let told = watch::Sender::new(None);
    let (tell_stop, stopping) = watch::channel(false);
    let mut tasks = JoinSet::new();

    let mut closing = JoinSet::new();
    let context = LocalContext {
        store: store.clone(),
        credentials: Arc::new(Credentials::new(&account.user, &live.secrets().borrow().local_password)),
        notices: gate.notices(),
        version: options.version.as_str().into(),
    };
    closing.spawn(until_it_ends("IMAP", local::serve_imap(imap, context.clone(), stopping.clone())));
    closing.spawn(until_it_ends("submission", local::serve_submission(smtp, context, stopping.clone())));
    closing.spawn(outbox::run(store.clone(), gate.clone(), live.settings(), stopping.clone()));
    let updater = UpdaterClient::at(&options.root).within(UPDATER_PATIENCE);
    let own_updater = updater.clone();
    let (healthy, watched, healthy_store) = (updater.clone(), gate.clone(), store.clone());
    tasks.spawn(async move { opening::once_healthy(healthy, &watched, healthy_store).await });
    let server = ask_server(&mut tasks, &options, version.clone(), updater, &store, &live, &gate, &answered, &told);
    let shown = watch::Sender::new(None);
    let users_word = Arc::new(Notify::new());
    let wanted = presence::Wanted { progress: progress.clone(), users_word: users_word.clone(), updater: own_updater };
    let (desktop, presence) = presence::open(&options, shown.subscribe(), wanted);
    tasks.spawn(notices::run(store.clone(), gate.clone(), account.user.clone(), desktop));
    let upgrade = installer::run(installer_task(&options, version, &account, server, &gate, &told, users_word));
    tasks.spawn(sync::run(store.clone(), gate.clone(), live.settings(), progress.clone()));
    tasks.spawn(read_password_again(live.clone(), progress.clone()));
    tasks.spawn(opening::fill_search(store.clone()));
    tasks.spawn(tidy::run(store.clone(), tidy::AFTER_START));
    let keeper = keeper::Keeper {
        data: options.data.clone(),
        version: options.version.clone(),
        store: store.clone(),
        live: live.clone(),
        gate: gate.clone(),
        progress,
        answered: answered.subscribe(),
        shown,
    };
    let keeper = Arc::new(keeper);
    let keeping = keeper.clone();
    tasks.spawn(async move { keeping.run().await });
    tracing::info!(version = %options.version, user = %account.user, imap = account.imap_port, smtp = account.smtp_port, "serving local mail");

    let ended = tokio::select! {
        () = stop => Ended::Asked,
        () = upgrade => Ended::TakenOver,
        () = presence => Ended::Asked,
    };
    tracing::info!("stopping");
    tell_stop.send_replace(true);
    let closed = async { while closing.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_MESSAGE, closed).await.is_err() {
        tracing::warn!("not everybody was done in time; a message that is just being sent may be sent again");
    }
    tasks.abort_all();
    while tasks.join_next().await.is_some() {}
    Ok(ended)
}

/// Whether a newer connector is installed on this PC for everybody. It may have used the store already, which this older
/// program then could not open.
fn is_outlived(options: &RunOptions, version: &Version) -> bool {
    !per_machine::is_machines_own(&options.root, &options.program)
        && per_machine::updater_is_installed(&options.root)
        && per_machine::connector(&options.root).is_some_and(|machines| machines > *version)
}

/// What looks after the upgrade where there is no updater.
fn installer_task(
    options: &RunOptions,
    version: Version,
    account: &Account,
    server: Option<(profile::Found, ServerClient)>,
    gate: &Arc<GateKeeper>,
    told: &watch::Sender<Option<Told>>,
    users_word: Arc<Notify>,
) -> installer::Task {
    let workshop = server.and_then(|(found, server)| {
        let workshop = installer::workshop(&found, &options.data, server, &version);
        workshop
            .inspect_err(|error| tracing::warn!(%error, "this connector cannot be upgraded without an updater"))
            .ok()
    });
    installer::Task {
        installation: Installation {
            data: options.data.clone(),
            root: options.root.clone(),
            elevation: installer::elevation(&options.root, account.elevation.as_deref()),
        },
        workshop,
        program: options.program.clone(),
        version,
        gate: gate.clone(),
        told: told.subscribe(),
        users_word,
    }
}

/// The last run's "online" must not be read as this one's while it starts.
fn say_that_it_starts(options: &RunOptions, account: &Account) -> Status {
    let before = Status::load(&options.data).unwrap_or_else(|error| {
        tracing::warn!(%error, "the last run's status cannot be read");
        None
    });
    let start = Status::at_start(account, &options.version, before.as_ref(), clock::now());
    if let Err(error) = start.save(&options.data) {
        tracing::warn!(%error, "the status cannot be written");
    }
    start
}

async fn until_it_ends(what: &'static str, server: impl Future<Output = Result<(), ServeError>>) {
    if let Err(error) = server.await {
        tracing::error!(%error, what, "a local server ended");
    }
}

#[expect(clippy::too_many_arguments, reason = "wiring: each is a part of its own")]
fn ask_server(
    tasks: &mut JoinSet<()>,
    options: &RunOptions,
    version: Version,
    updater: UpdaterClient,
    store: &StoreHandle,
    live: &Arc<Live>,
    gate: &Arc<GateKeeper>,
    answered: &watch::Sender<Option<jiff::Timestamp>>,
    told: &watch::Sender<Option<Told>>,
) -> Option<(profile::Found, ServerClient)> {
    let found = profile::find(&options.root, &options.program).map_err(|e| e.to_string()).and_then(|found| {
        let server = ServerClient::new(&found.profile, &options.version).map_err(|e| e.to_string())?;
        Ok((found, server))
    });
    let (found, server) = match found {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(%error, "the site's server cannot be asked");
            gate.change(|machine, now| machine.not_decided(now));
            return None;
        }
    };
    let wake = Arc::new(Notify::new());
    let check_in = CheckIn {
        server: server.clone(),
        updater,
        gate: gate.clone(),
        live: live.clone(),
        store: store.clone(),
        version,
        root: options.root.clone(),
        hostname: profile::hostname(&options.root),
        wake: wake.clone(),
        policy: found.profile.policy,
        told: told.clone(),
        answered: answered.clone(),
    };
    tasks.spawn(async move { match check_in.run().await {} });
    let (live, listening) = (live.clone(), server.clone());
    tasks.spawn(async move { match checkin::listen(&listening, &live, &wake).await {} });
    Some((found, server))
}

/// After a refused login the user may have run `setup` with a new password.
async fn read_password_again(live: Arc<Live>, progress: Arc<sync::Progress>) {
    loop {
        progress.login_refused.notified().await;
        for _ in 0..20 {
            if let Err(error) = live.reload().await {
                tracing::warn!(%error, "the password cannot be read again");
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    }
}

/// Also gives what of it the user should know.
async fn open_store(data: &Path, version: &Version, status: Status) -> Result<(StoreHandle, Option<String>), RunError> {
    let (path, data, version) = (opening::path(data), data.to_owned(), version.clone());
    let opened = tokio::task::spawn_blocking(move || opening::open(&data, &version, status)).await;
    match opened {
        Ok(Ok(store)) => {
            let trouble = store.postponed().map(ToString::to_string);
            Ok((StoreHandle::start(store), trouble))
        }
        Ok(Err(source)) => Err(RunError::Store { path, source }),
        Err(_) => Err(RunError::Call(CallError::Closed)),
    }
}

async fn kept_verdict(store: &StoreHandle) -> Result<Option<Verdict>, CallError> {
    let kept = store.call(|store| store.meta(VERDICT)).await?;
    // One that a newer version wrote differently says nothing about this version.
    Ok(kept.and_then(|text| serde_json::from_str(&text).ok()))
}

async fn listen(port: u16) -> Result<TcpListener, RunError> {
    let mut tries = 0;
    loop {
        // Where the system knows it, tokio sets SO_REUSEADDR: a restart binds at once.
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => return Ok(listener),
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse && tries < PORT_PATIENCE => tries += 1,
            Err(source) => return Err(RunError::Port { port, source }),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
