//! What the mail server says about messages: taken over without a journal row.
//!
//! Pending changes win over what the mail server still says: a message moved away here does not come back because the
//! mail server has not heard of it, and flags changed here stay changed.

use crate::bodies::Content;
use crate::messages::NewMessage;
use crate::{BodyId, Flags, FolderId, MessageId, Result, Store};
use std::collections::{BTreeMap, BTreeSet};

/// A message fetched from the mail server.
#[derive(Clone, Copy, Debug)]
pub struct RemoteMessage<'a> {
    /// UID there.
    pub uid: u32,
    /// Flags there.
    pub flags: &'a Flags,
    /// INTERNALDATE, Unix seconds.
    pub date: i64,
    /// The whole message.
    pub body: &'a [u8],
}

/// What became of a fetched message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// A new message in the folder.
    New(MessageId),
    /// It was here already; its flags were taken over.
    Known(MessageId),
    /// It is the message with the same bytes that was here and not known to be on the mail server (an upload whose answer
    /// was lost, or a folder that got a new UIDVALIDITY).
    Adopted(MessageId),
    /// It was deleted or moved away here and the mail server has not heard of it yet: left alone.
    Leaving,
}

/// What the store knows of a folder on the mail server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownRemote {
    /// Remote UIDs of messages that are here, with their flags (pending changes included).
    pub here: BTreeMap<u32, Flags>,
    /// Remote UIDs of messages that are gone here and whose going is still pending.
    pub leaving: BTreeSet<u32>,
}

impl Store {
    /// Which of the folder's messages on the mail server the store knows.
    pub fn known_remote(&self, folder: FolderId) -> Result<KnownRemote> {
        let index = self.schema.index();
        let mut here = self.conn.prepare_cached(&format!(
            "SELECT remote_uid, flags FROM {index} WHERE folder = ?1 AND remote_uid IS NOT NULL"
        ))?;
        Ok(KnownRemote {
            here: here
                .query_map([folder], |r| Ok((r.get(0)?, Flags::parse(r.get_ref(1)?.as_str()?))))?
                .collect::<rusqlite::Result<_>>()?,
            leaving: self.leaving(folder)?,
        })
    }

    fn leaving(&self, folder: FolderId) -> Result<BTreeSet<u32>> {
        let mut leaving = self.conn.prepare_cached(
            "SELECT v.remote_uid FROM vanished v WHERE v.folder = ?1 AND v.remote_uid IS NOT NULL \
             AND EXISTS (SELECT 1 FROM pending p WHERE p.message = v.message \
                         AND NOT EXISTS (SELECT 1 FROM pending_done d WHERE d.seq = p.seq))",
        )?;
        Ok(leaving.query_map([folder], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?)
    }

    /// Takes over fetched messages, all in one transaction; the answers are in the same order.
    pub fn apply_remote_messages(&mut self, folder: FolderId, messages: &[RemoteMessage]) -> Result<Vec<Delivered>> {
        let leaving = self.leaving(folder)?;
        self.change(|c| {
            c.folder(folder)?;
            let mut delivered = Vec::with_capacity(messages.len());
            for remote in messages {
                if let Some(mut message) = c.message_by_remote_uid(folder, remote.uid)? {
                    let flags = c.with_pending_flags(message.id, remote.flags)?;
                    c.set_flags(&mut message, flags)?;
                    delivered.push(Delivered::Known(message.id));
                    continue;
                }
                if leaving.contains(&remote.uid) {
                    delivered.push(Delivered::Leaving);
                    continue;
                }
                let body = BodyId::of(remote.body);
                if let Some(mut message) = c.unplaced_with_body(folder, &body)? {
                    c.set_remote_uid(message.id, Some(remote.uid))?;
                    let flags = c.with_pending_flags(message.id, remote.flags)?;
                    c.set_flags(&mut message, flags)?;
                    delivered.push(Delivered::Adopted(message.id));
                    continue;
                }
                let message = c.insert_message(&NewMessage {
                    folder,
                    remote_uid: Some(remote.uid),
                    local_only: false,
                    flags: remote.flags,
                    date: remote.date,
                    content: Content::New(remote.body),
                })?;
                delivered.push(Delivered::New(message.id));
            }
            Ok(delivered)
        })
    }

    /// Takes over the mail server's flags of these remote UIDs; unknown UIDs are left out. Returns how many changed.
    pub fn apply_remote_flags(&mut self, folder: FolderId, flags: &[(u32, Flags)]) -> Result<usize> {
        self.change(|c| {
            let mut changed = 0;
            for (uid, server) in flags {
                let Some(mut message) = c.message_by_remote_uid(folder, *uid)? else { continue };
                let modseq = message.modseq;
                let flags = c.with_pending_flags(message.id, server)?;
                c.set_flags(&mut message, flags)?;
                changed += usize::from(message.modseq != modseq);
            }
            Ok(changed)
        })
    }

    /// Removes messages that the mail server no longer has; unknown UIDs are left out. Returns how many went.
    pub fn apply_remote_gone(&mut self, folder: FolderId, uids: &[u32], now: i64) -> Result<usize> {
        self.change(|c| {
            let mut gone = 0;
            for &uid in uids {
                let Some(message) = c.message_by_remote_uid(folder, uid)? else { continue };
                c.bury(&message, now)?;
                gone += 1;
            }
            Ok(gone)
        })
    }

    /// Ends a resynchronisation after [`Store::apply_remote_state`] said that the folder started anew: removes messages
    /// that were not found again and that no pending change is going to upload. Returns how many went.
    pub fn apply_remote_restart_done(&mut self, folder: FolderId, now: i64) -> Result<usize> {
        self.change(|c| {
            let mut gone = 0;
            for message in crate::messages::in_folder(&c.sql, c.schema, folder)? {
                if message.remote_uid.is_none() && !message.local_only && !c.is_pending(message.id)? {
                    c.bury(&message, now)?;
                    gone += 1;
                }
            }
            Ok(gone)
        })
    }
}
