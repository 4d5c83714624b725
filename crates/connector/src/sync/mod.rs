//! Keeps the local mailbox and the mail server the same, while the gate is open.
//!
//! One connection works: it replays what was changed here, then takes over what changed there, INBOX first. A second
//! one waits in INBOX (IDLE), so that new mail is here within seconds. Whatever happens, the same idempotent steps run
//! again: a dropped connection, a killed program or a closed gate costs time, never a message.
//!
//! Conflicts, in one place:
//!
//! * Deleted there, flags changed here: it is gone from its folder; what was marked here is kept in the trash
//!   ([`conflict`]). Moved, copied or edited (appended) here: what was made here is
//!   uploaded, since the user has seen it.
//! * Flags changed on both sides: each flag that was changed here keeps the value it was given here.
//! * The same draft edited on both sides: both versions are kept, as messages of their own.
//! * A folder that was deleted or renamed there is made again there for what was put into it here; flags that were
//!   changed here follow the message into the renamed folder.

mod aside;
mod conflict;
mod folder;
mod idle;
mod replay;
mod trouble;
mod upload;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use mail_store::Folder;
use tokio::sync::{Notify, watch};
use trouble::Troubles;

use crate::{
    backoff::{Backoff, draw},
    clock,
    gate::Mail,
    gatekeeper::GateKeeper,
    local::{CallError, StoreHandle},
    settings::MailSettings,
    upstream::{
        connection::ImapError,
        session::{Login, Session},
    },
};

/// How often all folders are looked at, when nothing says earlier that something changed.
const FULL_PASS: Duration = Duration::from_secs(120);

/// How long after a local change the next ones are waited for, to be taken along.
const GATHER: Duration = Duration::from_millis(50);

/// What a full disk is called, wherever it is told.
pub const DISK_FULL: &str = "the disk of this PC is full: nothing more can be kept here until there is room";

/// How often it is looked whether there is room again.
const UNTIL_ROOM: Duration = Duration::from_secs(10);

/// Why a session with the mail server ended.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The mail server's side.
    #[error(transparent)]
    Imap(#[from] ImapError),
    /// This side.
    #[error("the local mailbox cannot be used")]
    Store(#[from] CallError),
}

impl SyncError {
    /// Whether room on this PC's disk would help.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Store(CallError::Store(error)) if error.is_disk_full())
    }

    /// The whole chain in one line, for the user.
    pub fn reason(&self) -> String {
        if self.is_disk_full() {
            return DISK_FULL.into();
        }
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(inner) = source {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text = format!("{text}: {inner_text}");
            }
            source = inner.source();
        }
        text
    }
}

/// What the synchronisation tells the rest of the program.
#[derive(Debug, Default)]
pub struct Progress {
    /// When all folders were last found to be the same on both sides.
    pub last_sync: watch::Sender<Option<Timestamp>>,
    /// A change that the mail server does not take for now, in words; it is tried again.
    pub problem: watch::Sender<Option<String>>,
    /// The mail server refused the login: the password may have to be read again.
    pub login_refused: Notify,
    /// The user wants it all the same on both sides, now.
    pub wanted: Notify,
}

/// Keeps both sides the same for as long as the future is polled; dropping it at any point is safe.
pub async fn run(
    store: StoreHandle,
    gate: Arc<GateKeeper>,
    mut settings: watch::Receiver<Arc<MailSettings>>,
    progress: Arc<Progress>,
) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
    let mut refusals = Backoff::after_refusals();
    let mut permit = gate.subscribe();
    let troubles = Mutex::default();
    loop {
        // The gatekeeper lives as long as this future; a closed channel cannot be seen here.
        if permit.wait_for(|state| state.permits).await.is_err() {
            return;
        }
        let now = settings.borrow_and_update().clone();
        let outcome = tokio::select! {
            // A closed gate ends the session, and with it both connections, at once.
            _ = permit.wait_for(|state| !state.permits) => {
                backoff.reset();
                lock(&troubles).interrupted();
                continue;
            }
            _ = settings.changed() => {
                lock(&troubles).interrupted();
                continue;
            }
            outcome = session(&store, &gate, &now, &progress, &troubles, &mut backoff) => outcome,
        };
        let Err(error) = outcome;
        let reason = error.reason();
        match &error {
            SyncError::Imap(_) => {
                let aside = lock(&troubles).broke(&reason, std::time::Instant::now());
                if let Some(seq) = aside
                    && let Err(error) = aside::tell(&store, seq, reason.clone()).await
                {
                    tracing::warn!(%error, "the user cannot be told that a change was set aside");
                }
            }
            SyncError::Store(_) => lock(&troubles).interrupted(),
        }
        tracing::warn!(%reason, "not connected to the mail server");
        gate.change(|machine, now| machine.mail(Mail::Failing(reason), now));
        let pause = if matches!(error, SyncError::Imap(ImapError::LoginRefused { .. })) {
            progress.login_refused.notify_one();
            refusals.next(draw())
        } else {
            refusals.reset();
            if error.is_disk_full() { UNTIL_ROOM } else { backoff.next(draw()) }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = progress.wanted.notified() => backoff.reset(),
            // A new password or address is tried at once.
            _ = settings.changed() => {
                backoff.reset();
                refusals.reset();
            }
            _ = permit.wait_for(|state| !state.permits) => backoff.reset(),
        }
    }
}

