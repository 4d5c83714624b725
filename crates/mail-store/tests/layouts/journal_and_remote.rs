// How local changes and the mail server's state meet.

use mail_store::{Delivered, FlagChange, Flags, FolderId, Outcome, PendingOp, RemoteFolder, RemoteMessage, Store};

const BODY: &[u8] = b"Subject: one\r\n\r\nbody\r\n";

fn store() -> (tempfile::TempDir, Store, FolderId) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("mail.sqlite"));
    let inbox = store.folder_by_name("INBOX").unwrap().unwrap().id;
    (dir, store, inbox)
}

fn deliver(store: &mut Store, folder: FolderId, uid: u32, flags: &str) -> Delivered {
    let flags = Flags::parse(flags);
    let remote = RemoteMessage { uid, flags: &flags, date: 5, body: BODY };
    store.apply_remote_messages(folder, &[remote]).unwrap()[0]
}

fn remote(name: &str) -> RemoteFolder {
    RemoteFolder { name: name.into(), delimiter: "/".into(), special_use: None, subscribed: true, selectable: true }
}

fn names(store: &Store) -> Vec<String> {
    store.folders().unwrap().into_iter().map(|f| f.name).collect()
}

#[test]
fn flags_changed_here_stay_changed_until_the_server_has_heard_of_it() {
    let (_dir, mut store, inbox) = store();
    deliver(&mut store, inbox, 7, "\\Flagged");
    let uid = store.messages(inbox).unwrap()[0].uid;
    let add = FlagChange::Set(Flags::parse("\\Seen"));
    store.change_flags(inbox, &[uid], &add, None, 1).unwrap();
    // The server still says \Flagged, and somebody there adds a keyword.
    store.apply_remote_flags(inbox, &[(7, Flags::parse("\\Flagged work"))]).unwrap();
    assert_eq!(store.messages(inbox).unwrap()[0].flags, Flags::parse("\\Seen work"));
    let pending = store.pending(10).unwrap();
    let PendingOp::Flags { place, add, remove } = &pending[0].op else { panic!("{pending:?}") };
    assert_eq!((place.remote_uid, add.as_str(), remove.as_str()), (Some(7), "\\Seen", "\\Flagged"));
    store.finish_pending(pending[0].seq, &Outcome::Done, &[], 2).unwrap();
    store.apply_remote_flags(inbox, &[(7, Flags::parse("\\Flagged"))]).unwrap();
    assert_eq!(
        store.messages(inbox).unwrap()[0].flags,
        Flags::parse("\\Flagged"),
        "now the server's word counts again"
    );
}

#[test]
fn a_message_deleted_here_does_not_come_back_before_the_server_has_heard_of_it() {
    let (_dir, mut store, inbox) = store();
    deliver(&mut store, inbox, 7, "\\Deleted");
    store.expunge(inbox, None, 1).unwrap();
    assert_eq!(deliver(&mut store, inbox, 7, ""), Delivered::Leaving);
    assert!(store.known_remote(inbox).unwrap().leaving.contains(&7));
    let op = store.pending(10).unwrap().pop().unwrap();
    let PendingOp::Expunge { place } = &op.op else { panic!("{op:?}") };
    assert_eq!(store.remote_uid(place.message).unwrap(), Some(7), "the tombstone still knows");
    // A server that refuses (a read-only folder): the message is still there, so it comes back.
    store.finish_pending(op.seq, &Outcome::GivenUp("read-only".into()), &[], 2).unwrap();
    assert!(matches!(deliver(&mut store, inbox, 7, ""), Delivered::New(_)));
}

#[test]
fn an_upload_whose_answer_was_lost_is_recognised_and_not_doubled() {
    let (_dir, mut store, inbox) = store();
    let local = store.append(inbox, BODY, &Flags::parse("\\Draft"), 1, 1).unwrap();
    assert_eq!(deliver(&mut store, inbox, 9, "\\Draft"), Delivered::Adopted(local.id));
    assert_eq!(store.messages(inbox).unwrap().len(), 1);
    assert_eq!(store.remote_uid(local.id).unwrap(), Some(9), "replay sees that there is nothing left to do");
}

#[test]
fn a_message_pulled_before_the_upload_was_answered_stays_one() {
    let (_dir, mut store, inbox) = store();
    let local = store.append(inbox, b"Subject: x\r\n\r\nas we wrote it\r\n", &Flags::new(), 1, 1).unwrap();
    // The server has changed it on the way, so the bytes do not tell.
    assert!(matches!(deliver(&mut store, inbox, 9, ""), Delivered::New(_)));
    let seq = store.pending(1).unwrap()[0].seq;
    store.finish_pending(seq, &Outcome::Done, &[(local.id, 9)], 2).unwrap();
    let left = store.messages(inbox).unwrap();
    assert_eq!((left.len(), left[0].remote_uid), (1, Some(9)));
}

