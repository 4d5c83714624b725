//! One folder: takes over what the mail server says of it.
//!
//! The order makes it safe to be killed anywhere: UIDVALIDITY first, then flags, removals and messages, and the marks
//! from which the next look starts (UIDNEXT, HIGHESTMODSEQ) last. While UIDNEXT is unknown, everything is compared.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mail_store::{Flags, Folder, FolderId, RemoteMessage};

use super::{SyncError, Worker};
use crate::{
    clock,
    upstream::{
        connection::ImapError,
        response::{Fetched, uid_set},
        session::Selected,
    },
};

/// Bytes of messages that are fetched and stored together; a larger message comes alone.
const BATCH_BYTES: u64 = 4 * 1024 * 1024;

/// Messages that are fetched and stored together.
const BATCH_MESSAGES: usize = 100;

/// Bytes; a larger message cannot be fetched (see [`crate::upstream::framing::MAX_RESPONSE`]).
const LARGEST: u64 = 250 * 1024 * 1024;

impl Worker<'_> {
    /// Looks at a folder if its counts are not those of the last look.
    pub(super) async fn folder_if_changed(&mut self, folder: &Folder) -> Result<(), SyncError> {
        let counts = match self.session.counts(&folder.name).await {
            Ok(counts) => counts,
            Err(ImapError::Refused { status, .. }) => {
                tracing::warn!(folder = %folder.name, reason = %status.text, "a folder cannot be looked at");
                return Ok(());
            }
            Err(e) => return Err(e.into()),
        };
        let id = folder.id;
        let known = self.store.call(move |store| store.known_remote(id)).await?;
        let same = folder.remote_uidvalidity == Some(counts.uidvalidity)
            && folder.remote_uidnext.is_some()
            && folder.remote_uidnext == counts.uidnext
            && folder.remote_modseq.is_some()
            && folder.remote_modseq == counts.modseq
            && known.here.len() + known.leaving.len() == counts.messages as usize;
        if same { Ok(()) } else { self.folder(folder, true).await }
    }

    /// Makes the local folder the same as the mail server's. With `interruptible`, urgent work is done between two
    /// batches of messages.
    pub(super) async fn folder(&mut self, folder: &Folder, interruptible: bool) -> Result<(), SyncError> {
        let id = folder.id;
        let selected = match self.session.select_anew(&folder.name).await {
            Ok(selected) => selected,
            Err(ImapError::Refused { status, .. }) => {
                tracing::warn!(folder = %folder.name, reason = %status.text, "a folder cannot be opened");
                return Ok(());
            }
            Err(e) => return Err(e.into()),
        };
        // The row may have changed since the caller read it: a replayed change may have placed messages.
        let folder = self.store.call(move |store| store.folder(id)).await?;
        let mut whole = folder.remote_uidnext.is_none();
        if folder.remote_uidvalidity != Some(selected.uidvalidity) {
            let validity = selected.uidvalidity;
            self.store.call(move |store| store.apply_remote_state(id, validity, None, None)).await?;
            whole = true;
        }
        let since = if whole { None } else { folder.remote_modseq.filter(|_| selected.modseq.is_some()) };

        let missing = self.compare(id, &selected, since).await?;
        self.bring(&selected, id, missing, interruptible).await?;

        let at = clock::unix();
        self.store
            .call(move |store| {
                if whole {
                    store.apply_remote_restart_done(id, at)?;
                }
                store.apply_remote_state(id, selected.uidvalidity, selected.uidnext, selected.modseq)
            })
            .await?;
        Ok(())
    }

    /// Takes over flags and removals; gives the UIDs that are not here, ascending.
    async fn compare(&mut self, id: FolderId, selected: &Selected, since: Option<u64>) -> Result<Vec<u32>, SyncError> {
        let mut seen: BTreeMap<u32, Flags> = BTreeMap::new();
        if selected.exists > 0 {
            self.session
                .fetch("1:*", "UID FLAGS", since, |fetched| {
                    if let (Some(uid), Some(flags)) = (fetched.uid, &fetched.flags) {
                        seen.insert(uid, flags.clone());
                    }
                })
                .await?;
        }
        let known = self.store.call(move |store| store.known_remote(id)).await?;
        let is_known = |uid: &u32| known.here.contains_key(uid) || known.leaving.contains(uid);
        let mut missing: BTreeSet<u32> = seen.keys().copied().filter(|uid| !is_known(uid)).collect();

        let mut there: Option<BTreeSet<u32>> = since.is_none().then(|| seen.keys().copied().collect());
        let expected = known.here.len() + known.leaving.len() + missing.len();
        let exists = self.session.selected().map_or(0, |open| open.exists);
        if there.is_none() && expected != exists as usize {
            let all: BTreeSet<u32> = self.session.search("ALL").await?.into_iter().collect();
            missing.extend(all.iter().filter(|uid| !is_known(uid)));
            there = Some(all);
        }
        let gone: Vec<u32> = match &there {
            Some(there) => known.here.keys().copied().filter(|uid| !there.contains(uid)).collect(),
            None => Vec::new(),
        };
        let changed: Vec<(u32, Flags)> = seen
            .into_iter()
            .filter(|(uid, flags)| known.here.get(uid) != Some(flags) && known.here.contains_key(uid))
            .collect();
        if !gone.is_empty() {
            self.keep_marked(id, &gone, &selected.name).await?;
        }
        let at = clock::unix();
        if !changed.is_empty() || !gone.is_empty() {
            self.store
                .call(move |store| {
                    store.apply_remote_flags(id, &changed)?;
                    store.apply_remote_gone(id, &gone, at)
                })
                .await?;
        }
        Ok(missing.into_iter().collect())
    }

    /// Fetches messages that are not here, in batches that fit into memory.
    async fn bring(
        &mut self,
        selected: &Selected,
        id: FolderId,
        missing: Vec<u32>,
        interruptible: bool,
    ) -> Result<(), SyncError> {
        if missing.is_empty() {
            return Ok(());
        }
        let mut sizes: BTreeMap<u32, u64> = BTreeMap::new();
        for some in missing.chunks(1000) {
            self.session
                .fetch(&uid_set(some), "UID RFC822.SIZE", None, |fetched| {
                    if let (Some(uid), Some(size)) = (fetched.uid, fetched.size) {
                        sizes.insert(uid, size);
                    }
                })
                .await?;
        }
        let mut pending = self.store.watch_pending();
        for batch in batches(&missing, &sizes) {
            self.bring_batch(id, &batch).await?;
            if interruptible && self.has_urgent_work(&pending) {
                if pending.has_changed().unwrap_or(false) {
                    pending.mark_unchanged();
                    Box::pin(self.replay()).await?;
                }
                if self.inbox.take() {
                    Box::pin(self.inbox()).await?;
                }
                // If the folder was made anew meanwhile, these numbers mean other messages: the next look starts over.
                if self.session.select(&selected.name).await?.uidvalidity != selected.uidvalidity {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn bring_batch(&mut self, id: FolderId, uids: &[u32]) -> Result<(), SyncError> {
        let mut messages: Vec<(u32, Flags, i64, Vec<u8>)> = Vec::with_capacity(uids.len());
        self.session
            .fetch(&uid_set(uids), "UID FLAGS INTERNALDATE BODY.PEEK[]", None, |fetched: &Fetched<'_>| {
                if let (Some(uid), Some(body)) = (fetched.uid, &fetched.body) {
                    let flags = fetched.flags.clone().unwrap_or_default();
                    messages.push((uid, flags, fetched.date.unwrap_or_else(clock::unix), body.to_vec()));
                }
            })
            .await?;
        self.store
            .call(move |store| {
                let remote: Vec<RemoteMessage<'_>> = messages
                    .iter()
                    .map(|(uid, flags, date, body)| RemoteMessage { uid: *uid, flags, date: *date, body })
                    .collect();
                store.apply_remote_messages(id, &remote)
            })
            .await?;
        Ok(())
    }

    /// The bytes of one message of the open folder.
    pub(super) async fn body_of(&mut self, uid: u32) -> Result<Option<Bytes>, SyncError> {
        let mut found = None;
        self.session
            .fetch(&uid.to_string(), "UID BODY.PEEK[]", None, |fetched| {
                if let Some(body) = &fetched.body {
                    found = Some(Bytes::copy_from_slice(body));
                }
            })
            .await?;
        Ok(found)
    }
}

/// Cuts UIDs into batches. Those of unknown size are gone by now; those too large are left out, with a warning.
fn batches(uids: &[u32], sizes: &BTreeMap<u32, u64>) -> Vec<Vec<u32>> {
    let mut batches: Vec<Vec<u32>> = Vec::new();
    let mut bytes = u64::MAX;
    for uid in uids {
        let Some(&size) = sizes.get(uid) else { continue };
        if size > LARGEST {
            tracing::warn!(uid, size, "a message is too large to be kept here; it can be read in the WebMail");
            continue;
        }
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_MESSAGES && bytes.saturating_add(size) <= BATCH_BYTES => {
                batch.push(*uid);
                bytes += size;
            }
            _ => {
                batches.push(vec![*uid]);
                bytes = size;
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fit_into_memory_and_leave_out_what_is_gone_or_too_large() {
        let sizes = BTreeMap::from([(1, 10), (2, BATCH_BYTES - 10), (3, 1), (5, LARGEST + 1), (6, LARGEST), (7, 1)]);
        assert_eq!(batches(&[1, 2, 3, 4, 5, 6, 7], &sizes), [vec![1, 2], vec![3], vec![6], vec![7]]);
        let many: Vec<u32> = (1..=250).collect();
        let sizes = many.iter().map(|uid| (*uid, 1)).collect();
        assert_eq!(batches(&many, &sizes).iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
    }
}
