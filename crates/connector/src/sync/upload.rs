//! Uploads a message exactly once, also when a run before this one was killed between the upload and its note.
//!
//! Before an upload begins, it is noted durably, with the folder's UIDVALIDITY and UIDNEXT. Found noted at the next try,
//! the upload may have been made: then it is among the messages that the folder has got since (UID not below that
//! UIDNEXT), and is the one of the very same bytes that is not known here as another one. Only if there is none, it is
//! uploaded again.

use std::collections::BTreeMap;

use bytes::Bytes;
use mail_store::{BodyId, Flags, FolderId, MessageId, Store};
use serde::{Deserialize, Serialize};

use super::{SyncError, Worker};
use crate::upstream::{command::Command, connection::ImapError, response::Status};

/// Where the notes are kept in the store: JSON, by the change's number in the journal.
const NOTES: &str = "uploads";

/// What was so when an upload began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The folder's UIDVALIDITY.
    uidvalidity: u32,
    /// Its UIDNEXT: the upload has this one or a higher one. Not known: 0.
    uidnext: u32,
    /// It began, and no answer is known.
    begun: bool,
    /// The user was told that it was set aside.
    #[serde(default)]
    told: bool,
}

/// What is uploaded, and where to.
pub(super) struct Upload<'a> {
    /// Its number in the journal.
    pub seq: i64,
    /// The local message.
    pub message: MessageId,
    /// The folder.
    pub folder: FolderId,
    /// The folder's name on the mail server.
    pub folder_name: &'a str,
    /// Flags, separated by blanks.
    pub flags: &'a str,
    /// Unix seconds.
    pub date: i64,
    /// SHA-256 in hexadecimal.
    pub body: &'a str,
}

/// Where the mail server has which message.
pub(super) type Placed = Vec<(MessageId, u32)>;

impl Worker<'_> {
    /// Uploads; gives under which UID the mail server has the message, if that is known.
    pub(super) async fn upload(&mut self, upload: &Upload<'_>) -> Result<Placed, SyncError> {
        if let Some(placed) = self.placed_before(upload).await? {
            return Ok(placed);
        }
        let body = self.body(upload.body).await?;
        if let Some(full) = &self.over_quota
            && body.len() >= full.bytes
        {
            return Err(full.refused().into());
        }
        let note = self.mark_begun(upload).await?;
        let flags = Flags::parse(upload.flags);
        let answer = self.session.append(upload.folder_name, &flags, upload.date, body.clone()).await;
        if let Err(ImapError::Refused { command, status }) = &answer {
            self.mark_refused(upload).await?;
            if status.code_arguments("OVERQUOTA").is_some() {
                let (command, status) = (command.clone(), status.clone());
                self.over_quota = Some(OverQuota { bytes: body.len(), command, status });
            }
        }
        let placed = answer?;
        self.placed_at(upload, placed, &note).await
    }

    /// Where the message is on the mail server, if it is there already: known here, or found by its bytes after an upload
    /// that was begun and has not been answered.
    pub(super) async fn placed_before(&mut self, upload: &Upload<'_>) -> Result<Option<Placed>, SyncError> {
        let (message, seq) = (upload.message, upload.seq);
        let (uid, note) =
            self.store.call(move |store| Ok((store.remote_uid(message)?, notes(store)?.remove(&seq)))).await?;
        match (uid, note) {
            (Some(uid), _) => Ok(Some(vec![(message, uid)])),
            (None, Some(note)) if note.begun => {
                let found = self.look_for(upload, &note).await?;
                if found.is_some() {
                    tracing::info!(seq, ?found, "an upload had been made before");
                }
                Ok(found)
            }
            _ => Ok(None),
        }
    }

    /// Looks for an upload among the messages that the folder has got since it began.
    async fn look_for(&mut self, upload: &Upload<'_>, note: &Note) -> Result<Option<Placed>, SyncError> {
        let selected = match self.session.select_anew(upload.folder_name).await {
            Ok(selected) => selected,
            Err(ImapError::Refused { .. }) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let (folder, message) = (upload.folder, upload.message);
        let row = self.store.call(move |store| folder_if_here(store, folder)).await?;
        if let Some(row) = row
            && row.remote_uidvalidity.is_some_and(|known| known != selected.uidvalidity)
        {
            // All numbers are new. Taking over the whole folder finds every message by its bytes, this one too.
            self.folder(&row, false).await?;
            let uid = self.store.call(move |store| store.remote_uid(message)).await?;
            return Ok(uid.map(|uid| vec![(message, uid)]));
        }
        let wanted = self.body(upload.body).await?;
        let (shortest, longest) = lengths(&wanted);
        let from = if note.uidvalidity == selected.uidvalidity { note.uidnext.max(1) } else { 1 };
        // "LARGER 0 SMALLER 2" would miss a message of no bytes, which no mail program uploads.
        let sizes = format!("UID {from}:* LARGER {} SMALLER {}", shortest.saturating_sub(1), longest + 1);
        let candidates = self.session.search(&sizes).await?;
        let known = self.store.call(move |store| store.known_remote(folder)).await?;
        // "7:*" means the last message, too, where that has a lower number.
        for uid in candidates.into_iter().filter(|uid| *uid >= from) {
            let taken = known.here.contains_key(&uid) || known.leaving.contains(&uid);
            if !taken && self.body_of(uid).await?.is_some_and(|found| same_message(&found, &wanted)) {
                return Ok(Some(vec![(message, uid)]));
            }
        }
        Ok(None)
    }

    /// Notes that an upload begins. Makes the folder again if it was deleted there, so that nothing is lost.
    pub(super) async fn mark_begun(&mut self, upload: &Upload<'_>) -> Result<Note, SyncError> {
        let counts = match self.session.counts(upload.folder_name).await {
            Err(ImapError::Refused { .. }) => {
                self.session.tell(&Command::new("CREATE").folder(upload.folder_name)).await?;
                self.session.counts(upload.folder_name).await?
            }
            other => other?,
        };
        let (uidvalidity, uidnext) = (counts.uidvalidity, counts.uidnext.unwrap_or(0));
        self.change_note(upload.seq, move |note| {
            *note = Note { uidvalidity, uidnext, begun: true, told: note.told };
        })
        .await
    }

    /// Notes that the mail server refused it: it does not have it.
    pub(super) async fn mark_refused(&mut self, upload: &Upload<'_>) -> Result<Note, SyncError> {
        self.change_note(upload.seq, |note| note.begun = false).await
    }

    async fn change_note(&self, seq: i64, change: impl FnOnce(&mut Note) + Send + 'static) -> Result<Note, SyncError> {
        let noting = self.store.call(move |store| {
            let mut notes = notes(store)?;
            let note = notes.entry(seq).or_default();
            change(note);
            let note = note.clone();
            save(store, &notes)?;
            Ok(note)
        });
        Ok(noting.await?)
    }

    /// What is known of the message's number, from what the mail server answered.
    pub(super) async fn placed_at(
        &mut self,
        upload: &Upload<'_>,
        answer: Option<(u32, u32)>,
        note: &Note,
    ) -> Result<Placed, SyncError> {
        let Some((validity, uid)) = answer else {
            // It does not say (no UIDPLUS); it is there, though.
            return Ok(self.look_for(upload, note).await?.unwrap_or_default());
        };
        let folder = upload.folder;
        let row = self.store.call(move |store| folder_if_here(store, folder)).await?;
        let known = row.and_then(|row| row.remote_uidvalidity);
        // A number of another numbering must not be kept; the folder's next look finds the message by its bytes.
        Ok(if known.is_none_or(|known| known == validity) { vec![(upload.message, uid)] } else { vec![] })
    }

    async fn body(&self, id: &str) -> Result<Bytes, SyncError> {
        let id = id.to_owned();
        Ok(self.store.call(move |store| Ok(Bytes::from(store.body(&id.parse::<BodyId>()?)?))).await?)
    }
}