#[test]
fn a_move_leaves_what_replay_needs_even_if_the_original_was_never_uploaded() {
    let (_dir, mut store, inbox) = store();
    let archive = store.create_folder("Archive", 1).unwrap();
    let draft = store.append(inbox, BODY, &Flags::new(), 1, 1).unwrap();
    store.move_messages(inbox, &[draft.uid], archive, 2).unwrap();
    let ops: Vec<_> = store.pending(10).unwrap().into_iter().skip(1).collect();
    let (PendingOp::Append { message: a, .. }, PendingOp::Move { from, message: m, body, .. }) =
        (&ops[0].op, &ops[1].op)
    else {
        panic!("{ops:?}")
    };
    assert_eq!((from.message, from.remote_uid), (*a, None));
    store.finish_pending(ops[0].seq, &Outcome::Done, &[(*a, 3)], 3).unwrap();
    assert_eq!(store.remote_uid(from.message).unwrap(), Some(3), "the tombstone learned where the upload went");
    assert_eq!(store.body(&body.parse().unwrap()).unwrap(), BODY);
    assert_eq!(store.message(*m).unwrap().folder, archive);
}

#[test]
fn a_restarted_folder_keeps_what_is_there_again_and_what_is_still_to_be_uploaded() {
    let (_dir, mut store, inbox) = store();
    assert!(!store.apply_remote_state(inbox, 1, Some(8), None).unwrap(), "the first UIDVALIDITY is no restart");
    let kept = deliver(&mut store, inbox, 7, "");
    let gone = RemoteMessage { uid: 6, flags: &Flags::new(), date: 1, body: b"Subject: gone\r\n\r\n" };
    store.apply_remote_messages(inbox, &[gone]).unwrap();
    let draft = store.append(inbox, b"Subject: draft\r\n\r\n", &Flags::new(), 1, 1).unwrap();
    let notice = store.append_notice(inbox, b"Subject: notice\r\n\r\n", 1).unwrap();
    let uid = store.messages(inbox).unwrap()[0].uid;
    assert!(store.apply_remote_state(inbox, 2, Some(3), None).unwrap());
    let Delivered::New(id) = kept else { panic!() };
    assert_eq!(deliver(&mut store, inbox, 1, "\\Seen"), Delivered::Adopted(id));
    assert_eq!(store.apply_remote_restart_done(inbox, 2).unwrap(), 1);
    let left = store.messages(inbox).unwrap();
    assert_eq!(left.iter().map(|m| m.id).collect::<Vec<_>>(), [id, draft.id, notice.id]);
    assert_eq!(left[0].uid, uid, "local UIDs do not change");
}

#[test]
fn notices_of_our_own_never_reach_the_journal() {
    let (_dir, mut store, inbox) = store();
    let uid = store.append_notice(inbox, BODY, 1).unwrap().uid;
    store.change_flags(inbox, &[uid], &FlagChange::Add(Flags::parse("\\Deleted")), None, 1).unwrap();
    store.expunge(inbox, None, 1).unwrap();
    assert_eq!(store.pending_count().unwrap(), 0);
}

#[test]
fn the_servers_folder_list_meets_pending_folder_changes() {
    let (_dir, mut store, _) = store();
    store
        .apply_remote_folders(
            &[remote("Inbox"), remote("Old"), remote("Old/Sub"), remote("Gone"), remote("Dropped")],
            1,
        )
        .unwrap();
    assert_eq!(names(&store), ["INBOX", "Dropped", "Gone", "Old", "Old/Sub"]);
    let id = |store: &Store, name: &str| store.folder_by_name(name).unwrap().unwrap().id;
    let (old, dropped) = (id(&store, "Old"), id(&store, "Dropped"));
    store.rename_folder(old, "New", 2).unwrap();
    store.delete_folder(dropped, 2).unwrap();
    store.create_folder("Mine", 2).unwrap();
    // The server has not heard of any of it; "Gone" was deleted there.
    store.apply_remote_folders(&[remote("INBOX"), remote("Old"), remote("Old/Sub"), remote("Dropped")], 3).unwrap();
    let listed = names(&store);
    assert!(listed.contains(&"Mine".to_owned()) && listed.contains(&"New".to_owned()), "{listed:?}");
    assert!(!listed.contains(&"Dropped".to_owned()) && !listed.contains(&"Old".to_owned()), "{listed:?}");
    assert!(!listed.contains(&"Gone".to_owned()), "{listed:?}");
    assert_eq!(listed.iter().filter(|n| n.ends_with("/Sub")).collect::<Vec<_>>(), ["New/Sub"]);
    // Replayed: the server lists the new names.
    for op in store.pending(100).unwrap() {
        store.finish_pending(op.seq, &Outcome::Done, &[], 4).unwrap();
    }
    store.apply_remote_folders(&[remote("INBOX"), remote("New"), remote("New/Sub"), remote("Mine")], 5).unwrap();
    assert_eq!(names(&store), ["INBOX", "Mine", "New", "New/Sub"]);
    assert_eq!(id(&store, "New"), old, "still the same folder with its messages");
}

