//! FETCH (RFC 3501, section 6.4.5), in pieces.

use super::refusal::Refusal;
use super::selected::Selected;
use super::session::{Answer, Done};
use super::{section, structure, wire};
use crate::local::mime::{Part, fields};
use imap_codec::imap_types::IntoStatic;
use imap_codec::imap_types::command::FetchModifier;
use imap_codec::imap_types::fetch::{MacroOrMessageDataItemNames, MessageDataItemName as Item, Section};
use imap_codec::imap_types::sequence::SequenceSet;
use mail_store::{FlagChange, Flags, Message, Store};
use std::collections::HashSet;

/// A piece of the answer ends after this many bytes …
const PIECE_BYTES: usize = 256 * 1024;
/// … or this many messages.
const PIECE_MESSAGES: usize = 500;

/// A FETCH under way.
pub(super) struct FetchJob {
    pub(super) tag: String,
    pub(super) by_uid: bool,
    items: Vec<Item<'static>>,
    /// UIDs still to do, in reverse.
    left: Vec<u32>,
    changed_since: u64,
    /// The message whose answer has been begun.
    current: Option<Current>,
    /// A message was gone: the client must be told that its answer is not whole.
    gone: bool,
}

/// A message whose answer is not yet whole: one item is written at a time, so that a client that asks for a big message in
/// a thousand ways does not cost a thousand times its memory.
struct Current {
    message: Message,
    bytes: Vec<u8>,
    parsed: Option<Part>,
    /// Items written.
    written: usize,
    /// `\Seen` was set by this very command.
    seen_now: bool,
}

/// What holds during one step.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// Unix seconds.
    pub(super) now: i64,
    /// The client wants MODSEQs.
    pub(super) condstore: bool,
}

/// How much of a message the items need.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Index,
    Header,
    Whole,
}

impl FetchJob {
    /// Also says whether the command enables CONDSTORE.
    pub(super) fn new(
        tag: &str,
        selected: &Selected,
        set: &SequenceSet,
        items: MacroOrMessageDataItemNames<'static>,
        by_uid: bool,
        modifiers: &[FetchModifier],
    ) -> Result<(FetchJob, bool), Refusal> {
        let mut items = match items {
            MacroOrMessageDataItemNames::Macro(items) => expand(&items),
            MacroOrMessageDataItemNames::MessageDataItemNames(items) => items,
        };
        if items.iter().any(|i| matches!(i, Item::Binary { .. } | Item::BinarySize { .. })) {
            return Err(Refusal::bad("BINARY is not offered"));
        }
        let mut changed_since = 0;
        for modifier in modifiers {
            match modifier {
                FetchModifier::ChangedSince(modseq) => changed_since = modseq.get(),
                FetchModifier::Vanished => return Err(Refusal::bad("QRESYNC has not been enabled")),
            }
        }
        if items.is_empty() {
            return Err(Refusal::bad("FETCH of nothing"));
        }
        // What is asked for twice is answered once.
        let mut seen = HashSet::new();
        items.retain(|item| seen.insert(item.clone()));
        if by_uid && !items.contains(&Item::Uid) {
            items.insert(0, Item::Uid);
        }
        if changed_since > 0 && !items.contains(&Item::ModSeq) {
            items.push(Item::ModSeq);
        }
        let condstore = items.contains(&Item::ModSeq);
        let mut left = selected.resolve(set, by_uid)?;
        left.reverse();
        Ok((
            FetchJob { tag: tag.to_owned(), by_uid, items, left, changed_since, current: None, gone: false },
            condstore,
        ))
    }

    /// Whether the answer about a message has been begun and not ended: nothing else may be said now.
    pub(super) fn is_inside_a_message(&self) -> bool {
        self.current.is_some()
    }

    /// Does one piece; true when all is done.
    pub(super) fn step(
        &mut self,
        store: &mut Store,
        selected: &mut Selected,
        moment: Moment,
        out: &mut Vec<u8>,
    ) -> Result<bool, mail_store::Error> {
        for _ in 0..PIECE_MESSAGES {
            if self.current.is_none() {
                let Some(uid) = self.left.pop() else { return Ok(true) };
                let Some(number) = selected.number(uid) else { continue };
                match store.messages_by_uid(selected.folder, &[uid])?.pop() {
                    Some(message) if message.modseq > self.changed_since => {
                        self.current = Some(self.open(store, selected, message, moment, out)?);
                        out.extend(format!("* {number} FETCH (").as_bytes());
                    }
                    Some(_) => {}
                    // What the client knows, it may ask for until it is told that the message went (RFC 2180, 4.1).
                    None if self.items.iter().all(|i| *i == Item::Uid) => {
                        out.extend(format!("* {number} FETCH (UID {uid})\r\n").as_bytes());
                    }
                    None => self.gone = true,
                }
            }
            if let Some(current) = &mut self.current {
                if current.write(&self.items, selected, moment, out) {
                    self.current = None;
                }
                if out.len() >= PIECE_BYTES {
                    break;
                }
            }
        }
        Ok(self.left.is_empty() && self.current.is_none())
    }

