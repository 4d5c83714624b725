//! What a mail program does to messages: each change and its journal row in one transaction.

use crate::bodies::Content;
use crate::messages::NewMessage;
use crate::store::Change;
use crate::{Error, Flags, FolderId, Message, PendingOp, Result, Store, UidMap};

/// How flags are to change (RFC 3501, STORE).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagChange {
    /// Exactly these.
    Set(Flags),
    /// These too.
    Add(Flags),
    /// Not these.
    Remove(Flags),
}

impl FlagChange {
    fn apply(&self, flags: &Flags) -> Flags {
        match self {
            FlagChange::Set(set) => set.clone(),
            FlagChange::Add(add) => flags.plus(add),
            FlagChange::Remove(remove) => flags.minus(remove),
        }
    }
}

impl Store {
    /// Adds a message to a folder; it will be uploaded. `date` is its INTERNALDATE.
    pub fn append(&mut self, folder: FolderId, message: &[u8], flags: &Flags, date: i64, now: i64) -> Result<Message> {
        self.change(|c| {
            let message = c.insert_message(&NewMessage {
                folder: c.selectable(folder)?,
                remote_uid: None,
                local_only: false,
                flags,
                date,
                content: Content::New(message),
            })?;
            c.record_append(&message, now)?;
            Ok(message)
        })
    }

    /// Adds a notice of Lockstep itself to a folder: it never goes to the mail server, nor do changes to it.
    pub fn append_notice(&mut self, folder: FolderId, message: &[u8], now: i64) -> Result<Message> {
        self.change(|c| {
            c.folder(folder)?;
            c.insert_message(&NewMessage {
                folder,
                remote_uid: None,
                local_only: true,
                flags: &Flags::new(),
                date: now,
                content: Content::New(message),
            })
        })
    }

    /// Changes flags of the messages with these UIDs. With `unchanged_since`, messages whose MODSEQ is greater are left
    /// alone (RFC 7162, UNCHANGEDSINCE). Returns the messages as they are now, and the UIDs left alone.
    pub fn change_flags(
        &mut self,
        folder: FolderId,
        uids: &[u32],
        change: &FlagChange,
        unchanged_since: Option<u64>,
        now: i64,
    ) -> Result<(Vec<Message>, Vec<u32>)> {
        self.change(|c| {
            let (mut messages, mut left_alone) = (Vec::new(), Vec::new());
            for &uid in uids {
                let Some(mut message) = c.message_by_uid(folder, uid)? else { continue };
                if unchanged_since.is_some_and(|limit| message.modseq > limit) {
                    left_alone.push(uid);
                    continue;
                }
                let before = message.flags.clone();
                c.set_flags(&mut message, change.apply(&before))?;
                if message.flags != before && !message.local_only {
                    let op = PendingOp::Flags {
                        place: c.place_of(&message)?,
                        add: message.flags.minus(&before).to_text(),
                        remove: before.minus(&message.flags).to_text(),
                    };
                    c.record(&op, now)?;
                }
                messages.push(message);
            }
            Ok((messages, left_alone))
        })
    }

    /// Removes for good the messages with `\Deleted`, or only those of them in `only`. Returns their UIDs, ascending.
    pub fn expunge(&mut self, folder: FolderId, only: Option<&[u32]>, now: i64) -> Result<Vec<u32>> {
        self.change(|c| {
            let mut messages = match only {
                None => crate::messages::in_folder(&c.sql, c.schema, folder)?,
                Some(uids) => {
                    let found = uids.iter().map(|&uid| c.message_by_uid(folder, uid));
                    found.filter_map(Result::transpose).collect::<Result<_>>()?
                }
            };
            messages.retain(|m| m.flags.contains("\\Deleted"));
            messages.sort_by_key(|m| m.uid);
            messages.dedup_by_key(|m| m.uid);
            for message in &messages {
                if !message.local_only {
                    let place = c.place_of(message)?;
                    c.record(&PendingOp::Expunge { place }, now)?;
                }
                c.bury(message, now)?;
            }
            Ok(messages.iter().map(|m| m.uid).collect())
        })
    }

    /// Copies messages to another (or the same) folder, all or none. UIDs that are not there are left out.
    pub fn copy(&mut self, from: FolderId, uids: &[u32], to: FolderId, now: i64) -> Result<Vec<UidMap>> {
        self.change(|c| c.transfer(from, uids, to, false, now))
    }

    /// Moves messages to another folder, all or none (RFC 6851). UIDs that are not there are left out.
    pub fn move_messages(&mut self, from: FolderId, uids: &[u32], to: FolderId, now: i64) -> Result<Vec<UidMap>> {
        self.change(|c| c.transfer(from, uids, to, true, now))
    }
}

impl Change<'_> {
    fn selectable(&self, folder: FolderId) -> Result<FolderId> {
        let folder = self.folder(folder)?;
        if folder.selectable { Ok(folder.id) } else { Err(Error::NoSuchFolder(folder.id)) }
    }

    fn record_append(&mut self, message: &Message, now: i64) -> Result<()> {
        let op = PendingOp::Append {
            message: message.id,
            folder: message.folder,
            folder_name: self.folder(message.folder)?.name,
            flags: message.flags.to_text(),
            date: message.date,
            body: message.body.to_string(),
        };
        self.record(&op, now)
    }

    pub(crate) fn transfer(
        &mut self,
        from: FolderId,
        uids: &[u32],
        to: FolderId,
        moving: bool,
        now: i64,
    ) -> Result<Vec<UidMap>> {
        let to = self.selectable(to)?;
        let folder_name = self.folder(to)?.name;
        let mut map = Vec::new();
        for &uid in uids {
            let Some(original) = self.message_by_uid(from, uid)? else { continue };
            let copy = self.insert_message(&NewMessage {
                folder: to,
                remote_uid: None,
                local_only: original.local_only,
                flags: &original.flags,
                date: original.date,
                content: Content::Kept(original.body),
            })?;
            if !original.local_only {
                let (place, message, folder, folder_name) =
                    (self.place_of(&original)?, copy.id, to, folder_name.clone());
                let (flags, date, body) = (copy.flags.to_text(), copy.date, copy.body.to_string());
                let op = if moving {
                    PendingOp::Move { from: place, message, folder, folder_name, flags, date, body }
                } else {
                    PendingOp::Copy { from: place, message, folder, folder_name, flags, date, body }
                };
                self.record(&op, now)?;
            }
            if moving {
                self.bury(&original, now)?;
            }
            map.push(UidMap { from: uid, to: copy.uid });
        }
        Ok(map)
    }
}
