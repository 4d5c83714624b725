//! What several sessions on one folder are told: \Recent, new keywords, MODSEQs.

use super::*;

impl Mailbox {
    /// Forgets which messages somebody has heard of.
    fn nobody_has_looked(&self) {
        self.store.borrow_mut().set_meta(&format!("recent:{}", self.inbox.0), None).unwrap();
    }
}

#[test]
fn a_message_is_recent_in_the_first_session_that_may_write_and_in_no_other() {
    let mailbox = Mailbox::with_messages(2);
    mailbox.nobody_has_looked();
    assert!(mailbox.client().ok("STATUS INBOX (RECENT)").contains("RECENT 2"));
    assert!(mailbox.client().ok("EXAMINE INBOX").contains("* 2 RECENT"), "looking does not take it");
    let (mut one, mut two) = (mailbox.client(), mailbox.client());
    assert!(one.ok("SELECT INBOX").contains("* 2 RECENT"));
    assert!(two.ok("SELECT INBOX").contains("* 0 RECENT"));
    assert_eq!(one.ok("FETCH 1 FLAGS"), "* 1 FETCH (FLAGS (\\Recent))\r\n");
    assert_eq!(two.ok("FETCH 1 FLAGS"), "* 1 FETCH (FLAGS ())\r\n");
    mailbox.deliver(3, "", "Subject: new\r\n\r\n");
    assert_eq!(two.ok("NOOP"), "* 3 EXISTS\r\n* 1 RECENT\r\n");
    assert_eq!(one.ok("NOOP"), "* 3 EXISTS\r\n");
    assert_eq!(two.ok("SEARCH RECENT"), "* SEARCH 3\r\n");
    assert_eq!(two.ok("SEARCH OLD"), "* SEARCH 1 2\r\n");
    assert_eq!(one.ok("SEARCH NEW"), "* SEARCH 1 2\r\n");
    one.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    assert_eq!(one.ok("EXPUNGE"), "* 1 EXPUNGE\r\n* 1 RECENT\r\n");
    assert!(mailbox.client().ok("SELECT INBOX").contains("* 0 RECENT"));
}

#[test]
fn a_new_keyword_is_in_flags_before_a_message_shows_it() {
    let mailbox = Mailbox::with_messages(2);
    let (mut one, mut two) = (mailbox.reader(), mailbox.reader());
    let told = "* FLAGS (\\Answered \\Deleted \\Draft \\Flagged \\Seen work)\r\n\
        * OK [PERMANENTFLAGS (\\Answered \\Deleted \\Draft \\Flagged \\Seen work \\*)] flags that are kept\r\n";
    assert_eq!(one.ok("STORE 1 +FLAGS (work)"), format!("{told}* 1 FETCH (FLAGS (work))\r\n"));
    assert_eq!(one.ok("STORE 2 +FLAGS (WORK)"), "* 2 FETCH (FLAGS (WORK))\r\n");
    assert!(two.ok("FETCH 1 FLAGS").starts_with(&format!("{told}* 1 FETCH (FLAGS (work))\r\n")));
}

#[test]
fn what_is_asked_for_twice_is_answered_once_and_nothing_is_refused() {
    let mut client = Mailbox::with_messages(1).reader();
    assert_eq!(client.ok("FETCH 1 (UID UID FLAGS UID)"), "* 1 FETCH (UID 1 FLAGS ())\r\n");
    assert!(client.refused("FETCH 1 ()").starts_with("t BAD"));
    assert!(client.refused("STATUS INBOX ()").starts_with("t BAD"));
}

#[test]
fn the_first_condstore_command_in_a_folder_tells_its_highest_modseq() {
    let mailbox = Mailbox::with_messages(2);
    let mut client = mailbox.reader();
    assert_eq!(client.ok("FETCH 1 (MODSEQ)"), "* OK [HIGHESTMODSEQ 3] highest\r\n* 1 FETCH (MODSEQ (2))\r\n");
    assert_eq!(client.ok("FETCH 1 (MODSEQ)"), "* 1 FETCH (MODSEQ (2))\r\n");
}

#[test]
fn sequence_numbers_past_the_end_are_the_last_message_with_a_star_and_an_error_without() {
    let mut client = Mailbox::with_messages(3).reader();
    assert_eq!(client.ok("FETCH 9:* UID"), "* 3 FETCH (UID 3)\r\n");
    assert!(client.refused("FETCH 9 UID").starts_with("t BAD"));
    assert!(client.refused("FETCH 2:9 UID").starts_with("t BAD"));
    assert_eq!(client.ok("SEARCH 2:9"), "* SEARCH 2 3\r\n");
    assert_eq!(client.ok("SEARCH 9:*"), "* SEARCH 3\r\n");
    assert_eq!(client.ok("SEARCH 9"), "* SEARCH\r\n");
    assert_eq!(client.ok("UID FETCH 9 FLAGS"), "");
    assert_eq!(client.ok("UID FETCH 9:* UID"), "* 3 FETCH (UID 3)\r\n");
}

#[test]
fn moving_within_a_folder_gives_the_message_a_new_uid() {
    let mut client = Mailbox::with_messages(2).reader();
    let moved = client.ok("MOVE 1 INBOX");
    assert!(moved.contains(" 1 3] moved\r\n* 1 EXPUNGE\r\n* 2 EXISTS\r\n"), "{moved}");
}

#[test]
fn an_envelope_has_nothing_of_the_body_also_when_the_body_is_fetched_with_it() {
    let mailbox = Mailbox::with_messages(0);
    mailbox.deliver(1, "", "Subject: outer\r\n\r\nFrom: someone@x.org\r\nDate: today\r\n");
    let answer = mailbox.reader().ok("FETCH 1 (BODY.PEEK[TEXT] ENVELOPE)");
    assert!(answer.ends_with("ENVELOPE (NIL \"outer\" NIL NIL NIL NIL NIL NIL NIL NIL))\r\n"), "{answer}");
}
