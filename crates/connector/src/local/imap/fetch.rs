//! FETCH (RFC 3501, section 6.4.5), in pieces.

use super::refusal::Refusal;
use super::selected::{Selected, flags_line};
use super::session::{Answer, Done};
use super::{section, structure, wire};
use crate::local::mime::{Part, fields};
use imap_codec::imap_types::IntoStatic;
use imap_codec::imap_types::command::FetchModifier;
use imap_codec::imap_types::fetch::{MacroOrMessageDataItemNames, MessageDataItemName as Item, Section};
use imap_codec::imap_types::sequence::SequenceSet;
use mail_store::{FlagChange, Flags, Message, Store};

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
    /// A message was gone: the client must be told that its answer is not whole.
    gone: bool,
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
        if by_uid && !items.contains(&Item::Uid) {
            items.insert(0, Item::Uid);
        }
        if changed_since > 0 && !items.contains(&Item::ModSeq) {
            items.push(Item::ModSeq);
        }
        let condstore = items.contains(&Item::ModSeq);
        let mut left = selected.resolve(set, by_uid)?;
        left.reverse();
        Ok((FetchJob { tag: tag.to_owned(), by_uid, items, left, changed_since, gone: false }, condstore))
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
            let Some(uid) = self.left.pop() else { return Ok(true) };
            let Some(number) = selected.number(uid) else { continue };
            let Some(message) = store.messages_by_uid(selected.folder, &[uid])?.pop() else {
                self.gone = true;
                continue;
            };
            if message.modseq > self.changed_since {
                self.message(store, selected, number, message, moment, out)?;
            }
            if out.len() >= PIECE_BYTES {
                break;
            }
        }
        Ok(self.left.is_empty())
    }

    /// The tagged answer at the end.
    pub(super) fn verdict(&self) -> Answer {
        // RFC 2180, 4.1.2, and RFC 5530: with UIDs, missing messages are no error.
        if self.gone && !self.by_uid {
            return Err(Refusal::no("EXPUNGEISSUED", "some messages are gone"));
        }
        Ok(Done::ok("FETCH completed"))
    }

    fn message(
        &self,
        store: &mut Store,
        selected: &mut Selected,
        number: usize,
        mut message: Message,
        moment: Moment,
        out: &mut Vec<u8>,
    ) -> Result<(), mail_store::Error> {
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
        let parsed = self.items.iter().any(needs_structure).then(|| Part::parse(&bytes));
        let mut items = Vec::new();
        for item in &self.items {
            items.push(shown(item, &message, &bytes, parsed.as_ref()));
        }
        if seen_now && !self.items.contains(&Item::Flags) {
            items.push(format!("FLAGS {}", wire::flags(&message.flags)).into_bytes());
        }
        if seen_now && moment.condstore && !self.items.contains(&Item::ModSeq) {
            items.push(format!("MODSEQ ({})", message.modseq).into_bytes());
        }
        if items.is_empty() {
            out.extend(flags_line(number, &message, self.by_uid, moment.condstore).as_bytes());
            return Ok(());
        }
        out.extend(format!("* {number} FETCH (").as_bytes());
        out.extend(items.join(&b' '));
        out.extend(b")\r\n");
        Ok(())
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

fn shown(item: &Item, message: &Message, bytes: &[u8], parsed: Option<&Part>) -> Vec<u8> {
    let body_start = || fields::header_length(bytes);
    let with_literal = |name: &str, content: &[u8]| {
        let mut out = format!("{name} ").into_bytes();
        wire::literal(&mut out, content);
        out
    };
    match item {
        Item::Uid => format!("UID {}", message.uid).into_bytes(),
        Item::Flags => format!("FLAGS {}", wire::flags(&message.flags)).into_bytes(),
        Item::InternalDate => format!("INTERNALDATE {}", wire::date_time(message.date)).into_bytes(),
        Item::Rfc822Size => format!("RFC822.SIZE {}", message.size).into_bytes(),
        Item::ModSeq => format!("MODSEQ ({})", message.modseq).into_bytes(),
        Item::Rfc822 => with_literal("RFC822", bytes),
        Item::Rfc822Header => with_literal("RFC822.HEADER", bytes),
        Item::Rfc822Text => with_literal("RFC822.TEXT", &bytes[body_start()..]),
        Item::Envelope => {
            let mut out = b"ENVELOPE ".to_vec();
            structure::envelope(&mut out, bytes);
            out
        }
        Item::Body | Item::BodyStructure => {
            let extended = matches!(item, Item::BodyStructure);
            let mut out = if extended { b"BODYSTRUCTURE ".to_vec() } else { b"BODY ".to_vec() };
            if let Some(part) = parsed {
                structure::body(&mut out, bytes, part, extended);
            }
            out
        }
        Item::BodyExt { section, partial, .. } => section::shown(section.as_ref(), *partial, bytes, parsed),
        // Refused when the command came.
        Item::Binary { .. } | Item::BinarySize { .. } => Vec::new(),
    }
}
