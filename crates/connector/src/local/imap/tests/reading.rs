//! FETCH, SEARCH and what clients are told of each other.

use super::*;

#[test]
fn fetch_gives_what_is_asked_for() {
    let mut client = Mailbox::with_messages(3).reader();
    assert_eq!(client.ok("FETCH 2 (UID FLAGS RFC822.SIZE)"), "* 2 FETCH (UID 2 FLAGS () RFC822.SIZE 53)\r\n");
    assert_eq!(client.ok("FETCH 1 INTERNALDATE"), "* 1 FETCH (INTERNALDATE \" 1-Jan-2026 09:30:01 +0000\")\r\n");
    assert_eq!(client.ok("UID FETCH 3:* FLAGS"), "* 3 FETCH (UID 3 FLAGS ())\r\n");
    assert_eq!(
        client.ok("UID FETCH 99:* FLAGS"),
        "* 3 FETCH (UID 3 FLAGS ())\r\n",
        "* is the last one, whatever 99 is"
    );
    assert_eq!(client.ok("UID FETCH 99 FLAGS"), "");
    assert_eq!(client.ok("FETCH * UID"), "* 3 FETCH (UID 3)\r\n");
    assert_eq!(client.ok("FETCH *:2,1 UID"), "* 1 FETCH (UID 1)\r\n* 2 FETCH (UID 2)\r\n* 3 FETCH (UID 3)\r\n");
    assert_eq!(client.ok("SEARCH *"), "* SEARCH 3\r\n");
    let mut empty = Mailbox::with_messages(0).reader();
    assert_eq!(empty.ok("FETCH 1:* FLAGS"), "", "many clients ask without looking");
    assert!(empty.refused("FETCH 1 FLAGS").starts_with("t BAD"));
    assert_eq!(client.ok("FETCH 1 BODY.PEEK[TEXT]<0.4>"), "* 1 FETCH (BODY[TEXT]<0> {4}\r\nbody)\r\n");
    assert_eq!(
        client.ok("FETCH 1 BODY.PEEK[HEADER.FIELDS (Subject X-None)]"),
        "* 1 FETCH (BODY[HEADER.FIELDS (Subject X-None)] {22}\r\nSubject: message 1\r\n\r\n)\r\n"
    );
    assert!(client.refused("FETCH 4 FLAGS").starts_with("t BAD"));
    assert!(client.ok("FETCH 1 ALL").contains("ENVELOPE (NIL \"message 1\" ((\"Ann\" NIL \"ann\" \"x.org\"))"));
}

#[test]
fn reading_a_body_sets_seen_unless_it_is_a_peek() {
    let mailbox = Mailbox::with_messages(3);
    let mut client = mailbox.reader();
    client.ok("FETCH 1 BODY.PEEK[]");
    client.ok("FETCH 1 RFC822.HEADER");
    assert_eq!(client.ok("FETCH 1 FLAGS"), "* 1 FETCH (FLAGS ())\r\n");
    assert!(client.ok("FETCH 1 BODY[]").contains("FLAGS (\\Seen)"));
    assert_eq!(client.ok("FETCH 1 FLAGS"), "* 1 FETCH (FLAGS (\\Seen))\r\n");
    assert_eq!(mailbox.store.borrow().pending(10).unwrap().len(), 3, "Archive made and subscribed, and \\Seen");
    let mut examiner = mailbox.client();
    examiner.ok("EXAMINE INBOX");
    examiner.ok("FETCH 2 BODY[]");
    assert_eq!(examiner.ok("FETCH 2 FLAGS"), "* 2 FETCH (FLAGS ())\r\n", "EXAMINE changes nothing");
}

#[test]
fn a_long_answer_comes_in_pieces_and_is_whole() {
    let mailbox = Mailbox::with_messages(1200);
    let mut client = mailbox.reader();
    client.framer.push(b"t FETCH 1:* (UID BODY.PEEK[])\r\n");
    let frame = client.framer.next(client.session.expect()).unwrap();
    client.session.begin(frame);
    let (mut all, mut steps) = (Vec::new(), 0);
    loop {
        let output = client.session.step(&mut mailbox.store.borrow_mut(), NOW);
        all.extend(output.bytes);
        steps += 1;
        if output.next == Next::Command {
            break;
        }
    }
    let all = String::from_utf8(all).unwrap();
    assert!(
        steps > 2 && all.matches(" FETCH (UID ").count() == 1200 && all.ends_with("t OK FETCH completed\r\n"),
        "{steps}"
    );
}