fn lock(troubles: &Mutex<Troubles>) -> MutexGuard<'_, Troubles> {
    // Whole even if a holder of the lock panicked: each change to it is complete in itself.
    troubles.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn session(
    store: &StoreHandle,
    gate: &GateKeeper,
    settings: &MailSettings,
    progress: &Progress,
    troubles: &Mutex<Troubles>,
    backoff: &mut Backoff,
) -> Result<std::convert::Infallible, SyncError> {
    let login = settings.login();
    let session = Session::open(&login).await?;
    let opened = tokio::time::Instant::now();
    gate.change(|machine, now| machine.mail(Mail::Reached, now));
    tracing::info!(server = %login.address, "connected to the mail server");

    let inbox = InboxNews::default();
    let worker = Worker {
        session,
        store: store.clone(),
        progress,
        inbox: &inbox,
        troubles,
        over_quota: None,
        looked_at_all: false,
        emptied: vec![],
    };
    let ended = tokio::select! {
        ended = worker.work() => ended,
        never = idle::watch(&login, &inbox) => match never {},
    };
    backoff.worked_for(opened.elapsed());
    ended
}

/// Set by the connection that waits in INBOX, taken by the one that works.
#[derive(Debug, Default)]
struct InboxNews {
    there_is: AtomicBool,
    wake: Notify,
    /// The working connection has INBOX up to date: waiting makes sense from now on.
    ready: Notify,
}

impl InboxNews {
    fn tell(&self) {
        self.there_is.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    fn take(&self) -> bool {
        self.there_is.swap(false, Ordering::AcqRel)
    }
}

/// The connection that works, and what it works on.
struct Worker<'a> {
    session: Session,
    store: StoreHandle,
    progress: &'a Progress,
    inbox: &'a InboxNews,
    troubles: &'a Mutex<Troubles>,
    over_quota: Option<upload::OverQuota>,
    /// All folders have been looked at since this session began.
    looked_at_all: bool,
    /// Folders whose messages are elsewhere on the mail server by now.
    emptied: Vec<mail_store::FolderId>,
}

impl Worker<'_> {
    async fn work(mut self) -> Result<std::convert::Infallible, SyncError> {
        let mut pending = self.store.watch_pending();
        pending.mark_changed();
        self.inbox.there_is.store(true, Ordering::Release);
        let mut pass = tokio::time::interval(FULL_PASS);
        pass.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut due: VecDeque<Folder> = VecDeque::new();
        let mut in_pass = false;
        loop {
            if pending.has_changed().unwrap_or(false) {
                pending.mark_unchanged();
                self.replay().await?;
                continue;
            }
            if self.inbox.take() {
                self.inbox().await?;
                self.inbox.ready.notify_one();
                continue;
            }
            if let Some(folder) = due.pop_front() {
                self.folder_if_changed(&folder).await?;
                continue;
            }
            if std::mem::take(&mut in_pass) {
                if !std::mem::replace(&mut self.looked_at_all, true) {
                    // What could not be told before all folders were known; and folders that only waited for it.
                    self.replay().await?;
                    for folder in std::mem::take(&mut self.emptied) {
                        let at = clock::unix();
                        self.store.call(move |store| store.apply_remote_restart_done(folder, at)).await?;
                    }
                    self.folders().await?;
                }
                self.progress.last_sync.send_replace(Some(clock::now()));
            }
            if let Some(alert) = self.session.take_alert() {
                self.progress.problem.send_replace(Some(format!("the mail server says: {alert}")));
            }
            tokio::select! {
                _ = pending.changed() => {
                    pending.mark_changed();
                    tokio::time::sleep(GATHER).await;
                }
                () = self.inbox.wake.notified() => {}
                () = self.progress.wanted.notified() => pass.reset_immediately(),
                _ = pass.tick() => {
                    self.replay().await?;
                    due = self.folders().await?.into();
                    in_pass = true;
                }
            }
        }
    }

    /// Takes over the list of folders; gives those that hold messages, INBOX first.
    async fn folders(&mut self) -> Result<Vec<Folder>, SyncError> {
        let listed = self.session.list().await?;
        let at = clock::unix();
        let folders = self.store.call(move |store| store.apply_remote_folders(&listed, at)).await?;
        Ok(folders.into_iter().filter(|folder| folder.selectable && folder.on_server).collect())
    }

    async fn inbox(&mut self) -> Result<(), SyncError> {
        if let Some(folder) = self.store.call(|store| store.folder_by_name("INBOX")).await? {
            self.folder(&folder, false).await?;
        }
        Ok(())
    }

    /// Something that should not wait for a big folder: new mail in INBOX, or a change made here.
    fn has_urgent_work(&self, pending: &watch::Receiver<u64>) -> bool {
        self.inbox.there_is.load(Ordering::Acquire) || pending.has_changed().unwrap_or(false)
    }
}

/// What logging in takes.
impl MailSettings {
    fn login(&self) -> Login {
        Login {
            address: self.server.imap.clone(),
            tls: self.tls.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            version: self.version.clone(),
        }
    }
}
