//! Commands about folders: SELECT, LIST, LSUB, STATUS, CREATE, DELETE, RENAME, SUBSCRIBE, NAMESPACE (RFC 3501, section 6.3).

use super::refusal::Refusal;
use super::selected::Selected;
use super::session::{Answer, Done};
use super::{pattern, recent, wire};
use imap_codec::imap_types::command::{CommandBody, SelectParameter};
use imap_codec::imap_types::core::{AString, IString};
use imap_codec::imap_types::mailbox::{ListMailbox, Mailbox};
use imap_codec::imap_types::status::StatusDataItemName;
use mail_store::{Folder, FolderId, Store};
use std::collections::BTreeMap;

pub(super) fn execute(store: &mut Store, now: i64, body: CommandBody, out: &mut Vec<u8>) -> Answer {
    match body {
        CommandBody::List { reference, mailbox_wildcard } => list(store, &reference, &mailbox_wildcard, false, out),
        CommandBody::Lsub { reference, mailbox_wildcard } => list(store, &reference, &mailbox_wildcard, true, out),
        CommandBody::Namespace => {
            out.extend(b"* NAMESPACE ((\"\" ");
            delimiter(out, &store.delimiter()?);
            out.extend(b")) NIL NIL\r\n");
            Ok(Done::ok("NAMESPACE completed"))
        }
        CommandBody::Create { mailbox } => {
            let name = name(&mailbox)?;
            // RFC 3501, 6.3.3: a delimiter at the end only says that folders will be made below.
            let delimiter = store.delimiter()?;
            let name =
                if delimiter.is_empty() { &name } else { name.strip_suffix(delimiter.as_str()).unwrap_or(&name) };
            store.create_folder(name, now)?;
            Ok(Done::ok("CREATE completed"))
        }
        CommandBody::Rename { from, to } => {
            rename(store, &name(&from)?, &name(&to)?, now)?;
            Ok(Done::ok("RENAME completed"))
        }
        CommandBody::Subscribe { mailbox } => {
            let folder = existing(store, &mailbox)?;
            store.subscribe(folder.id, true, now)?;
            Ok(Done::ok("SUBSCRIBE completed"))
        }
        CommandBody::Unsubscribe { mailbox } => {
            let folder = existing(store, &mailbox)?;
            store.subscribe(folder.id, false, now)?;
            Ok(Done::ok("UNSUBSCRIBE completed"))
        }
        _ => Err(Refusal::bad("this server does not offer that command")),
    }
}

/// Deletes a folder and says which it was.
pub(super) fn delete(store: &mut Store, mailbox: &Mailbox, now: i64) -> Result<FolderId, Refusal> {
    let folder = existing(store, mailbox)?;
    store.delete_folder(folder.id, now)?;
    Ok(folder.id)
}

/// The folder's name in UTF-8.
pub(super) fn name(mailbox: &Mailbox) -> Result<String, Refusal> {
    let wire = match mailbox {
        Mailbox::Inbox => return Ok("INBOX".to_owned()),
        Mailbox::Other(other) => other.as_ref(),
    };
    let decoded = std::str::from_utf8(wire).ok().and_then(mail_store::decode_utf7);
    decoded.ok_or_else(|| Refusal::no("CANNOT", "the folder's name is not modified UTF-7"))
}

/// Renames a folder and those below it, or those below a name that is no folder itself (RFC 3501, 6.3.5).
fn rename(store: &mut Store, from: &str, to: &str, now: i64) -> Result<(), Refusal> {
    if let Some(folder) = store.folder_by_name(from)? {
        return Ok(store.rename_folder(folder.id, to, now)?);
    }
    let delimiter = store.delimiter()?;
    let moved = |name: &str| -> Option<String> {
        let rest = name.strip_prefix(from)?.strip_prefix(delimiter.as_str())?;
        (!delimiter.is_empty()).then(|| format!("{to}{delimiter}{rest}"))
    };
    let folders = store.folders()?;
    let below: Vec<(&Folder, String)> = folders.iter().filter_map(|f| Some((f, moved(&f.name)?))).collect();
    if below.is_empty() {
        return Err(Refusal::no("NONEXISTENT", format!("there is no folder \"{from}\"")));
    }
    if let Some((_, taken)) = below.iter().find(|(_, new)| folders.iter().any(|f| f.name == *new)) {
        return Err(Refusal::no("ALREADYEXISTS", format!("there is a folder \"{taken}\" already")));
    }
    for (folder, new) in below {
        // Renaming one takes those below it along.
        if store.folder(folder.id)?.name == folder.name {
            store.rename_folder(folder.id, &new, now)?;
        }
    }
    Ok(())
}

