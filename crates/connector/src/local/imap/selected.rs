//! The selected folder as the client believes it to be, and what it is told when that changes.
//!
//! Sequence numbers are positions in `uids`, which changes only when the client is told (RFC 3501, section 7.4.1): a message that went
//! meanwhile keeps its number until then.

use super::recent;
use super::refusal::Refusal;
use imap_codec::imap_types::sequence::{SeqOrUid, Sequence, SequenceSet};
use mail_store::{Flags, Folder, FolderId, Message, Store};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Keywords told in FLAGS, at most.
const MAX_KEYWORDS: usize = 1_000;

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
    /// UIDs that are `\Recent` in this session.
    recent: BTreeSet<u32>,
    /// The number of them as the client knows it.
    recent_told: usize,
    /// The flags that FLAGS has named, in lower case and as shown.
    named: BTreeMap<String, String>,
}

impl Selected {
    /// The folder as it is now; the client is told of its flags.
    pub(super) fn new(
        store: &mut Store,
        folder: &Folder,
        messages: &[Message],
        read_only: bool,
        out: &mut Vec<u8>,
    ) -> Result<Selected, mail_store::Error> {
        let uids: Vec<u32> = messages.iter().map(|m| m.uid).collect();
        let recent = recent::claim(store, folder.id, &uids, read_only)?;
        let mut selected = Selected {
            folder: folder.id,
            read_only,
            recent_told: recent.len(),
            recent,
            uids,
            modseq: folder.modseq,
            gone: BTreeSet::new(),
            told: HashMap::new(),
            named: BTreeMap::new(),
        };
        let system = Flags::parse("\\Answered \\Flagged \\Deleted \\Seen \\Draft");
        selected.learn(&system);
        for message in messages {
            selected.learn(&message.flags);
        }
        selected.name_flags(out);
        Ok(selected)
    }

    /// Remembers flags; true if one is new.
    fn learn(&mut self, flags: &Flags) -> bool {
        let mut is_new = false;
        for flag in flags.iter() {
            let key = flag.to_ascii_lowercase();
            if !self.named.contains_key(&key) && self.named.len() < MAX_KEYWORDS {
                self.named.insert(key, flag.to_owned());
                is_new = true;
            }
        }
        is_new
    }

    /// Tells the client of flags it has not heard of, before a FETCH shows them (RFC 3501, section 7.2.6).
    pub(super) fn introduce(&mut self, flags: &Flags, out: &mut Vec<u8>) {
        if self.learn(flags) {
            self.name_flags(out);
        }
    }

    fn name_flags(&self, out: &mut Vec<u8>) {
        let shown = self.named.values().map(String::as_str).collect::<Vec<_>>().join(" ");
        let permanent = if self.read_only { String::new() } else { format!("{shown} \\*") };
        out.extend(
            format!("* FLAGS ({shown})\r\n* OK [PERMANENTFLAGS ({permanent})] flags that are kept\r\n").as_bytes(),
        );
    }

    /// How many messages are `\Recent` in this session.
    pub(super) fn recent_count(&self) -> usize {
        self.recent.len()
    }

    /// Whether the message is `\Recent` in this session.
    pub(super) fn is_recent(&self, uid: u32) -> bool {
        self.recent.contains(&uid)
    }

    /// `(\Recent \Seen)`
    pub(super) fn flags(&self, message: &Message) -> String {
        let flags = message.flags.to_text();
        match (self.is_recent(message.uid), flags.is_empty()) {
            (true, true) => "(\\Recent)".to_owned(),
            (true, false) => format!("(\\Recent {flags})"),
            (false, _) => format!("({flags})"),
        }
    }

    /// `* 3 FETCH (UID 17 FLAGS (\Seen) MODSEQ (9))`
    pub(super) fn flags_line(&self, number: usize, message: &Message, uid: bool, condstore: bool) -> String {
        let uid = if uid { format!("UID {} ", message.uid) } else { String::new() };
        let modseq = if condstore { format!(" MODSEQ ({})", message.modseq) } else { String::new() };
        format!("* {number} FETCH ({uid}FLAGS {}{modseq})\r\n", self.flags(message))
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

    /// As [`Selected::resolve`], but sequence numbers that do not exist are left out: SEARCH finds nothing there.
    pub(super) fn resolve_leniently(&self, set: &SequenceSet, by_uid: bool) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        for sequence in set.0.as_ref() {
            let (a, b) = match sequence {
                Sequence::Single(a) => (a, a),
                Sequence::Range(a, b) => (a, b),
            };
            let range = match by_uid {
                true => self.uid_range(a, b),
                false => {
                    let last = self.uids.len();
                    let value = |n: &SeqOrUid| match n {
                        SeqOrUid::Value(v) => v.get() as usize,
                        SeqOrUid::Asterisk => last,
                    };
                    let (low, high) = (value(a).min(value(b)), value(a).max(value(b)));
                    low.max(1) - 1..high.min(last)
                }
            };
            found.extend(self.uids.get(range).unwrap_or_default());
        }
        found
    }

    /// A selected folder with these UIDs and nothing else.
    #[cfg(test)]
    pub(super) fn of_uids(uids: &[u32]) -> Selected {
        Selected {
            folder: FolderId(1),
            read_only: true,
            uids: uids.to_vec(),
            modseq: 1,
            gone: BTreeSet::new(),
            told: HashMap::new(),
            recent: BTreeSet::new(),
            recent_told: 0,
            named: BTreeMap::new(),
        }
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
        let up_to_the_last = *a == SeqOrUid::Asterisk || *b == SeqOrUid::Asterisk;
        if self.uids.is_empty() && up_to_the_last {
            return Ok(0..0);
        }
        let (low, high) = (value(a).min(value(b)), value(a).max(value(b)));
        // `9:*` with 5 messages is the last one, as it is with UIDs: clients ask so for what is new.
        let (low, high) = if up_to_the_last { (low.min(self.uids.len()), self.uids.len()) } else { (low, high) };
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
        store: &mut Store,
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
                    self.recent.remove(&uid);
                    out.extend(format!("* {} EXPUNGE\r\n", at + 1).as_bytes());
                }
            }
        }
        let last = self.uids.last().copied().unwrap_or(0);
        let before = self.uids.len();
        self.uids.extend(changes.changed.iter().map(|m| m.uid).filter(|&uid| uid > last));
        if self.uids.len() > before {
            self.recent.extend(recent::claim(store, self.folder, &self.uids[before..], self.read_only)?);
            out.extend(format!("* {} EXISTS\r\n", self.uids.len()).as_bytes());
        }
        if self.recent.len() != self.recent_told {
            self.recent_told = self.recent.len();
            out.extend(format!("* {} RECENT\r\n", self.recent_told).as_bytes());
        }
        for message in &changes.changed {
            self.introduce(&message.flags, out);
        }
        let told = std::mem::take(&mut self.told);
        for message in &changes.changed {
            // A client asks for the flags of new messages itself; some take an answer they did not ask for as one they did.
            if message.uid > last || told.get(&message.uid) == Some(&message.modseq) {
                continue;
            }
            let Some(number) = self.number(message.uid) else { continue };
            out.extend(self.flags_line(number, message, true, condstore).as_bytes());
        }
        Ok(())
    }
}
