//! A mailbox with something of everything, and what can be seen of one.

use mail_store::{
    FlagChange, Flags, FolderId, NewOutgoing, OutboxState, Outcome, PendingOp, RemoteFolder, RemoteMessage, Store,
};
use std::fmt::Write;

/// Fills a fresh store: mail from the server, changes that it has and has not heard of, drafts, outgoing mail in each state.
pub fn fill(store: &mut Store) {
    let inbox = store.folder_by_name("INBOX").unwrap().unwrap().id;
    let listed = ["INBOX", "Sent", "Archive", "Archive/2025"].map(|name| RemoteFolder {
        name: name.into(),
        delimiter: "/".into(),
        special_use: (name == "Sent").then(|| "\\Sent".into()),
        subscribed: name != "Archive",
        selectable: true,
    });
    store.apply_remote_folders(&listed, 1_000).unwrap();
    let archive = store.folder_by_name("Archive").unwrap().unwrap().id;
    store.apply_remote_state(inbox, 77, Some(100), None).unwrap();
    deliver(store, inbox, 1..13);
    deliver(store, archive, 13..16);
    let uids: Vec<u32> = store.messages(inbox).unwrap().iter().map(|m| m.uid).collect();
    // What the mail server has heard of, or will never take.
    store.change_flags(inbox, &[uids[0], uids[2]], &FlagChange::Add(Flags::parse("\\Seen")), None, 1_100).unwrap();
    let heard = store.pending(10).unwrap();
    store.finish_pending(heard[0].seq, &Outcome::Done, &[], 1_101).unwrap();
    store.finish_pending(heard[1].seq, &Outcome::GivenUp("read-only".into()), &[], 1_102).unwrap();
    // What it has not heard of.
    offline_changes(store, "first", 1_200);
    for (text, state) in [("sent", OutboxState::Sent), ("failed", OutboxState::Failed), ("left", OutboxState::Sending)]
    {
        let id = queue(store, text, 1_300);
        store.set_outbox_state(id, state, "as it went", 0, 1_301).unwrap();
    }
    store.append_notice(inbox, b"Subject: a notice\r\n\r\nof Lockstep itself\r\n", 1_400).unwrap();
    store.set_meta("gate-verdict", Some("{\"kept\":true}")).unwrap();
}

/// Everything a user can do without the mail server; `name` makes it differ from other times.
pub fn offline_changes(store: &mut Store, name: &str, now: i64) {
    let inbox = store.folder_by_name("INBOX").unwrap().unwrap().id;
    let archive = store.folder_by_name("Archive").unwrap().unwrap().id;
    let on_server: Vec<u32> =
        store.messages(inbox).unwrap().iter().filter(|m| m.remote_uid.is_some()).map(|m| m.uid).collect();
    let [flagged, moved, copied, deleted] = on_server[on_server.len() - 4..] else { panic!("too few messages") };
    store.change_flags(inbox, &[flagged], &FlagChange::Set(Flags::parse("\\Flagged work")), None, now).unwrap();
    store.move_messages(inbox, &[moved], archive, now).unwrap();
    store.copy(inbox, &[copied], archive, now).unwrap();
    store.change_flags(inbox, &[deleted], &FlagChange::Add(Flags::parse("\\Deleted")), None, now).unwrap();
    let draft = format!("Subject: draft {name}\r\n\r\nnot finished\r\n");
    store.append(inbox, draft.as_bytes(), &Flags::parse("\\Draft"), now, now).unwrap();
    // A draft that was thrown away: its bytes are in the journal alone.
    let thrown = format!("Subject: thrown away {name}\r\n\r\n{}\r\n", "x".repeat(5_000));
    store.append(inbox, thrown.as_bytes(), &Flags::parse("\\Draft \\Deleted"), now, now).unwrap();
    store.expunge(inbox, None, now).unwrap();
    let folder = store.create_folder(&format!("Folder {name}"), now).unwrap();
    store.rename_folder(folder, &format!("Renamed {name}"), now).unwrap();
    let gone = store.create_folder(&format!("Gone {name}"), now).unwrap();
    store.delete_folder(gone, now).unwrap();
    queue(store, name, now);
}

/// Messages from the mail server under these UIDs, of many sizes.
pub fn deliver(store: &mut Store, folder: FolderId, uids: std::ops::Range<u32>) {
    for uid in uids {
        let bytes = message(uid);
        let flags = Flags::parse(if uid % 2 == 0 { "\\Seen" } else { "" });
        let remote = RemoteMessage { uid, flags: &flags, date: i64::from(uid), body: &bytes };
        store.apply_remote_messages(folder, &[remote]).unwrap();
    }
}

pub fn message(uid: u32) -> Vec<u8> {
    let size = [10, 300, 1_500, 6_000][uid as usize % 4];
    let text = format!("line {uid} of the text\r\n").repeat(size / 20 + 1);
    format!(
        "From: =?utf-8?q?J=C3=BCrgen?= <j{uid}@example.test>\r\nTo: alice@example.test\r\nSubject: message {uid}\r\n\
         Date: Wed, 31 Dec 2025 23:30:00 -0800\r\nMessage-ID: <{uid}@example.test>\r\n\r\n{text}"
    )
    .into_bytes()
}

pub fn queue(store: &mut Store, text: &str, now: i64) -> mail_store::OutboxId {
    let recipients = ["bob@example.test".to_owned()];
    let message = format!("Subject: outgoing {text}\r\n\r\n{text}\r\n");
    let new = NewOutgoing {
        sender: "alice@example.test",
        recipients: &recipients,
        message: message.as_bytes(),
        body8bit: false,
        smtputf8: false,
    };
    store.queue(&new, now).unwrap()
}

/// All that can be seen of a mailbox, as text: folders, messages with the hash of their bytes, journal, outbox.
///
/// Reads every body, so that one that is missing or not what it was is noticed.
pub fn seen(store: &Store) -> String {
    let mut text = String::new();
    for folder in store.folders().unwrap() {
        let mut folder = folder;
        // Only schema 3 has it.
        folder.remote_modseq = None;
        writeln!(text, "{folder:?}").unwrap();
        let known = store.known_remote(folder.id).unwrap();
        writeln!(text, "  leaving {:?}", known.leaving).unwrap();
        for message in store.messages(folder.id).unwrap() {
            let body = store.body(&message.body).unwrap();
            assert_eq!(mail_store::BodyId::of(&body), message.body);
            assert!(body.starts_with(&store.header(&message.body).unwrap()));
            writeln!(text, "  {message:?}").unwrap();
        }
    }
    for pending in store.pending(10_000).unwrap() {
        if let PendingOp::Append { body, .. } | PendingOp::Copy { body, .. } | PendingOp::Move { body, .. } =
            &pending.op
        {
            store.body(&body.parse().unwrap()).unwrap();
        }
        writeln!(text, "{pending:?}").unwrap();
    }
    for outgoing in store.outbox().unwrap() {
        store.body(&outgoing.body).unwrap();
        writeln!(text, "{outgoing:?}").unwrap();
    }
    writeln!(text, "verdict {:?}", store.meta("gate-verdict").unwrap()).unwrap();
    text
}
