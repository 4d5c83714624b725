//! The mail store's own thread, and who is told when something changed.
//!
//! SQLite and its syncing to disk block; they never run on the async runtime's threads. Everybody holds a [`StoreHandle`] and sends
//! closures; they run one after the other, so each sees what the ones before it did.

use mail_store::{FolderId, Store};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{oneshot, watch};

type Job = Box<dyn FnOnce(&mut Store) + Send>;

/// Why a call to the store did not give its value.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] mail_store::Error),
    /// The store's thread has ended (the program is shutting down, or a call panicked).
    #[error("the mail store is closed")]
    Closed,
}

/// A clonable handle to the store's thread. The thread ends, and the store is closed, when the last handle is dropped.
#[derive(Clone)]
pub struct StoreHandle {
    jobs: mpsc::Sender<Job>,
    news: Arc<News>,
}

/// Counters that grow with every change. A receiver that misses steps still sees that there was one.
struct News {
    folders: Mutex<HashMap<FolderId, watch::Sender<u64>>>,
    folder_list: watch::Sender<u64>,
    pending: watch::Sender<u64>,
    outbox: watch::Sender<u64>,
}

impl StoreHandle {
    /// Opens (makes, migrates) the store in this file and starts its thread. Blocks until the store is open.
    pub fn open(path: &Path) -> Result<StoreHandle, mail_store::Error> {
        Ok(StoreHandle::start(Store::open(path)?))
    }

    /// Starts the thread of an open store.
    pub fn start(mut store: Store) -> StoreHandle {
        let (jobs, queue) = mpsc::channel::<Job>();
        let news = Arc::new(News {
            folders: Mutex::default(),
            folder_list: watch::Sender::new(0),
            pending: watch::Sender::new(0),
            outbox: watch::Sender::new(0),
        });
        let tell = Arc::clone(&news);
        std::thread::spawn(move || {
            for job in queue {
                // A job that panics has rolled back (its transaction is dropped) and its caller learns that it is lost; the
                // store and everybody else's mail live on.
                if std::panic::catch_unwind(AssertUnwindSafe(|| job(&mut store))).is_err() {
                    tracing::error!("a call to the mail store panicked");
                }
                tell.publish(&store.take_changes());
            }
        });
        StoreHandle { jobs, news }
    }

    /// Runs `work` on the store's thread and gives its value. What `work` committed is durable, and those waiting for news
    /// are about to be told, when this returns. A call once begun is carried out even if its future is dropped.
    pub async fn call<T, F>(&self, work: F) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Store) -> Result<T, mail_store::Error> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |store| {
            let result = work(store);
            // Nobody waits any more: the caller was cancelled, which does not undo the change.
            let _ = answer.send(result);
        });
        self.jobs.send(job).map_err(|_| CallError::Closed)?;
        Ok(answered.await.map_err(|_| CallError::Closed)??)
    }

    /// Changes whenever messages of this folder change.
    pub fn watch_folder(&self, folder: FolderId) -> watch::Receiver<u64> {
        self.news.folders().entry(folder).or_default().subscribe()
    }

    /// Changes whenever folders come, go, are renamed or (un)subscribed.
    pub fn watch_folder_list(&self) -> watch::Receiver<u64> {
        self.news.folder_list.subscribe()
    }

    /// Changes whenever the journal of pending changes has a new row.
    pub fn watch_pending(&self) -> watch::Receiver<u64> {
        self.news.pending.subscribe()
    }

    /// Changes whenever the outbox has a new message or one changes its state.
    pub fn watch_outbox(&self) -> watch::Receiver<u64> {
        self.news.outbox.subscribe()
    }
}

impl News {
    fn folders(&self) -> MutexGuard<'_, HashMap<FolderId, watch::Sender<u64>>> {
        // The map is whole even if a holder of the lock panicked: no holder leaves it half changed.
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, changes: &mail_store::Changes) {
        if !changes.folders.is_empty() {
            let mut folders = self.folders();
            folders.retain(|_, sender| sender.receiver_count() > 0);
            for id in &changes.folders {
                if let Some(sender) = folders.get(id) {
                    sender.send_modify(|n| *n += 1);
                }
            }
        }
        for (changed, sender) in
            [(changes.folder_list, &self.folder_list), (changes.pending, &self.pending), (changes.outbox, &self.outbox)]
        {
            if changed {
                sender.send_modify(|n| *n += 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_store::Flags;

    fn store() -> (tempfile::TempDir, StoreHandle) {
        let dir = tempfile::tempdir().unwrap();
        let store = StoreHandle::open(&dir.path().join("mail.sqlite")).unwrap();
        (dir, store)
    }

    #[tokio::test]
    async fn a_change_reaches_those_who_watch_its_folder_and_the_journal() {
        let (_dir, store) = store();
        let inbox = store.call(|s| s.folder_by_name("INBOX")).await.unwrap().unwrap().id;
        let (mut folder, mut pending) = (store.watch_folder(inbox), store.watch_pending());
        let outbox = store.watch_outbox();
        store.call(move |s| s.append(inbox, b"A: b\r\n\r\n", &Flags::new(), 0, 0)).await.unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(1), folder.changed()).await.unwrap().unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(1), pending.changed()).await.unwrap().unwrap();
        assert!(!outbox.has_changed().unwrap());
    }

    #[tokio::test]
    async fn a_call_that_panics_does_not_take_the_store_with_it() {
        let (_dir, store) = store();
        let lost = store.call(|_| -> mail_store::Result<()> { panic!("on purpose") }).await;
        assert!(matches!(lost, Err(CallError::Closed)));
        assert_eq!(store.call(|s| s.folders()).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_refused_change_tells_nobody() {
        let (_dir, store) = store();
        let pending = store.watch_pending();
        assert!(store.call(|s| s.create_folder("INBOX", 0)).await.is_err());
        assert!(!pending.has_changed().unwrap());
    }
}