/// The mailbox was full for a message: not one of this size or above is tried again in the same round.
#[derive(Debug)]
pub(super) struct OverQuota {
    bytes: usize,
    command: String,
    status: Status,
}

impl OverQuota {
    fn refused(&self) -> ImapError {
        ImapError::Refused { command: self.command.clone(), status: self.status.clone() }
    }
}

/// Drops the note of a change that is finished.
pub(super) fn forget(store: &mut Store, seq: i64) -> mail_store::Result<()> {
    let mut notes = notes(store)?;
    if notes.remove(&seq).is_some() { save(store, &notes) } else { Ok(()) }
}

/// Whether the user has to be told that a change was set aside; once.
pub(super) fn tell_once(store: &mut Store, seq: i64) -> mail_store::Result<bool> {
    let mut notes = notes(store)?;
    let note = notes.entry(seq).or_default();
    let first = !std::mem::replace(&mut note.told, true);
    save(store, &notes)?;
    Ok(first)
}

fn folder_if_here(store: &mut Store, folder: FolderId) -> mail_store::Result<Option<mail_store::Folder>> {
    match store.folder(folder) {
        Ok(folder) => Ok(Some(folder)),
        Err(mail_store::Error::NoSuchFolder(_)) => Ok(None),
        Err(e) => Err(e),
    }
}

fn notes(store: &Store) -> mail_store::Result<BTreeMap<i64, Note>> {
    match store.meta(NOTES)? {
        None => Ok(BTreeMap::new()),
        Some(text) => {
            serde_json::from_str(&text).map_err(|e| mail_store::Error::Damaged(format!("notes of uploads: {e}")))
        }
    }
}

fn save(store: &mut Store, notes: &BTreeMap<i64, Note>) -> mail_store::Result<()> {
    let text =
        serde_json::to_string(notes).map_err(|e| mail_store::Error::Damaged(format!("notes of uploads: {e}")))?;
    store.set_meta(NOTES, (!notes.is_empty()).then_some(text.as_str()))
}

/// Bytes a message may have once a mail server has made all its line ends alike: at least and at most.
fn lengths(message: &[u8]) -> (usize, usize) {
    let (crs, lfs) =
        message.iter().fold((0, 0), |(cr, lf), b| (cr + usize::from(*b == b'\r'), lf + usize::from(*b == b'\n')));
    (message.len() - crs, message.len() - crs + lfs)
}

/// Whether two messages are the same but for how their lines end.
fn same_message(one: &[u8], other: &[u8]) -> bool {
    one.iter().filter(|b| **b != b'\r').eq(other.iter().filter(|b| **b != b'\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_same_with_other_line_ends() {
        let (mine, theirs) = (b"A: b\n\nx\n".as_slice(), b"A: b\r\n\r\nx\r\n".as_slice());
        assert!(same_message(mine, theirs) && !same_message(mine, b"A: b\n\ny\n"));
        for message in [mine, theirs] {
            assert_eq!(lengths(message), (mine.len(), theirs.len()));
        }
    }

    #[test]
    fn notes_are_kept_until_their_change_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("mail.sqlite")).unwrap();
        assert!(tell_once(&mut store, 3).unwrap() && !tell_once(&mut store, 3).unwrap());
        assert!(tell_once(&mut store, 4).unwrap());
        forget(&mut store, 3).unwrap();
        assert_eq!(notes(&store).unwrap().keys().collect::<Vec<_>>(), [&4]);
        forget(&mut store, 4).unwrap();
        assert_eq!(store.meta(NOTES).unwrap(), None);
    }
}
