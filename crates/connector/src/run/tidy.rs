//! Drops, once a day, what the mail store keeps only for a while: sent mail, finished changes, and the bytes of messages
//! that are in no folder any more.

use std::time::Duration;

use crate::{clock, local::StoreHandle};

/// How long what is finished is kept (seconds; 30 days).
const KEPT: i64 = 30 * 24 * 3600;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(24 * 3600);

/// When it is looked first: not in the first minutes of a run, when mail is what counts.
pub(super) const AFTER_START: Duration = Duration::from_secs(10 * 60);

/// Tidies after `first` and then daily, for as long as the future is polled. A failure costs space, nothing else; the
/// next day it is tried again.
pub(super) async fn run(store: StoreHandle, first: Duration) {
    let mut day = tokio::time::interval_at(tokio::time::Instant::now() + first, EVERY);
    day.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        day.tick().await;
        let before = clock::unix() - KEPT;
        match store.call(move |store| store.collect_garbage(before)).await {
            Ok(bytes) => tracing::debug!(bytes, "tidied the mail store"),
            Err(error) => tracing::warn!(%error, "the mail store could not be tidied"),
        }
    }
}

#[cfg(test)]
mod tests {
    use mail_store::{NewOutgoing, OutboxState, Store};

    use super::*;

    #[tokio::test]
    async fn sent_mail_of_long_ago_goes_and_all_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("mail.sqlite")).unwrap();
        let now = clock::unix();
        let to = ["bob@example.test".to_owned()];
        for (message, state, at) in [
            (b"old", OutboxState::Sent, now - KEPT - 60),
            (b"new", OutboxState::Sent, now - KEPT + 3600),
            (b"bad", OutboxState::Failed, now - KEPT - 60),
            (b"yet", OutboxState::Queued, now - KEPT - 60),
        ] {
            let new = NewOutgoing { sender: "", recipients: &to, message, body8bit: false, smtputf8: false };
            let id = store.queue(&new, at).unwrap();
            store.set_outbox_state(id, state, "", 0, at).unwrap();
        }
        let inbox = store.folder_by_name("INBOX").unwrap().unwrap().id;
        store.append(inbox, b"kept", &mail_store::Flags::new(), 0, 0).unwrap();
        let store = StoreHandle::start(store);
        let tidying = tokio::spawn(run(store.clone(), Duration::ZERO));
        let tidied = async {
            while store.call(|store| store.outbox()).await.unwrap().len() == 4 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), tidied).await.expect("something was dropped");
        tidying.abort();
        let states: Vec<_> =
            store.call(|store| store.outbox()).await.unwrap().into_iter().map(|message| message.state).collect();
        assert_eq!(states, [OutboxState::Sent, OutboxState::Failed, OutboxState::Queued]);
        assert_eq!(store.call(|store| store.pending_count()).await.unwrap(), 1);
        let bytes = store.call(move |store| {
            let body = store.messages(inbox)?[0].body;
            store.body(&body)
        });
        assert_eq!(bytes.await.unwrap(), b"kept");
    }
}
