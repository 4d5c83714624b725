//! What becomes of a message that was deleted on the mail server and marked here: what the user has marked is not thrown
//! away. It goes to the trash (where there is none, back to its folder), unless it is there already.

use std::collections::HashSet;

use mail_store::{FlagChange, Flags, Folder, FolderId, Message, MessageId, PendingOp, Place, Store};

use super::{SyncError, Worker};
use crate::clock;

impl Worker<'_> {
    /// To be called before messages of the open folder are taken as gone: keeps those that were marked here. The folder is
    /// open again afterwards.
    pub(super) async fn keep_marked(&mut self, folder: FolderId, gone: &[u32], open: &str) -> Result<(), SyncError> {
        let uids: HashSet<u32> = gone.iter().copied().collect();
        let marked = self.store.call(move |store| {
            let marked = marked(store)?;
            let gone =
                store.messages(folder)?.into_iter().filter(|m| m.remote_uid.is_some_and(|uid| uids.contains(&uid)));
            Ok(gone.filter(|message| marked.contains(&message.id)).collect::<Vec<_>>())
        });
        self.keep_all(marked.await?, folder, open).await
    }

    /// Flags were to be set of a message of the open folder that is gone there.
    pub(super) async fn keep_if_marked(&mut self, place: &Place, add: &str) -> Result<(), SyncError> {
        if !is_mark(&Flags::parse(add)) {
            return Ok(());
        }
        let message = place.message;
        let here = self
            .store
            .call(move |store| match store.message(message) {
                Err(mail_store::Error::NoSuchMessage(_)) => Ok(vec![]),
                other => Ok(vec![other?]),
            })
            .await?;
        self.keep_all(here, place.folder, &place.folder_name).await
    }

    async fn keep_all(&mut self, marked: Vec<Message>, folder: FolderId, open: &str) -> Result<(), SyncError> {
        if marked.is_empty() {
            return Ok(());
        }
        // Most mail programs delete by moving to the trash: then it is there, and here as soon as the trash was looked at.
        let trash = self.store.call(trash).await?.filter(|trash| trash.id != folder);
        if let Some(trash) = &trash
            && trash.on_server
        {
            Box::pin(self.folder(trash, false)).await?;
        }
        let to = trash.map_or(folder, |trash| trash.id);
        self.store.call(move |store| marked.iter().try_for_each(|message| keep(store, message, to))).await?;
        self.session.select(open).await?;
        Ok(())
    }

    /// Flags of a message whose folder is not on the mail server any more: renamed or deleted there. They go to the same
    /// message in another folder; if there is none, the message is kept as one that was deleted. `false`: it is too early
    /// to tell.
    pub(super) async fn flags_without_a_folder(
        &mut self,
        place: &Place,
        add: &str,
        remove: &str,
    ) -> Result<bool, SyncError> {
        if !self.looked_at_all {
            return Ok(false);
        }
        // A folder of that name may have been made again meanwhile, for what was put into it here.
        let (folder, known) = (place.folder, place.remote_uidvalidity);
        let anew = self.store.call(move |store| Ok(store.folder(folder)?.remote_uidvalidity != known)).await?;
        if !anew && self.session.exists(&place.folder_name).await? {
            return Ok(false);
        }
        self.emptied.push(folder);
        let (id, folder) = (place.message, place.folder);
        let (add, remove) = (Flags::parse(add), Flags::parse(remove));
        self.store
            .call(move |store| {
                let message = store.message(id)?;
                match elsewhere(store, &message)? {
                    Some(other) => {
                        let (at, uid) = (clock::unix(), [other.uid]);
                        store.change_flags(other.folder, &uid, &FlagChange::Add(add), None, at)?;
                        store.change_flags(other.folder, &uid, &FlagChange::Remove(remove), None, at)?;
                    }
                    None if is_mark(&add) => {
                        let to = trash(store)?.filter(|trash| trash.id != folder);
                        if let Some(to) = to.or(store.folder_by_name("INBOX")?) {
                            keep(store, &message, to.id)?;
                        }
                    }
                    None => {}
                }
                Ok(())
            })
            .await?;
        Ok(true)
    }
}

/// Messages that were marked here, with that still pending.
fn marked(store: &Store) -> mail_store::Result<HashSet<MessageId>> {
    let pending = store.pending(u32::MAX)?.into_iter();
    Ok(pending
        .filter_map(|change| match change.op {
            PendingOp::Flags { place, add, .. } if is_mark(&Flags::parse(&add)) => Some(place.message),
            _ => None,
        })
        .collect())
}

/// Flags that say that a message matters; to have read or deleted it does not.
fn is_mark(add: &Flags) -> bool {
    add.iter().any(|flag| !matches!(flag, "\\Seen" | "\\Deleted"))
}

fn trash(store: &mut Store) -> mail_store::Result<Option<Folder>> {
    let folders = store.folders()?;
    let special = |f: &&Folder| f.special_use.as_deref() == Some("\\Trash");
    Ok(folders
        .iter()
        .find(special)
        .or_else(|| folders.iter().find(|f| f.name == "Trash"))
        .filter(|f| f.selectable)
        .cloned())
}

/// The same bytes in another folder of the mail server.
fn elsewhere(store: &mut Store, message: &Message) -> mail_store::Result<Option<Message>> {
    for folder in store.folders()?.into_iter().filter(|folder| folder.on_server && folder.id != message.folder) {
        let same = store.messages(folder.id)?.into_iter().find(|m| m.body == message.body && m.remote_uid.is_some());
        if same.is_some() {
            return Ok(same);
        }
    }
    Ok(None)
}

/// Puts a message into a folder, from where it will be uploaded, unless the folder has another one of the same bytes.
fn keep(store: &mut Store, message: &Message, to: FolderId) -> mail_store::Result<()> {
    if store.messages(to)?.iter().any(|other| other.body == message.body && other.id != message.id) {
        return Ok(());
    }
    let bytes = store.body(&message.body)?;
    store.append(to, &bytes, &message.flags, message.date, clock::unix())?;
    tracing::info!(message = %message.id, "deleted on the mail server and marked here: kept");
    Ok(())
}