#[test]
fn a_folder_deleted_on_the_server_stays_while_something_is_to_be_uploaded_to_it() {
    let (_dir, mut store, _) = store();
    store.apply_remote_folders(&[remote("INBOX"), remote("Drafts")], 1).unwrap();
    let drafts = store.folder_by_name("Drafts").unwrap().unwrap().id;
    store.append(drafts, BODY, &Flags::new(), 1, 1).unwrap();
    store.apply_remote_folders(&[remote("INBOX")], 2).unwrap();
    assert_eq!(names(&store), ["INBOX", "Drafts"]);
}

#[test]
fn a_folder_made_again_has_a_greater_uidvalidity() {
    let (_dir, mut store, _) = store();
    let first = store.create_folder("A", 5).unwrap();
    let before = store.folder(first).unwrap().uidvalidity;
    store.delete_folder(first, 5).unwrap();
    let again = store.create_folder("A", 5).unwrap();
    assert!(again != first && store.folder(again).unwrap().uidvalidity > before);
}

#[test]
fn renaming_inbox_moves_its_messages_and_keeps_inbox() {
    let (_dir, mut store, inbox) = store();
    deliver(&mut store, inbox, 7, "");
    store.rename_folder(inbox, "Archive/2025", 1).unwrap();
    assert_eq!(names(&store), ["INBOX", "Archive/2025"]);
    assert!(store.messages(inbox).unwrap().is_empty());
    let archive = store.folder_by_name("Archive/2025").unwrap().unwrap().id;
    assert_eq!(store.messages(archive).unwrap().len(), 1);
}

#[test]
fn what_a_newer_version_wrote_into_the_journal_is_left_for_it() {
    let (dir, store, _) = store();
    let path = dir.path().join("mail.sqlite");
    drop(store);
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute("INSERT INTO pending (at, op) VALUES (1, '{\"op\":\"annotate\",\"new\":true}')", []).unwrap();
    drop(raw);
    let store = open(&path);
    assert_eq!(store.pending(10).unwrap()[0].op, PendingOp::Unknown);
}

#[test]
fn the_journals_format_stays() {
    // Written by 7.3.0. If this fails, an older or newer connector could no longer replay the journal.
    const FLAGS: &str = r#"{"op":"flags","place":{"message":4,"folder":1,"folder_name":"INBOX","remote_uidvalidity":17,"remote_uid":9},"add":"\\Seen","remove":""}"#;
    const MOVE: &str = r#"{"op":"move","from":{"message":4,"folder":1,"folder_name":"INBOX","remote_uidvalidity":null,"remote_uid":null},"message":5,"folder":2,"folder_name":"Archive","flags":"\\Seen","date":1767259800,"body":"00"}"#;
    const OTHERS: [&str; 7] = [
        r#"{"op":"expunge","place":{"message":4,"folder":1,"folder_name":"INBOX","remote_uidvalidity":17,"remote_uid":9}}"#,
        r#"{"op":"append","message":5,"folder":2,"folder_name":"Drafts","flags":"","date":0,"body":"00"}"#,
        r#"{"op":"copy","from":{"message":4,"folder":1,"folder_name":"INBOX","remote_uidvalidity":17,"remote_uid":9},"message":5,"folder":2,"folder_name":"Archive","flags":"","date":0,"body":"00"}"#,
        r#"{"op":"create_folder","folder":3,"name":"Entwürfe"}"#,
        r#"{"op":"rename_folder","folder":3,"from":"A","to":"B"}"#,
        r#"{"op":"delete_folder","folder":3,"name":"A"}"#,
        r#"{"op":"subscribe","folder":3,"name":"A","on":false}"#,
    ];
    for golden in [FLAGS, MOVE].into_iter().chain(OTHERS) {
        let op: PendingOp = serde_json::from_str(golden).unwrap();
        assert_ne!(op, PendingOp::Unknown, "{golden}");
        assert_eq!(serde_json::to_string(&op).unwrap(), golden);
    }
}