/// The folder of this name, or NO.
pub(super) fn existing(store: &Store, mailbox: &Mailbox) -> Result<Folder, Refusal> {
    let name = name(mailbox)?;
    store.folder_by_name(&name)?.ok_or_else(|| Refusal::no("NONEXISTENT", format!("there is no folder \"{name}\"")))
}

/// Whether the client asks for CONDSTORE; QRESYNC is not offered.
pub(super) fn select_parameters(parameters: &[SelectParameter]) -> Result<bool, Refusal> {
    match parameters.iter().any(|p| matches!(p, SelectParameter::QResync { .. })) {
        true => Err(Refusal::bad("QRESYNC has not been enabled")),
        false => Ok(!parameters.is_empty()),
    }
}

pub(super) fn select(
    store: &mut Store,
    mailbox: &Mailbox,
    read_only: bool,
    out: &mut Vec<u8>,
) -> Result<Selected, Refusal> {
    let folder = existing(store, mailbox)?;
    if !folder.selectable {
        return Err(Refusal::no("NONEXISTENT", "this name only holds other folders"));
    }
    let messages = store.messages(folder.id)?;
    let selected = Selected::new(store, &folder, &messages, read_only, out)?;
    out.extend(format!("* {} EXISTS\r\n* {} RECENT\r\n", messages.len(), selected.recent_count()).as_bytes());
    if let Some(first) = messages.iter().position(|m| !m.flags.contains("\\Seen")) {
        out.extend(format!("* OK [UNSEEN {}] first unseen message\r\n", first + 1).as_bytes());
    }
    let (uidvalidity, uidnext, modseq) = (folder.uidvalidity, folder.uidnext, folder.modseq);
    out.extend(
        format!("* OK [UIDVALIDITY {uidvalidity}] UIDs valid\r\n* OK [UIDNEXT {uidnext}] next UID\r\n").as_bytes(),
    );
    out.extend(format!("* OK [HIGHESTMODSEQ {modseq}] highest\r\n").as_bytes());
    Ok(selected)
}

/// Whether STATUS asks for HIGHESTMODSEQ, which enables CONDSTORE (RFC 7162, section 3.1).
pub(super) fn asks_modseq(items: &[StatusDataItemName]) -> bool {
    items.contains(&StatusDataItemName::HighestModSeq)
}

pub(super) fn status(store: &Store, mailbox: &Mailbox, items: &[StatusDataItemName], out: &mut Vec<u8>) -> Answer {
    let folder = existing(store, mailbox)?;
    if !folder.selectable {
        return Err(Refusal::no("NONEXISTENT", "this name only holds other folders"));
    }
    if items.is_empty() {
        return Err(Refusal::bad("STATUS of nothing"));
    }
    let status = store.folder_status(folder.id)?;
    let recent = match items.contains(&StatusDataItemName::Recent) {
        true => {
            let first = recent::first(store, folder.id)?;
            store.messages(folder.id)?.iter().filter(|m| m.uid >= first).count()
        }
        false => 0,
    };
    let shown: Vec<String> = items
        .iter()
        .map(|item| match item {
            StatusDataItemName::Messages => format!("MESSAGES {}", status.messages),
            StatusDataItemName::Recent => format!("RECENT {recent}"),
            StatusDataItemName::UidNext => format!("UIDNEXT {}", folder.uidnext),
            StatusDataItemName::UidValidity => format!("UIDVALIDITY {}", folder.uidvalidity),
            StatusDataItemName::Unseen => format!("UNSEEN {}", status.unseen),
            StatusDataItemName::Deleted => format!("DELETED {}", status.deleted),
            StatusDataItemName::DeletedStorage => "DELETED-STORAGE 0".to_owned(),
            StatusDataItemName::Size => format!("SIZE {}", status.size),
            StatusDataItemName::HighestModSeq => format!("HIGHESTMODSEQ {}", folder.modseq),
        })
        .collect();
    out.extend(b"* STATUS ");
    wire::mailbox(out, &folder.name);
    out.extend(format!(" ({})\r\n", shown.join(" ")).as_bytes());
    Ok(Done::ok("STATUS completed"))
}

