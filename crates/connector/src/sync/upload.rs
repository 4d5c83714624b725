//! Uploads a message exactly once, also when a run before this one was killed between the upload and its note.
//!
//! Before the upload begins, its number in the journal is noted. Found noted at the next try, the upload may have been
//! made: then the folder is searched for a message of the very same bytes that is not known here as another one.
//!
//! The journal is replayed in order, so when an upload begins, all before it have been answered and their notes are
//! dropped; notes of later ones stay, since a run that was killed may have come further than this one has yet.

use bytes::Bytes;
use mail_store::{BodyId, Flags, FolderId, MessageId};

use super::{SyncError, Worker};
use crate::upstream::{command::Command, connection::ImapError};

/// Where the numbers of the uploads that have begun are kept in the store, separated by blanks.
const BEGUN: &str = "upload-begun";

/// What is uploaded, and where to.
pub(super) struct Upload<'a> {
    /// Its number in the journal.
    pub seq: i64,
    /// The local message.
    pub message: MessageId,
    /// The folder.
    pub folder: FolderId,
    /// The folder's name when the change was made.
    pub folder_name: &'a str,
    /// Flags, separated by blanks.
    pub flags: &'a str,
    /// Unix seconds.
    pub date: i64,
    /// SHA-256 in hexadecimal.
    pub body: &'a str,
}

impl Worker<'_> {
    /// Uploads; gives under which UID the mail server has the message, if that is known.
    pub(super) async fn upload(&mut self, upload: &Upload<'_>) -> Result<Vec<(MessageId, u32)>, SyncError> {
        if let Some(placed) = self.placed_before(upload).await? {
            return Ok(placed);
        }
        self.mark_begun(upload).await?;
        let body = self.body(upload.body).await?;
        let flags = Flags::parse(upload.flags);
        let answer = self.session.append(upload.folder_name, &flags, upload.date, body.clone()).await;
        let placed = match answer {
            // The folder was deleted there: it is made again, so that nothing is lost.
            Err(ImapError::Refused { status, .. }) if status.code_arguments("TRYCREATE").is_some() => {
                self.session.tell(&Command::new("CREATE").folder(upload.folder_name)).await?;
                self.session.append(upload.folder_name, &flags, upload.date, body).await?
            }
            other => other?,
        };
        self.placed_at(upload, placed).await
    }

    /// Where the message is on the mail server, if it is there already: known here, or found by its bytes after an upload
    /// that was begun and not finished.
    pub(super) async fn placed_before(
        &mut self,
        upload: &Upload<'_>,
    ) -> Result<Option<Vec<(MessageId, u32)>>, SyncError> {
        let message = upload.message;
        let (uid, begun) = self.store.call(move |store| Ok((store.remote_uid(message)?, store.meta(BEGUN)?))).await?;
        if let Some(uid) = uid {
            return Ok(Some(vec![(message, uid)]));
        }
        if !numbers(begun.as_deref()).any(|seq| seq == upload.seq) {
            return Ok(None);
        }
        match self.session.select_anew(upload.folder_name).await {
            Ok(_) => {}
            Err(ImapError::Refused { .. }) => return Ok(None),
            Err(e) => return Err(e.into()),
        }
        let wanted = self.body(upload.body).await?;
        let (over, under) = (wanted.len().saturating_sub(1), wanted.len() + 1);
        // "LARGER 0 SMALLER 2" would miss a message of no bytes, which no mail program uploads.
        let candidates = self.session.search(&format!("LARGER {over} SMALLER {under}")).await?;
        let folder = upload.folder;
        let known = self.store.call(move |store| store.known_remote(folder)).await?;
        for uid in candidates {
            let taken = known.here.contains_key(&uid) || known.leaving.contains(&uid);
            if !taken && self.body_of(uid).await?.is_some_and(|found| found == wanted) {
                tracing::info!(seq = upload.seq, uid, "an upload had been made before");
                return Ok(Some(vec![(message, uid)]));
            }
        }
        Ok(None)
    }

    /// Notes that an upload begins.
    pub(super) async fn mark_begun(&mut self, upload: &Upload<'_>) -> Result<(), SyncError> {
        let seq = upload.seq;
        let noting = self.store.call(move |store| {
            let begun = with_begun(store.meta(BEGUN)?.as_deref(), seq);
            store.set_meta(BEGUN, Some(&begun))
        });
        Ok(noting.await?)
    }

    /// What is known of the message's number, from what the mail server answered.
    pub(super) async fn placed_at(
        &mut self,
        upload: &Upload<'_>,
        answer: Option<(u32, u32)>,
    ) -> Result<Vec<(MessageId, u32)>, SyncError> {
        let Some((validity, uid)) = answer else { return Ok(vec![]) };
        let folder = upload.folder;
        let known = self
            .store
            .call(move |store| match store.folder(folder) {
                Ok(folder) => Ok(folder.remote_uidvalidity),
                Err(mail_store::Error::NoSuchFolder(_)) => Ok(Some(validity)),
                Err(e) => Err(e),
            })
            .await?;
        // A number of another numbering must not be kept; the folder's next look finds the message by its bytes.
        Ok(if known.is_none_or(|known| known == validity) { vec![(upload.message, uid)] } else { vec![] })
    }

    async fn body(&self, id: &str) -> Result<Bytes, SyncError> {
        let id = id.to_owned();
        Ok(self.store.call(move |store| Ok(Bytes::from(store.body(&id.parse::<BodyId>()?)?))).await?)
    }
}

fn numbers(begun: Option<&str>) -> impl Iterator<Item = i64> {
    begun.unwrap_or_default().split(' ').filter_map(|number| number.parse().ok())
}

/// The notes once the upload `seq` begins.
fn with_begun(begun: Option<&str>, seq: i64) -> String {
    let later = numbers(begun).filter(|other| *other > seq);
    std::iter::once(seq).chain(later).map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_that_was_interrupted_stays_noted_while_an_earlier_one_is_tried_again() {
        let begun = with_begun(None, 7);
        assert_eq!(begun, "7");
        // 7 was cut off, and the next run first tries 3, which the mail server refuses each time.
        let begun = with_begun(Some(&begun), 3);
        assert!(numbers(Some(&begun)).any(|seq| seq == 7), "{begun}");
        assert_eq!(with_begun(Some(&begun), 7), "7", "what has been answered is dropped");
        assert_eq!(with_begun(Some("7"), 8), "8");
    }
}
