//! The service: everything wired together.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use protocol::{Timestamp, Version, product::ProductId};
use release::tuf::Repository;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    client::{ClientError, Server},
    download::Downloads,
    driver::{Driver, Setup},
    ipc::{self, Hub},
    layout::Layout,
    platform::{self, Listener},
    push,
    record::{Record, RecordFile},
    self_update,
    services::Systemd,
    settings::{self, SettingsError},
    site::{self, SiteError},
    slots::{self, Disk, RealDisk, SlotError, Slots},
    source::{Metadata, SiteSource},
};

/// Why the service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Machine policy.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// The machine's own settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The server's address or certificate, or this PC's identity.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The vendor's root or the store of metadata.
    #[error("the vendor's repository cannot be read")]
    Repository(#[from] release::tuf::Error),
    /// The versions.
    #[error("the installed versions cannot be put right")]
    Slots(#[from] SlotError),
    /// There is one already.
    #[error("another lockstep-updater serves {0}; end it first")]
    Running(PathBuf),
    /// A directory or the socket.
    #[error("{what} cannot be used")]
    System {
        /// Which one.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Why the service has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Asked,
    /// Another program was installed in the place of this one.
    Replaced,
}

/// Runs the service until it is asked to end, or has to give way to another program.
///
/// # Errors
/// [`ServiceError`]; then nothing was changed.
pub async fn run(layout: Layout, version: Version) -> Result<Ended, ServiceError> {
    // The number that the vendor has signed for this very file, where it lies among the versions.
    let version = platform::runs_version(&layout.versions(&ProductId::updater())).unwrap_or(version);
    let mut site = site::read(&layout)?;
    let mut settings = settings::read(&layout)?;
    let complaints = group_policy(&mut settings, &mut site);
    prepare(&layout)?;
    let _only_one = lock(&layout)?;
    #[cfg(windows)]
    if let Err(error) = platform::listed::show_version(&layout, &version.to_string()) {
        tracing::warn!(%error, "the installed programs say another version");
    }
    let disk = Arc::new(RealDisk);
    sweep(&layout)?;
    let file = RecordFile::new(layout.state(), disk.clone());
    let mut record = file.read().map_err(system("the remembered state"))?;
    let hostname = hostname(&layout);
    let slots = Slots::new(layout.clone(), disk.clone());
    remember_failure(&layout, &slots, &file, &mut record).map_err(system("the failure of a new version"))?;
    let repository = Repository::open(&layout.tuf(), &site.vendor_root)?;
    let unreadable = |trouble| system("the vendor's metadata")(io::Error::other(trouble));
    let known = repository.known()?.map(Metadata::packed).transpose().map_err(unreadable)?;
    platform::give_memory_back();
    let server = Arc::new(Server::new(
        site.profile.clone(),
        &settings.download,
        hostname.clone(),
        &version,
        layout.identity(),
        disk,
    )?);
    let downloads = Downloads::new(layout.downloads(), layout.products(), &settings.download, &site.profile);
    let source = Arc::new(SiteSource::new(server.clone(), repository, downloads, &settings.download));
    let fetching = source.fetching();

    let mut driver = Driver::new(Setup {
        layout: layout.clone(),
        slots: slots.clone(),
        file,
        record,
        metadata: known,
        source,
        version: version.clone(),
        hostname,
        channel: settings.policy.channel().to_owned(),
        policy: settings.policy.upgrade.or(site.profile.policy),
        machine: settings.policy.machine(Timestamp::now()),
        clock: Timestamp::now,
        systemd: Systemd::default(),
        supervised: self_update::is_supervised(),
    });
    driver.complain(&complaints);
    driver.recover().await?;

    let listener = Listener::bind(&layout.socket()).map_err(system(layout.socket().display().to_string()))?;
    let hub = Hub {
        published: driver.published(),
        fetching,
        events: driver.events(),
        tickets: server.tickets(),
        slots,
        layout: layout.clone(),
        version: version.clone(),
        server: site.profile.server.clone(),
        clock: Timestamp::now,
        limits: Mutex::default(),
    };
    let push = tokio::spawn(push::follow(server, driver.events()));
    let ipc = tokio::spawn(ipc::listen(listener, Arc::new(hub)));
    let mut replaced = driver.replaced();
    let driving = tokio::spawn(driver.run());
    tracing::info!(%version, site = site.profile.server, root = %layout.root().display(), "running");
    platform::notify_ready();

    let ended = tokio::select! {
        ended = platform::asked_to_end() => ended.map(|()| Ended::Asked),
        // The sender lives as long as the driver, which runs until it is aborted below.
        _ = replaced.wait_for(|replaced| *replaced) => Ok(Ended::Replaced),
    };
    for task in [push, ipc, driving] {
        task.abort();
    }
    platform::forget_socket(&layout.socket());
    ended.map_err(system("waiting for the end"))
}

/// Group Policy goes before the machine's own settings and the site profile's server. Gives what of it does not hold.
fn group_policy(settings: &mut settings::Settings, site: &mut site::Site) -> Vec<String> {
    let mut complaints = Vec::new();
    let values = settings::group_policy::read(&mut complaints);
    let applied = settings::group_policy::apply(settings, &values);
    if let Some(server) = applied.server {
        site.profile.server = server;
    }
    complaints.extend(applied.complaints);
    for complaint in &complaints {
        tracing::warn!(complaint, "a setting is left out");
    }
    complaints
}

/// Remembers that a new version of this program did not come up and was left by the supervisor; it is reported with the rest.
fn remember_failure(layout: &Layout, slots: &Slots, file: &RecordFile, record: &mut Record) -> io::Result<()> {
    let Some(failed) = self_update::failure(layout, &RealDisk)? else { return Ok(()) };
    let updater = ProductId::updater();
    if slots.observe(&updater)?.current.as_ref() == Some(&failed.version) {
        tracing::error!(version = %failed.version, "this version was to be left, and could not be");
    } else {
        tracing::error!(version = %failed.version, reason = failed.reason, "a new version did not come up and was left");
        record.product_mut(&updater).remember_failure(failed.version, failed.reason, failed.at);
        file.write(record)?;
    }
    self_update::forget_failure(layout, &RealDisk)
}

/// Removes what an installer that was killed has left, once no other one is at work.
fn sweep(layout: &Layout) -> Result<(), ServiceError> {
    let _alone = slots::exclusive(layout)?;
    let copy = layout.install_copy();
    RealDisk.remove_tree(&copy).map_err(system(copy.display().to_string()))?;
    let state = layout.state_dir();
    slots::disk::sweep_replaced(&RealDisk, &state).map_err(system(state.display().to_string()))
}

/// Makes the service's directories with their final rights, and refuses those that others could change.
fn prepare(layout: &Layout) -> Result<(), ServiceError> {
    for (dir, mode) in [
        (layout.state_dir(), 0o700),
        (layout.downloads(), 0o700),
        (layout.tuf(), 0o700),
        (layout.products(), 0o755),
        (layout.run_dir(), 0o755),
    ] {
        platform::make_dir(&dir, mode).map_err(system(dir.display().to_string()))?;
        site::trusted_path(layout.root(), &dir)?;
    }
    for name in RealDisk.list(&layout.products()).map_err(system(layout.products().display().to_string()))? {
        let Ok(product) = name.parse() else { continue };
        // Whoever could write here could exchange the link to the active version.
        for dir in [layout.product(&product), layout.versions(&product)].into_iter().filter(|dir| dir.exists()) {
            platform::make_dir(&dir, 0o755).map_err(system(dir.display().to_string()))?;
            site::trusted_path(layout.root(), &dir)?;
        }
    }
    Ok(())
}

/// Makes sure that no other service works here: it holds the file until its process ends, however that ends.
fn lock(layout: &Layout) -> Result<fs::File, ServiceError> {
    let file = platform::open_lock(&layout.lock()).map_err(system(layout.lock().display().to_string()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(ServiceError::Running(layout.root().to_owned())),
        Err(fs::TryLockError::Error(source)) => Err(system(layout.lock().display().to_string())(source)),
    }
}

/// The PC's name: what its administrator wrote, else what the kernel has.
fn hostname(layout: &Layout) -> String {
    let written = layout.hostname().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    let name = written.lines().next().unwrap_or_default().trim().to_owned();
    let name = if name.is_empty() { platform::kernel_hostname() } else { name };
    name.chars().filter(|c| !c.is_control()).take(protocol::message::MAX_TEXT).collect()
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> ServiceError {
    let what = what.into();
    move |source| ServiceError::System { what, source }
}

/// How much of the log is written: what `RUST_LOG` says, such as `info,lockstep_updater=debug`. (Patterns, as the usual filter has them,
/// would cost half a megabyte.)
pub(crate) fn log_filter() -> Targets {
    let said = std::env::var("RUST_LOG").ok().and_then(|text| text.parse().ok());
    said.unwrap_or_else(|| Targets::new().with_default(tracing::Level::INFO))
}

/// Sends the program's log to standard error; to the event log as a Windows service, and where there is no standard error, as in a
/// program of Windows that starts at sign-in. `RUST_LOG` says how much of it.
pub fn log_to_stderr() {
    use std::io::IsTerminal;
    #[cfg(windows)]
    if !win32::console::has_stderr() || self_update::is_supervised() && platform::service::is_installed() {
        return platform::log_to_events();
    }
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .finish()
        .with(log_filter())
        .init();
}

/// A panic ends the process as it is shipped. Its words go where all others do: nobody sees what a service prints on Windows.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
}

/// Says why a program ends, where [`log_to_stderr`] would.
pub fn say_why(words: &str) {
    #[cfg(windows)]
    if !win32::console::has_stderr() {
        return platform::service::log(platform::service::Level::Error, words);
    }
    eprintln!("{words}");
}