fn delimiter(out: &mut Vec<u8>, delimiter: &str) {
    wire::nstring(out, Some(delimiter.as_bytes()).filter(|d| !d.is_empty()));
}

fn list(store: &Store, reference: &Mailbox, wildcard: &ListMailbox, subscribed: bool, out: &mut Vec<u8>) -> Answer {
    let verb = if subscribed { "LSUB" } else { "LIST" };
    let wildcard = match wildcard {
        ListMailbox::Token(token) => token.as_ref(),
        ListMailbox::String(IString::Literal(l)) => l.as_ref(),
        ListMailbox::String(IString::Quoted(q)) => q.as_ref().as_bytes(),
    };
    let reference = match reference {
        Mailbox::Inbox => b"INBOX".to_vec(),
        Mailbox::Other(other) => AString::as_ref(other.inner()).to_vec(),
    };
    if wildcard.is_empty() {
        // RFC 3501, 6.3.8: a question for the delimiter.
        out.extend(format!("* {verb} (\\Noselect) ").as_bytes());
        delimiter(out, &store.delimiter()?);
        out.extend(b" \"\"\r\n");
        return Ok(Done::Ok(format!("{verb} completed")));
    }
    let pattern = [reference.as_slice(), wildcard].concat();
    let folders = store.folders()?;
    let delimiter_byte = store.delimiter()?.as_bytes().first().copied();
    let matches = |name: &str| pattern::matches(&pattern, mail_store::encode_utf7(name).as_bytes(), delimiter_byte);
    for (name, entry) in entries(&folders, subscribed) {
        if !matches(&name) {
            continue;
        }
        // RFC 3501, 6.3.9: a name that is not subscribed itself stands for subscribed ones below it that `%` does not reach.
        if subscribed && entry.folder.is_none() {
            let below = format!("{name}{}", entry.delimiter);
            if !folders.iter().any(|f| f.subscribed && f.name.starts_with(&below) && !matches(&f.name)) {
                continue;
            }
        }
        out.extend(format!("* {verb} ({}) ", entry.attributes(subscribed)).as_bytes());
        delimiter(out, entry.delimiter);
        out.push(b' ');
        wire::mailbox(out, &name);
        out.extend(b"\r\n");
    }
    Ok(Done::Ok(format!("{verb} completed")))
}

/// A name in the answer to LIST or LSUB.
struct Entry<'a> {
    delimiter: &'a str,
    /// `None` for a name that exists only because folders lie below it.
    folder: Option<&'a Folder>,
    has_children: bool,
}

impl Entry<'_> {
    fn attributes(&self, lsub: bool) -> String {
        let mut attributes = Vec::new();
        if !self.folder.is_some_and(|f| f.selectable) {
            attributes.push("\\Noselect");
        }
        if !lsub {
            attributes.push(if self.has_children { "\\HasChildren" } else { "\\HasNoChildren" });
            attributes.extend(self.folder.and_then(|f| f.special_use.as_deref()).filter(|s| is_attribute(s)));
        }
        attributes.join(" ")
    }
}

/// What the mail server called a special use is repeated only if it is an atom.
fn is_attribute(text: &str) -> bool {
    text.strip_prefix('\\').is_some_and(|a| !a.is_empty() && a.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// All names with those above them, in order; only subscribed ones (and those above them) for LSUB.
fn entries(folders: &[Folder], subscribed: bool) -> BTreeMap<String, Entry<'_>> {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for folder in folders.iter().filter(|f| !subscribed || f.subscribed) {
        let delimiter = folder.delimiter.as_str();
        let has_children = false;
        let entry = entries.entry(folder.name.clone()).or_insert(Entry { delimiter, folder: None, has_children });
        entry.folder = Some(folder);
        let mut above = folder.name.as_str();
        while let Some((parent, _)) = above.rsplit_once(delimiter).filter(|_| !delimiter.is_empty()) {
            let has_children = true;
            entries.entry(parent.to_owned()).or_insert(Entry { delimiter, folder: None, has_children }).has_children =
                true;
            above = parent;
        }
    }
    entries
}