    /// The tagged answer at the end.
    pub(super) fn verdict(&self) -> Answer {
        // RFC 2180, 4.1.2, and RFC 5530: with UIDs, missing messages are no error.
        if self.gone && !self.by_uid {
            return Err(Refusal::no("EXPUNGEISSUED", "some messages are gone"));
        }
        Ok(Done::ok("FETCH completed"))
    }

    fn open(
        &self,
        store: &mut Store,
        selected: &mut Selected,
        mut message: Message,
        moment: Moment,
        out: &mut Vec<u8>,
    ) -> Result<Current, mail_store::Error> {
        let bytes = match self.items.iter().map(need).max().unwrap_or(Need::Index) {
            Need::Index => Vec::new(),
            Need::Header => store.header(&message.body)?,
            Need::Whole => store.body(&message.body)?,
        };
        let mut seen_now = false;
        if self.items.iter().any(sets_seen) && !selected.read_only && !message.flags.contains("\\Seen") {
            let change = FlagChange::Add(Flags::parse("\\Seen"));
            let (changed, _) = store.change_flags(selected.folder, &[message.uid], &change, None, moment.now)?;
            if let Some(changed) = changed.into_iter().next() {
                selected.told(&changed);
                message = changed;
                seen_now = true;
            }
        }
        if seen_now || self.items.contains(&Item::Flags) {
            selected.introduce(&message.flags, out);
        }
        let parsed = self.items.iter().any(needs_structure).then(|| Part::parse(&bytes));
        Ok(Current { message, bytes, parsed, written: 0, seen_now })
    }
}

impl Current {
    /// Writes items until a piece is full; true when the answer is whole.
    fn write(&mut self, items: &[Item], selected: &Selected, moment: Moment, out: &mut Vec<u8>) -> bool {
        while let Some(item) = items.get(self.written) {
            if self.written > 0 {
                out.push(b' ');
            }
            self.written += 1;
            shown(item, &self.message, &self.bytes, self.parsed.as_ref(), selected, out);
            if out.len() >= PIECE_BYTES && self.written < items.len() {
                return false;
            }
        }
        if self.seen_now && !items.contains(&Item::Flags) {
            out.extend(format!(" FLAGS {}", selected.flags(&self.message)).as_bytes());
        }
        if self.seen_now && moment.condstore && !items.contains(&Item::ModSeq) {
            out.extend(format!(" MODSEQ ({})", self.message.modseq).as_bytes());
        }
        out.extend(b")\r\n");
        true
    }
}

fn expand(items: &imap_codec::imap_types::fetch::Macro) -> Vec<Item<'static>> {
    items.expand().into_iter().map(IntoStatic::into_static).collect()
}

fn need(item: &Item) -> Need {
    match item {
        Item::Flags | Item::InternalDate | Item::Rfc822Size | Item::Uid | Item::ModSeq => Need::Index,
        Item::Envelope | Item::Rfc822Header => Need::Header,
        Item::BodyExt {
            section: Some(Section::Header(None) | Section::HeaderFields(None, _) | Section::HeaderFieldsNot(None, _)),
            ..
        } => Need::Header,
        _ => Need::Whole,
    }
}

fn needs_structure(item: &Item) -> bool {
    match item {
        Item::Body | Item::BodyStructure => true,
        Item::BodyExt { section: Some(section), .. } => section::needs_structure(section),
        _ => false,
    }
}

/// RFC 3501, 6.4.5: fetching a body without PEEK sets `\Seen`.
fn sets_seen(item: &Item) -> bool {
    matches!(item, Item::BodyExt { peek: false, .. } | Item::Rfc822 | Item::Rfc822Text)
}

fn shown(item: &Item, message: &Message, bytes: &[u8], parsed: Option<&Part>, selected: &Selected, out: &mut Vec<u8>) {
    let mut with_literal = |name: &str, content: &[u8]| {
        out.extend(name.as_bytes());
        wire::literal(out, content);
    };
    match item {
        Item::Uid => out.extend(format!("UID {}", message.uid).as_bytes()),
        Item::Flags => out.extend(format!("FLAGS {}", selected.flags(message)).as_bytes()),
        Item::InternalDate => out.extend(format!("INTERNALDATE {}", wire::date_time(message.date)).as_bytes()),
        Item::Rfc822Size => out.extend(format!("RFC822.SIZE {}", message.size).as_bytes()),
        Item::ModSeq => out.extend(format!("MODSEQ ({})", message.modseq).as_bytes()),
        Item::Rfc822 => with_literal("RFC822 ", bytes),
        Item::Rfc822Header => with_literal("RFC822.HEADER ", &bytes[..fields::header_length(bytes)]),
        Item::Rfc822Text => with_literal("RFC822.TEXT ", &bytes[fields::header_length(bytes)..]),
        Item::Envelope => {
            out.extend(b"ENVELOPE ");
            structure::envelope(out, &bytes[..fields::header_length(bytes)]);
        }
        Item::Body | Item::BodyStructure => {
            let extended = matches!(item, Item::BodyStructure);
            out.extend(if extended { &b"BODYSTRUCTURE "[..] } else { b"BODY " });
            if let Some(part) = parsed {
                structure::body(out, bytes, part, extended);
            }
        }
        Item::BodyExt { section, partial, .. } => section::write(out, section.as_ref(), *partial, bytes, parsed),
        // Refused when the command came.
        Item::Binary { .. } | Item::BinarySize { .. } => {}
    }
}