#[test]
fn search_finds_by_every_kind_of_key() {
    let mailbox = Mailbox::with_messages(3);
    mailbox.deliver(
        4,
        "\\Seen \\Flagged work",
        "Date: Mon, 02 Feb 2026 10:00:00 +0000\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nTo: bob@y\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nw7xiZXI=\r\n",
    );
    let mut client = mailbox.reader();
    for (key, found) in [
        ("ALL", " 1 2 3 4"),
        ("UNSEEN", " 1 2 3"),
        ("SEEN FLAGGED", " 4"),
        ("KEYWORD work", " 4"),
        ("OR SUBJECT \"message 1\" SUBJECT \"MESSAGE 3\"", " 1 3"),
        ("NOT (FROM ann)", " 4"),
        ("2:3 NOT UID 3", " 2"),
        ("TO bob", " 4"),
        ("BODY \"body 2\"", " 2"),
        ("TEXT ann@x.org", " 1 2 3"),
        ("HEADER From \"\"", " 1 2 3"),
        ("LARGER 100", " 4"),
        ("ON 1-Jan-2026 SMALLER 100", " 1 2 3"),
        ("SENTSINCE 2-Feb-2026", " 4"),
        ("BEFORE 1-Jan-2026", ""),
        ("NEW", ""),
    ] {
        assert_eq!(client.ok(&format!("SEARCH {key}")), format!("* SEARCH{found}\r\n"), "{key}");
    }
    let by_modseq = client.ok("SEARCH MODSEQ 5");
    assert!(by_modseq.ends_with("* SEARCH 4 (MODSEQ 5)\r\n"), "{by_modseq}");
    assert_eq!(client.ok("UID SEARCH ALL"), "* SEARCH 1 2 3 4\r\n");
    let umlaut = client.send("t SEARCH CHARSET UTF-8 SUBJECT {7}\r\ngr\u{fc}\u{df}e\r\n");
    assert!(umlaut.contains("* SEARCH 4\r\n"), "{umlaut}");
    let umlaut = client.send("t SEARCH CHARSET UTF-8 BODY {5+}\r\n\u{dc}ber\r\n");
    assert!(umlaut.contains("* SEARCH 4\r\n"), "{umlaut}");
    assert!(client.refused("SEARCH CHARSET X-NONE ALL").starts_with("t NO [BADCHARSET (US-ASCII UTF-8 ISO-8859-1)]"));
}

#[test]
fn expunges_are_told_only_when_sequence_numbers_may_change() {
    let mailbox = Mailbox::with_messages(3);
    let (mut one, mut two) = (mailbox.reader(), mailbox.reader());
    two.ok("STORE 1 +FLAGS (\\Deleted)");
    assert_eq!(two.ok("EXPUNGE"), "* 1 EXPUNGE\r\n");
    // For the first client message 1 is still message 1, and gone.
    assert_eq!(one.ok("FETCH 2 FLAGS"), "* 2 FETCH (FLAGS ())\r\n");
    assert_eq!(one.ok("FETCH 1 UID"), "* 1 FETCH (UID 1)\r\n");
    assert_eq!(one.refused("FETCH 1 BODY.PEEK[]"), "t NO [EXPUNGEISSUED] some messages are gone");
    assert_eq!(one.ok("SEARCH ALL"), "* SEARCH 2 3\r\n");
    assert_eq!(one.ok("NOOP"), "* 1 EXPUNGE\r\n");
    assert_eq!(one.ok("FETCH 1 UID"), "* 1 FETCH (UID 2)\r\n");
}

#[test]
fn an_idle_client_is_told_of_new_mail_flags_and_expunges() {
    let mailbox = Mailbox::with_messages(2);
    let (mut one, mut two) = (mailbox.reader(), mailbox.reader());
    assert_eq!(one.answer("IDLE"), "+ idling\r\n");
    assert_eq!(one.wake(), "");
    mailbox.deliver(3, "", "Subject: new\r\n\r\n");
    assert_eq!(one.wake(), "* 3 EXISTS\r\n");
    two.ok("STORE 2 +FLAGS.SILENT (\\Deleted)");
    assert_eq!(one.wake(), "* 2 FETCH (UID 2 FLAGS (\\Deleted))\r\n");
    two.ok("EXPUNGE");
    assert_eq!(one.wake(), "* 2 EXPUNGE\r\n");
    assert_eq!(one.send("DONE\r\n"), "t OK IDLE completed\r\n");
    one.answer("IDLE");
    assert!(one.send("NOOP\r\n").starts_with("t BAD"));
}

#[test]
fn condstore_is_told_only_to_those_who_asked() {
    let mailbox = Mailbox::with_messages(2);
    let (mut plain, mut modern) = (mailbox.reader(), mailbox.client());
    assert_eq!(modern.ok("ENABLE CONDSTORE X-UNKNOWN"), "* ENABLED CONDSTORE\r\n");
    modern.ok("SELECT INBOX (CONDSTORE)");
    assert_eq!(modern.ok("FETCH 1:* (UID) (CHANGEDSINCE 2)"), "* 2 FETCH (UID 2 MODSEQ (3))\r\n");
    plain.ok("STORE 1 +FLAGS (\\Flagged)");
    assert_eq!(modern.ok("NOOP"), "* 1 FETCH (UID 1 FLAGS (\\Flagged) MODSEQ (4))\r\n");
    let answer = modern.answer("STORE 1:2 (UNCHANGEDSINCE 3) +FLAGS (\\Seen)");
    assert_eq!(
        answer,
        "* 2 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (5))\r\nt OK [MODIFIED 1] some messages had changed and were left alone\r\n"
    );
    assert_eq!(plain.ok("NOOP"), "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n");
}
