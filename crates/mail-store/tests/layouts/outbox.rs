// The outbox: accepted once, durable, states in order.

use mail_store::{NewOutgoing, OutboxState, Store};

fn queue(store: &mut Store, text: &str) -> mail_store::OutboxId {
    let recipients = ["b@y".to_owned(), "c@z".to_owned()];
    let message = text.as_bytes();
    store
        .queue(&NewOutgoing { sender: "a@x", recipients: &recipients, message, body8bit: true, smtputf8: false }, 10)
        .unwrap()
}

#[test]
fn what_was_accepted_is_there_after_the_store_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mail.sqlite");
    let mut store = open(&path);
    let id = queue(&mut store, "Subject: x\r\n\r\n");
    // No orderly closing: the process is gone.
    std::mem::forget(store);
    let store = open(&path);
    let out = store.outbox().unwrap().pop().unwrap();
    assert_eq!((out.id, out.sender.as_str(), out.recipients.len(), out.body8bit), (id, "a@x", 2, true));
    assert_eq!((out.state, out.attempts, out.at), (OutboxState::Queued, 0, 10));
    assert_eq!(store.body(&out.body).unwrap(), b"Subject: x\r\n\r\n");
}

#[test]
fn states_follow_each_other_and_only_what_is_due_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir.path().join("mail.sqlite"));
    let (first, second) = (queue(&mut store, "1"), queue(&mut store, "2"));
    let due = |store: &Store, now| store.outbox_due(now).unwrap().iter().map(|o| o.id).collect::<Vec<_>>();
    assert_eq!(due(&store, 10), [first, second]);
    store.set_outbox_state(first, OutboxState::Sending, "", 0, 11).unwrap();
    assert_eq!(due(&store, 11), [first, second], "a message left in Sending has to be looked at");
    store.set_outbox_state(first, OutboxState::Queued, "451 try later", 100, 12).unwrap();
    assert_eq!(due(&store, 99), [second]);
    assert_eq!(due(&store, 100), [first, second]);
    store.set_outbox_state(first, OutboxState::Sending, "", 0, 100).unwrap();
    store.set_outbox_state(first, OutboxState::Sent, "250 OK", 0, 101).unwrap();
    store.set_outbox_state(second, OutboxState::Failed, "550 no such user", 0, 102).unwrap();
    assert!(due(&store, 1000).is_empty());
    let all = store.outbox().unwrap();
    assert_eq!((all[0].state, all[0].attempts, all[0].since), (OutboxState::Sent, 2, 101));
    assert_eq!((all[1].state, all[1].detail.as_str()), (OutboxState::Failed, "550 no such user"));
}

#[test]
fn a_message_that_was_sent_without_an_answer_stays_so_and_is_tried_again_when_due() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&dir.path().join("mail.sqlite")).unwrap();
    let id = queue(&mut store, "1");
    store.set_outbox_state(id, OutboxState::Sending, "", 0, 11).unwrap();
    store.set_outbox_state(id, OutboxState::Sending, "the connection broke", 30, 12).unwrap();
    assert!(store.outbox_due(29).unwrap().is_empty());
    let due = store.outbox_due(30).unwrap();
    assert_eq!((due[0].state, due[0].attempts), (OutboxState::Sending, 1));
}

#[test]
fn collecting_garbage_takes_only_what_is_finished_and_old() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir.path().join("mail.sqlite"));
    let sent = queue(&mut store, "sent");
    let (waiting, failed) = (queue(&mut store, "waiting"), queue(&mut store, "failed"));
    store.set_outbox_state(sent, OutboxState::Sent, "", 0, 20).unwrap();
    store.set_outbox_state(failed, OutboxState::Failed, "", 0, 20).unwrap();
    assert_eq!(store.collect_garbage(20).unwrap(), 0);
    assert_eq!(store.collect_garbage(21).unwrap(), 4, "the bytes of \"sent\"");
    let left: Vec<_> = store.outbox().unwrap().iter().map(|o| o.id).collect();
    assert_eq!(left, [waiting, failed], "what failed stays for the user to see");
}

#[test]
fn changes_are_told_once_and_only_if_they_were_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir.path().join("mail.sqlite"));
    queue(&mut store, "x");
    let changes = store.take_changes();
    assert!(changes.outbox && !changes.pending && changes.folders.is_empty());
    assert!(store.take_changes().is_empty());
    assert!(store.create_folder("INBOX", 1).is_err());
    assert!(store.take_changes().is_empty());
}
