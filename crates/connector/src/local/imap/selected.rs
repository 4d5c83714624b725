//! The selected folder as the client believes it to be, and what it is told when that changes.
//!
//! Sequence numbers are positions in `uids`, which changes only when the client is told (RFC 3501, section 7.4.1): a message that went
//! meanwhile keeps its number until then.

use super::refusal::Refusal;
use super::wire;
use imap_codec::imap_types::sequence::{SeqOrUid, Sequence, SequenceSet};
use mail_store::{Folder, FolderId, Message, Store};
use std::collections::{BTreeSet, HashMap};

/// A selected folder.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) folder: FolderId,
    pub(super) read_only: bool,
    /// UIDs in the order of sequence numbers, ascending.
    uids: Vec<u32>,
    /// Everything up to this MODSEQ has been told or is in `gone`.
    modseq: u64,
    /// UIDs that went and of which the client has not been told.
    gone: BTreeSet<u32>,
    /// UID to MODSEQ of changes the client has just been told in answer to its own command.
    told: HashMap<u32, u64>,
}

impl Selected {
    pub(super) fn new(folder: &Folder, messages: &[Message], read_only: bool) -> Selected {
        Selected {
            folder: folder.id,
            read_only,
            uids: messages.iter().map(|m| m.uid).collect(),
            modseq: folder.modseq,
            gone: BTreeSet::new(),
            told: HashMap::new(),
        }
    }

    /// All UIDs, ascending.
    pub(super) fn uids(&self) -> &[u32] {
        &self.uids
    }

    /// The sequence number of a UID.
    pub(super) fn number(&self, uid: u32) -> Option<usize> {
        self.uids.binary_search(&uid).ok().map(|i| i + 1)
    }

    /// The UIDs a set names, ascending. UIDs that do not exist are left out; sequence numbers that do not exist are an error.
    pub(super) fn resolve(&self, set: &SequenceSet, by_uid: bool) -> Result<Vec<u32>, Refusal> {
        let mut found = BTreeSet::new();
        for sequence in set.0.as_ref() {
            let (a, b) = match sequence {
                Sequence::Single(a) => (a, a),
                Sequence::Range(a, b) => (a, b),
            };
            let range = if by_uid { self.uid_range(a, b) } else { self.number_range(a, b)? };
            found.extend(&self.uids[range]);
        }
        Ok(found.into_iter().collect())
    }

    fn uid_range(&self, a: &SeqOrUid, b: &SeqOrUid) -> std::ops::Range<usize> {
        let last = self.uids.last().copied().unwrap_or(0);
        let value = |n: &SeqOrUid| match n {
            SeqOrUid::Value(v) => v.get(),
            SeqOrUid::Asterisk => last,
        };
        let (low, high) = (value(a).min(value(b)), value(a).max(value(b)));
        let start = self.uids.partition_point(|&u| u < low);
        let end = self.uids.partition_point(|&u| u <= high);
        start..end.max(start)
    }

    fn number_range(&self, a: &SeqOrUid, b: &SeqOrUid) -> Result<std::ops::Range<usize>, Refusal> {
        let value = |n: &SeqOrUid| match n {
            SeqOrUid::Value(v) => v.get() as usize,
            SeqOrUid::Asterisk => self.uids.len(),
        };
        if self.uids.is_empty() && (*a == SeqOrUid::Asterisk || *b == SeqOrUid::Asterisk) {
            return Ok(0..0);
        }
        let (low, high) = (value(a).min(value(b)), value(a).max(value(b)));
        if low == 0 || high > self.uids.len() {
            return Err(Refusal::bad(format!("there are only {} messages", self.uids.len())));
        }
        Ok(low - 1..high)
    }

    /// The client was told of this message's flags in answer to its command: no need to repeat.
    pub(super) fn told(&mut self, message: &Message) {
        self.told.insert(message.uid, message.modseq);
    }

    /// Tells the client what changed since the last time: EXPUNGE (only if `expunge`: RFC 3501, section 7.4.1, forbids it in answer to
    /// FETCH, STORE and SEARCH), EXISTS, and FETCH with the flags of messages it knew.
    pub(super) fn refresh(
        &mut self,
        store: &Store,
        expunge: bool,
        condstore: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), mail_store::Error> {
        let changes = store.changes_since(self.folder, self.modseq)?;
        self.modseq = changes.modseq;
        self.gone.extend(changes.vanished.iter().filter(|uid| self.uids.binary_search(uid).is_ok()));
        if expunge {
            for uid in std::mem::take(&mut self.gone) {
                if let Ok(at) = self.uids.binary_search(&uid) {
                    self.uids.remove(at);
                    out.extend(format!("* {} EXPUNGE\r\n", at + 1).as_bytes());
                }
            }
        }
        let last = self.uids.last().copied().unwrap_or(0);
        let before = self.uids.len();
        self.uids.extend(changes.changed.iter().map(|m| m.uid).filter(|&uid| uid > last));
        if self.uids.len() > before {
            out.extend(format!("* {} EXISTS\r\n", self.uids.len()).as_bytes());
        }
        let told = std::mem::take(&mut self.told);
        for message in &changes.changed {
            // A client asks for the flags of new messages itself; some take an answer they did not ask for as one they did.
            if message.uid > last || told.get(&message.uid) == Some(&message.modseq) {
                continue;
            }
            let Some(number) = self.number(message.uid) else { continue };
            out.extend(flags_line(number, message, true, condstore).as_bytes());
        }
        Ok(())
    }
}

/// `* 3 FETCH (UID 17 FLAGS (\Seen) MODSEQ (9))`
pub(super) fn flags_line(number: usize, message: &Message, uid: bool, condstore: bool) -> String {
    let uid = if uid { format!("UID {} ", message.uid) } else { String::new() };
    let modseq = if condstore { format!(" MODSEQ ({})", message.modseq) } else { String::new() };
    format!("* {number} FETCH ({uid}FLAGS {}{modseq})\r\n", wire::flags(&message.flags))
}
