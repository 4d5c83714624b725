//! Telling a user who is cut off, beside the IMAP ALERT (which [`crate::local`] shows at each login and as it happens): a
//! desktop notification where there is a desktop, and one clearly marked local message in INBOX.
//!
//! Each tells once: the notification is replaced, not repeated, and taken back when it is over; a message that the user
//! has deleted does not come again for the same version. Nothing here is needed by anything else: a PC without a desktop
//! has the other two.

mod message;

use std::{sync::Arc, time::Duration};

use mail_store::{FlagChange, Flags, Store};
use serde::{Deserialize, Serialize};

use crate::{
    clock,
    gate::CutOff,
    gatekeeper::{GateKeeper, GateState},
    local::{CallError, StoreHandle},
    platform::Desktop,
};

/// Where the message in INBOX is noted.
const NOTED: &str = "offline-notice";

/// How long an updater may take to mend it before the user is told by more than the status and an ALERT.
const GRACE: Duration = Duration::from_secs(60);

/// The message in INBOX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    /// For which version it was made.
    about: String,
    /// Whether it is certain that it was put there.
    done: bool,
}

/// Tells, for as long as it is polled.
pub async fn run(store: StoreHandle, gate: Arc<GateKeeper>, user: String, mut desktop: Desktop) {
    let mut states = gate.subscribe();
    loop {
        let state = states.borrow_and_update().clone();
        let known = (state.cut_off.clone(), state.permits);
        let other = |now: &GateState| (&now.cut_off, now.permits) != (&known.0, known.1);
        if state.cut_off.as_ref().is_some_and(|cut_off| cut_off.updater) {
            tokio::select! {
                () = tokio::time::sleep(GRACE) => {}
                _ = states.wait_for(other) => continue,
            }
        }
        if let Err(error) = tell(&store, &state, &user, &mut desktop).await {
            tracing::warn!(%error, "the user could not be told by a local message");
        }
        if states.wait_for(other).await.is_err() {
            return;
        }
    }
}

async fn tell(store: &StoreHandle, state: &GateState, user: &str, desktop: &mut Desktop) -> Result<(), CallError> {
    match &state.cut_off {
        Some(cut_off) => {
            let (about, mail) = (about(cut_off), message::compose(user, cut_off, clock::now()));
            store.call(move |store| put(store, about, &mail)).await?;
            desktop.show("Lockstep Connector is offline", &message::short(cut_off)).await;
            Ok(())
        }
        // Not before the site's server has said that it is over.
        None if state.permits => {
            desktop.withdraw().await;
            store.call(take_back).await
        }
        None => Ok(()),
    }
}

fn about(cut_off: &CutOff) -> String {
    let needed = cut_off.needed.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{} {needed}", cut_off.running)
}

/// Puts the message into INBOX, once for each version; one about another version makes room. Killed anywhere, it leaves
/// one message.
fn put(store: &mut Store, about: String, mail: &[u8]) -> mail_store::Result<()> {
    if noted(store)?.is_some_and(|noted| noted.done && noted.about == about) {
        return Ok(());
    }
    take_back(store)?;
    let Some(inbox) = store.folder_by_name("INBOX")? else { return Ok(()) };
    note(store, Some(&Noted { about: about.clone(), done: false }))?;
    store.append_notice(inbox.id, mail, clock::unix())?;
    note(store, Some(&Noted { about, done: true }))
}

/// Removes the message, also where the user has moved or copied it to.
fn take_back(store: &mut Store) -> mail_store::Result<()> {
    if noted(store)?.is_none() {
        return Ok(());
    }
    let mark = format!("{}: offline", message::HEADER);
    for folder in store.folders()? {
        for message in store.messages(folder.id)? {
            if !message.local_only || !store.header(&message.body)?.windows(mark.len()).any(|w| w == mark.as_bytes()) {
                continue;
            }
            let deleted = FlagChange::Add(Flags::parse("\\Deleted"));
            store.change_flags(folder.id, &[message.uid], &deleted, None, clock::unix())?;
            store.expunge(folder.id, Some(&[message.uid]), clock::unix())?;
        }
    }
    note(store, None)
}

fn noted(store: &Store) -> mail_store::Result<Option<Noted>> {
    Ok(store.meta(NOTED)?.and_then(|text| serde_json::from_str(&text).ok()))
}

fn note(store: &mut Store, noted: Option<&Noted>) -> mail_store::Result<()> {
    let text = noted.and_then(|noted| serde_json::to_string(noted).ok());
    store.set_meta(NOTED, text.as_deref())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const MAIL: &[u8] = b"Subject: offline\r\nX-Lockstep-Notice: offline\r\n\r\n";

    fn subjects(store: &Store, folder: &str) -> usize {
        let folder = store.folder_by_name(folder).unwrap().unwrap();
        store.messages(folder.id).unwrap().len()
    }

    #[test]
    fn the_message_is_there_once_not_again_when_deleted_and_gone_when_it_is_over() {
        let mut store = Store::open(Path::new(":memory:")).unwrap();
        let inbox = store.folder_by_name("INBOX").unwrap().unwrap().id;
        store.append(inbox, b"Subject: mail\r\n\r\n", &Flags::new(), 0, 0).unwrap();
        for _ in 0..3 {
            put(&mut store, "7.2.0 7.3.0".into(), MAIL).unwrap();
        }
        assert_eq!(
            (subjects(&store, "INBOX"), store.pending_count().unwrap()),
            (2, 1),
            "it never goes to the mail server"
        );

        // Killed between putting it there and noting so.
        note(&mut store, Some(&Noted { about: "7.2.0 7.3.0".into(), done: false })).unwrap();
        put(&mut store, "7.2.0 7.3.0".into(), MAIL).unwrap();
        assert_eq!(subjects(&store, "INBOX"), 2);

        // Deleted by the user, it comes back for another version only.
        let uid = store.messages(inbox).unwrap()[1].uid;
        store.change_flags(inbox, &[uid], &FlagChange::Add(Flags::parse("\\Deleted")), None, 0).unwrap();
        store.expunge(inbox, None, 0).unwrap();
        put(&mut store, "7.2.0 7.3.0".into(), MAIL).unwrap();
        assert_eq!(subjects(&store, "INBOX"), 1);
        put(&mut store, "7.2.0 7.4.0".into(), MAIL).unwrap();
        assert_eq!(subjects(&store, "INBOX"), 2);

        // Moved elsewhere, it is found there.
        let other = store.create_folder("Other", 0).unwrap();
        let uid = store.messages(inbox).unwrap()[1].uid;
        store.move_messages(inbox, &[uid], other, 0).unwrap();
        take_back(&mut store).unwrap();
        take_back(&mut store).unwrap();
        assert_eq!((subjects(&store, "INBOX"), subjects(&store, "Other")), (1, 0));
    }
}
