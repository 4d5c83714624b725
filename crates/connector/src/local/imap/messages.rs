//! Commands that change messages: STORE, APPEND, COPY, MOVE, EXPUNGE (RFC 3501, section 6.4; RFC 4315; RFC 6851; RFC 7162).

use super::mailboxes;
use super::refusal::Refusal;
use super::selected::Selected;
use super::session::{Answer, Done};
use super::wire::number_set;
use imap_codec::imap_types::command::StoreModifier;
use imap_codec::imap_types::datetime::DateTime;
use imap_codec::imap_types::extensions::binary::LiteralOrLiteral8;
use imap_codec::imap_types::flag::{Flag, StoreResponse, StoreType};
use imap_codec::imap_types::mailbox::Mailbox;
use imap_codec::imap_types::sequence::SequenceSet;
use mail_store::{FlagChange, Flags, Folder, Store, UidMap};

/// The arguments of STORE.
pub(super) struct FlagStore<'a> {
    pub(super) kind: StoreType,
    pub(super) response: StoreResponse,
    pub(super) flags: Vec<Flag<'a>>,
    pub(super) by_uid: bool,
    pub(super) modifiers: Vec<StoreModifier>,
}

impl FlagStore<'_> {
    pub(super) fn run(
        self,
        store: &mut Store,
        selected: &mut Selected,
        set: &SequenceSet,
        now: i64,
        condstore: bool,
        out: &mut Vec<u8>,
    ) -> Answer {
        writable(selected)?;
        let uids = selected.resolve(set, self.by_uid)?;
        let flags: Flags = self.flags.iter().map(ToString::to_string).collect();
        let change = match self.kind {
            StoreType::Replace => FlagChange::Set(flags),
            StoreType::Add => FlagChange::Add(flags),
            StoreType::Remove => FlagChange::Remove(flags),
        };
        let unchanged_since = self.modifiers.iter().map(|StoreModifier::UnchangedSince(modseq)| *modseq).min();
        let (changed, left_alone) = store.change_flags(selected.folder, &uids, &change, unchanged_since, now)?;
        for message in &changed {
            let Some(number) = selected.number(message.uid) else { continue };
            selected.told(message);
            selected.introduce(&message.flags, out);
            match self.response {
                StoreResponse::Answer => {
                    out.extend(selected.flags_line(number, message, self.by_uid || condstore, condstore).as_bytes());
                }
                // RFC 7162, 3.1.3: the new MODSEQ is told even so.
                StoreResponse::Silent if condstore => {
                    let (uid, modseq) = (message.uid, message.modseq);
                    out.extend(format!("* {number} FETCH (UID {uid} MODSEQ ({modseq}))\r\n").as_bytes());
                }
                StoreResponse::Silent => {}
            }
        }
        if !left_alone.is_empty() {
            let shown: Vec<u32> = match self.by_uid {
                true => left_alone,
                false => left_alone.iter().filter_map(|&uid| selected.number(uid)).map(|n| n as u32).collect(),
            };
            return Ok(Done::Ok(format!(
                "[MODIFIED {}] some messages had changed and were left alone",
                number_set(&shown)
            )));
        }
        if !self.by_uid && changed.len() < uids.len() {
            return Err(Refusal::no("EXPUNGEISSUED", "some messages are gone"));
        }
        Ok(Done::ok("STORE completed"))
    }
}

fn writable(selected: &Selected) -> Result<(), Refusal> {
    if selected.read_only {
        Err(Refusal::no("CANNOT", "the folder was opened with EXAMINE, only to be read"))
    } else {
        Ok(())
    }
}

/// The folder messages are to go to; `[TRYCREATE]` if there is none.
fn destination(store: &Store, mailbox: &Mailbox) -> Result<Folder, Refusal> {
    let name = mailboxes::name(mailbox)?;
    let folder = store.folder_by_name(&name)?.filter(|f| f.selectable);
    folder.ok_or_else(|| Refusal::no("TRYCREATE", format!("there is no folder \"{name}\"")))
}

pub(super) fn append(
    store: &mut Store,
    mailbox: &Mailbox,
    flags: &[Flag],
    date: Option<DateTime>,
    message: &LiteralOrLiteral8,
    now: i64,
) -> Answer {
    let folder = destination(store, mailbox)?;
    let bytes = match message {
        LiteralOrLiteral8::Literal(literal) => literal.as_ref(),
        LiteralOrLiteral8::Literal8(_) => return Err(Refusal::no("UNKNOWN-CTE", "binary literals are not offered")),
    };
    if bytes.is_empty() {
        // An empty literal is how a client gives up an APPEND.
        return Err(Refusal::no("CANNOT", "the message is empty"));
    }
    let flags: Flags = flags.iter().map(ToString::to_string).collect();
    let date = date.map_or(now, |d| d.as_ref().timestamp());
    let uid = store.append(folder.id, bytes, &flags, date, now)?.uid;
    Ok(Done::Ok(format!("[APPENDUID {} {uid}] APPEND completed", folder.uidvalidity)))
}

pub(super) fn copy(
    store: &mut Store,
    selected: &mut Selected,
    set: &SequenceSet,
    mailbox: &Mailbox,
    by_uid: bool,
    now: i64,
) -> Answer {
    let uids = selected.resolve(set, by_uid)?;
    let to = destination(store, mailbox)?;
    let map = store.copy(selected.folder, &uids, to.id, now)?;
    if !by_uid && map.len() < uids.len() && map.is_empty() {
        return Err(Refusal::no("EXPUNGEISSUED", "the messages are gone"));
    }
    Ok(Done::Ok(match copyuid(&to, &map) {
        Some(code) => format!("[{code}] COPY completed"),
        None => "COPY completed: no messages".to_owned(),
    }))
}

pub(super) fn move_(
    store: &mut Store,
    selected: &mut Selected,
    set: &SequenceSet,
    mailbox: &Mailbox,
    by_uid: bool,
    now: i64,
    out: &mut Vec<u8>,
) -> Answer {
    writable(selected)?;
    let uids = selected.resolve(set, by_uid)?;
    let to = destination(store, mailbox)?;
    let map = store.move_messages(selected.folder, &uids, to.id, now)?;
    // RFC 6851, 4.3: COPYUID comes untagged, before the EXPUNGEs.
    if let Some(code) = copyuid(&to, &map) {
        out.extend(format!("* OK [{code}] moved\r\n").as_bytes());
    }
    Ok(Done::ok("MOVE completed"))
}

/// `COPYUID validity from to`; the two sets name messages in the same order.
fn copyuid(to: &Folder, map: &[UidMap]) -> Option<String> {
    let (from, new): (Vec<u32>, Vec<u32>) = map.iter().map(|m| (m.from, m.to)).unzip();
    (!map.is_empty()).then(|| format!("COPYUID {} {} {}", to.uidvalidity, number_set(&from), number_set(&new)))
}

pub(super) fn expunge(store: &mut Store, selected: &mut Selected, only: Option<&SequenceSet>, now: i64) -> Answer {
    writable(selected)?;
    // Only what the client can know of: a message that arrived with \Deleted meanwhile is not meant.
    let uids = match only {
        Some(set) => selected.resolve(set, true)?,
        None => selected.uids().to_vec(),
    };
    store.expunge(selected.folder, Some(&uids), now)?;
    Ok(Done::ok("EXPUNGE completed"))
}
