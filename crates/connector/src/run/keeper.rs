//! Keeps `status.json` up to date.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use mail_store::OutboxState;
use tokio::sync::watch;

use crate::{
    checkin::waiting,
    gatekeeper::GateKeeper,
    live::Live,
    local::{CallError, StoreHandle},
    status::{FolderCounts, Status},
    sync::Progress,
};

/// Changes that come closer together than this are written once.
const GATHER: Duration = Duration::from_millis(50);

/// How often it is looked whether messages came or went.
const LOOK: Duration = Duration::from_secs(2);

/// What the status is made of.
pub(super) struct Keeper {
    pub data: PathBuf,
    pub version: String,
    pub store: StoreHandle,
    pub live: Arc<Live>,
    pub gate: Arc<GateKeeper>,
    pub progress: Arc<Progress>,
    pub answered: watch::Receiver<Option<Timestamp>>,
    /// The status, for others in this program.
    pub shown: watch::Sender<Option<Status>>,
}

impl Keeper {
    /// Writes the status whenever something of it changes.
    pub async fn run(&self) {
        let mut gate = self.gate.subscribe();
        let mut last_sync = self.progress.last_sync.subscribe();
        let mut problem = self.progress.problem.subscribe();
        let mut answered = self.answered.clone();
        let (mut outbox, mut pending) = (self.store.watch_outbox(), self.store.watch_pending());
        let mut folders = self.store.watch_folder_list();
        let mut look = tokio::time::interval(LOOK);
        let mut counted = Counted::default();
        loop {
            if let Err(error) = self.write(&mut counted).await {
                tracing::warn!(%error, "the status cannot be written");
            }
            let changed = async {
                tokio::select! {
                    _ = gate.changed() => {}
                    _ = last_sync.changed() => {}
                    _ = problem.changed() => {}
                    _ = answered.changed() => {}
                    _ = outbox.changed() => {}
                    _ = pending.changed() => {}
                    _ = folders.changed() => {}
                    () = self.messages_changed(&mut look, &counted) => {}
                }
            };
            changed.await;
            tokio::time::sleep(GATHER).await;
        }
    }

    async fn messages_changed(&self, look: &mut tokio::time::Interval, counted: &Counted) {
        loop {
            look.tick().await;
            match self.store.call(|store| store.folders()).await {
                Ok(folders) if counted.is_of(&folders) => {}
                Ok(_) => return,
                // The store is closing: there will be nothing more to count.
                Err(_) => std::future::pending().await,
            }
        }
    }

    async fn write(&self, counted: &mut Counted) -> Result<(), String> {
        let known = std::mem::take(counted);
        let facts = self.store.call(move |store| {
            let counted = known.up_to_date(store)?;
            let outbox = store.outbox()?;
            let failed = outbox.iter().filter(|message| message.state == OutboxState::Failed).count() as u64;
            Ok((counted, waiting(&outbox), failed, store.pending_count()?))
        });
        let (now_counted, outbox, failed, pending) = facts.await.map_err(|e: CallError| e.to_string())?;
        *counted = now_counted;
        let gate = self.gate.subscribe().borrow().clone();
        let account = self.live.account();
        let status = Status {
            v: 1,
            running: true,
            version: self.version.clone(),
            user: account.user,
            gate: gate.gate,
            since: gate.since,
            last_online_at: gate.last_online_at,
            last_offline_at: gate.last_offline_at,
            notice: gate.notice,
            updater: self.answered.borrow().is_some().then_some(gate.updater),
            installer: gate.installer,
            problem: self.progress.problem.borrow().clone(),
            outbox,
            failed,
            pending,
            last_sync: *self.progress.last_sync.borrow(),
            last_check_in: *self.answered.borrow(),
            folders: counted.folders.values().map(|(name, _, counts)| (name.clone(), *counts)).collect(),
            imap_port: account.imap_port,
            smtp_port: account.smtp_port,
            pid: std::process::id(),
            migration: None,
        };
        let saved = status.save(&self.data).map_err(|e| e.to_string());
        self.shown.send_replace(Some(status));
        saved
    }
}

/// Counts by folder, with the MODSEQ at which they were counted: a folder that did not change is not counted again.
#[derive(Debug, Default)]
struct Counted {
    folders: BTreeMap<mail_store::FolderId, (String, u64, FolderCounts)>,
}

impl Counted {
    fn is_of(&self, folders: &[mail_store::Folder]) -> bool {
        folders.len() == self.folders.len()
            && folders.iter().all(|f| {
                self.folders.get(&f.id).is_some_and(|(name, modseq, _)| *name == f.name && *modseq == f.modseq)
            })
    }

    fn up_to_date(mut self, store: &mail_store::Store) -> mail_store::Result<Self> {
        let mut folders = BTreeMap::new();
        for folder in store.folders()? {
            let counts = match self.folders.remove(&folder.id) {
                Some((_, modseq, counts)) if modseq == folder.modseq => counts,
                _ => {
                    let status = store.folder_status(folder.id)?;
                    FolderCounts { messages: status.messages, unseen: status.unseen }
                }
            };
            folders.insert(folder.id, (folder.name, folder.modseq, counts));
        }
        Ok(Self { folders })
    }
}
