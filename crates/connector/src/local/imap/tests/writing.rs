//! STORE, APPEND, COPY, MOVE, EXPUNGE, and their journal rows.

use super::*;
use mail_store::PendingOp;

/// The journal without the making of "Archive".
fn journal(mailbox: &Mailbox) -> Vec<PendingOp> {
    mailbox.store.borrow().pending(100).unwrap().into_iter().skip(2).map(|p| p.op).collect()
}

#[test]
fn store_answers_with_the_new_flags_and_silent_does_not() {
    let mailbox = Mailbox::with_messages(2);
    let mut client = mailbox.reader();
    assert!(client.ok("STORE 1 FLAGS (\\Seen work)").ends_with("* 1 FETCH (FLAGS (\\Seen work))\r\n"));
    assert_eq!(client.ok("UID STORE 1 -FLAGS (work)"), "* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n");
    assert_eq!(client.ok("STORE 1:2 +FLAGS.SILENT (\\Flagged)"), "");
    assert_eq!(journal(&mailbox).len(), 4, "one for each message that changed");
    client.ok("STORE 1 +FLAGS.SILENT (\\Flagged)");
    assert_eq!(journal(&mailbox).len(), 4, "nothing changed, nothing to tell the server");
    let mut reader = mailbox.client();
    reader.ok("EXAMINE INBOX");
    assert!(reader.refused("STORE 1 FLAGS ()").starts_with("t NO"));
}

#[test]
fn append_keeps_every_byte_and_says_the_uid() {
    let mailbox = Mailbox::with_messages(1);
    let mut client = mailbox.reader();
    let message = b"Subject: \xff\xfe\r\n\r\n8-bit \x80\x81\r\n";
    let mut command =
        format!("t APPEND INBOX (\\Seen \\Draft) \" 2-Feb-2026 10:00:00 +0100\" {{{}+}}\r\n", message.len())
            .into_bytes();
    command.extend(message);
    command.extend(b"\r\n");
    let answer = client.send(&command);
    assert!(answer.starts_with("* 2 EXISTS\r\n"), "{answer}");
    let appended = mailbox.store.borrow().messages(mailbox.inbox).unwrap().pop().unwrap();
    let uidvalidity = mailbox.store.borrow().folder(mailbox.inbox).unwrap().uidvalidity;
    assert!(answer.contains(&format!("t OK [APPENDUID {uidvalidity} {}]", appended.uid)), "{answer}");
    assert_eq!(mailbox.store.borrow().body(&appended.body).unwrap(), message);
    assert_eq!((appended.date, appended.flags.to_text().as_str()), (1_770_022_800, "\\Draft \\Seen"));
    assert!(matches!(&journal(&mailbox)[..], [PendingOp::Append { flags, .. }] if flags == "\\Draft \\Seen"));
}

#[test]
fn append_where_nothing_is_says_trycreate_and_too_much_is_refused_unread() {
    let mailbox = Mailbox::with_messages(0);
    let mut client = mailbox.client();
    assert_eq!(client.send("t APPEND nowhere {3}\r\n"), "+ go ahead\r\n");
    assert!(client.send("abc\r\n").starts_with("t NO [TRYCREATE]"));
    assert!(client.send("t APPEND INBOX {99999999}\r\n").starts_with("t NO [TOOBIG]"));
    assert!(client.send("t APPEND INBOX {0}\r\n\r\n").contains("t NO [CANNOT]"));
    client.ok("NOOP");
}

#[test]
fn copy_and_move_say_where_messages_went() {
    let mailbox = Mailbox::with_messages(3);
    let mut client = mailbox.reader();
    let archive = mailbox.store.borrow().folder_by_name("Archive").unwrap().unwrap();
    let validity = archive.uidvalidity;
    assert!(client.answer("COPY 1,3 Archive").starts_with(&format!("t OK [COPYUID {validity} 1,3 1:2]")));
    let moved = client.answer("UID MOVE 2:3 Archive");
    assert!(
        moved.starts_with(&format!("* OK [COPYUID {validity} 2:3 3:4] moved\r\n* 2 EXPUNGE\r\n* 2 EXPUNGE\r\nt OK")),
        "{moved}"
    );
    assert!(client.refused("COPY 1 nowhere").contains("[TRYCREATE]"));
    assert!(client.ok("UID COPY 77 Archive").is_empty(), "no such UID is no error");
    let kinds: Vec<_> = journal(&mailbox).iter().map(|op| matches!(op, PendingOp::Move { .. })).collect();
    assert_eq!(kinds, [false, false, true, true]);
    assert_eq!(mailbox.store.borrow().messages(archive.id).unwrap().len(), 4);
}

#[test]
fn expunge_removes_deleted_messages_and_uid_expunge_only_those_named() {
    let mailbox = Mailbox::with_messages(4);
    let mut client = mailbox.reader();
    client.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)");
    assert_eq!(client.ok("UID EXPUNGE 2,4"), "* 2 EXPUNGE\r\n");
    assert_eq!(client.ok("EXPUNGE"), "* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n");
    assert_eq!(client.ok("FETCH 1:* UID"), "* 1 FETCH (UID 4)\r\n");
    let expunged = journal(&mailbox).iter().filter(|op| matches!(op, PendingOp::Expunge { .. })).count();
    assert_eq!(expunged, 3);
}

#[test]
fn close_expunges_silently_unselect_does_not() {
    let mailbox = Mailbox::with_messages(2);
    let mut client = mailbox.reader();
    client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    client.ok("UNSELECT");
    client.ok("SELECT INBOX");
    assert_eq!(client.ok("CLOSE"), "");
    assert_eq!(mailbox.store.borrow().messages(mailbox.inbox).unwrap().len(), 1);
    assert!(client.refused("CHECK").starts_with("t BAD"));
}
