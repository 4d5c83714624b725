//! Login and commands about folders.

use super::*;

#[test]
fn nothing_works_before_login_and_a_wrong_password_costs_time() {
    let mailbox = Mailbox::with_messages(1);
    let mut client = mailbox.stranger();
    assert_eq!(client.refused("SELECT INBOX"), "t BAD log in first");
    client.session.begin(Frame::Command(b"t LOGIN alice wrong\r\n".to_vec()));
    let output = client.session.step(&mut mailbox.store.borrow_mut(), NOW);
    assert!(output.pause.is_some_and(|p| p.as_secs() >= 1));
    assert!(String::from_utf8(output.bytes).unwrap().starts_with("t NO [AUTHENTICATIONFAILED]"));
    for _ in 0..4 {
        client.answer("LOGIN alice wrong");
    }
    assert_eq!(client.state, Next::Close, "after five");
    // Others are not locked out.
    mailbox.client();
}

#[test]
fn every_way_to_log_in() {
    let mailbox = Mailbox::with_messages(0);
    assert!(mailbox.stranger().send("t LOGIN {5}\r\nalice {6}\r\nsecret\r\n").contains("t OK"));
    assert!(mailbox.stranger().send("t LOGIN {5+}\r\nalice {6+}\r\nsecret\r\n").contains("t OK"));
    assert!(mailbox.stranger().send("t LOGIN \"alice\" \"secret\"\r\n").contains("t OK"));
    assert!(mailbox.stranger().send("t AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\n").contains("t OK"));
    let mut two_steps = mailbox.stranger();
    assert_eq!(two_steps.send("t AUTHENTICATE PLAIN\r\n"), "+ \r\n");
    assert!(two_steps.send("AGFsaWNlAHNlY3JldA==\r\n").contains("t OK"));
    let mut given_up = mailbox.stranger();
    given_up.send("t AUTHENTICATE PLAIN\r\n");
    assert!(given_up.send("*\r\n").starts_with("t BAD"));
    assert!(mailbox.stranger().refused("AUTHENTICATE CRAM-MD5").starts_with("t NO"));
}

#[test]
fn id_names_this_program_and_its_version() {
    let mut client = Mailbox::with_messages(0).stranger();
    assert_eq!(client.ok("ID (\"name\" \"x\")"), "* ID (\"name\" \"lockstep-connector\" \"version\" \"7.3.0\")\r\n");
    assert!(client.ok("CAPABILITY").contains("* CAPABILITY IMAP4rev1 "));
}

#[test]
fn select_says_what_a_client_needs() {
    let mailbox = Mailbox::with_messages(2);
    mailbox.deliver(3, "\\Seen work", "Subject: x\r\n\r\n");
    let answer = mailbox.client().answer("SELECT inbox");
    for line in [
        "* 3 EXISTS\r\n",
        "* 0 RECENT\r\n",
        "* OK [UNSEEN 1]",
        "* OK [UIDNEXT 4]",
        "[HIGHESTMODSEQ 4]",
        "t OK [READ-WRITE]",
    ] {
        assert!(answer.contains(line), "{line} in {answer}");
    }
    assert!(answer.contains("* FLAGS (\\Answered \\Deleted \\Draft \\Flagged \\Seen work)"), "{answer}");
    assert!(answer.contains("[PERMANENTFLAGS (\\Answered \\Deleted \\Draft \\Flagged \\Seen work \\*)]"), "{answer}");
    assert!(mailbox.client().answer("EXAMINE INBOX").contains("t OK [READ-ONLY]"));
}

#[test]
fn a_failed_select_leaves_nothing_selected() {
    let mut client = Mailbox::with_messages(1).reader();
    assert!(client.refused("SELECT nowhere").contains("[NONEXISTENT]"));
    assert_eq!(client.refused("FETCH 1 FLAGS"), "t BAD no folder is selected");
}

#[test]
fn folders_are_made_renamed_listed_and_deleted() {
    let mailbox = Mailbox::with_messages(0);
    let mut client = mailbox.client();
    client.ok("CREATE Entw&APw-rfe/2025/");
    assert!(client.refused("CREATE Archive").contains("[ALREADYEXISTS]"));
    assert!(client.refused("CREATE Entw\u{fc}rfe").starts_with("t BAD"), "names are modified UTF-7");
    assert_eq!(
        client.ok("LIST \"\" *"),
        "* LIST (\\HasNoChildren) \"/\" \"Archive\"\r\n\
         * LIST (\\Noselect \\HasChildren) \"/\" \"Entw&APw-rfe\"\r\n\
         * LIST (\\HasNoChildren) \"/\" \"Entw&APw-rfe/2025\"\r\n\
         * LIST (\\HasNoChildren) \"/\" \"INBOX\"\r\n"
    );
    assert_eq!(client.ok("LIST \"\" \"\""), "* LIST (\\Noselect) \"/\" \"\"\r\n");
    assert_eq!(client.ok("NAMESPACE"), "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
    assert!(!client.ok("LSUB \"\" *").contains("Entw"), "CREATE does not subscribe");
    client.ok("SUBSCRIBE Entw&APw-rfe/2025");
    client.ok("RENAME Entw&APw-rfe/2025 Old/2025");
    client.ok("UNSUBSCRIBE Archive");
    let subscribed = client.ok("LSUB \"\" *");
    assert!(subscribed.contains("Old/2025") && !subscribed.contains("Archive"), "{subscribed}");
    assert!(client.ok("LSUB \"\" %").contains("* LSUB (\\Noselect) \"/\" \"Old\""));
    client.ok("DELETE Old/2025");
    assert!(client.refused("DELETE INBOX").contains("[CANNOT]"));
    assert!(client.refused("SELECT Old/2025").contains("[NONEXISTENT]"));
}

#[test]
fn a_name_that_only_holds_others_is_renamed_with_them() {
    let mailbox = Mailbox::with_messages(0);
    let mut client = mailbox.client();
    for name in ["a/b/c", "a/b/c/d", "a/bb", "z/c"] {
        client.ok(&format!("CREATE {name}"));
    }
    assert!(client.refused("RENAME a/b z").contains("[ALREADYEXISTS]"));
    client.ok("RENAME a/b y");
    let names = client.ok("LIST \"\" *");
    assert!(names.contains("\"y/c\"") && names.contains("\"y/c/d\"") && names.contains("\"a/bb\""), "{names}");
    assert!(client.refused("RENAME a/b y").contains("[NONEXISTENT]"));
}

#[test]
fn deleting_the_selected_folder_leaves_nothing_selected() {
    let mut client = Mailbox::with_messages(0).client();
    client.ok("SELECT Archive");
    assert_eq!(client.ok("DELETE Archive"), "* OK [CLOSED] the selected folder is deleted\r\n");
    assert_eq!(client.refused("FETCH 1 FLAGS"), "t BAD no folder is selected");
}

#[test]
fn special_uses_are_shown() {
    let mailbox = Mailbox::with_messages(0);
    let sent = mail_store::RemoteFolder {
        name: "Sent".into(),
        delimiter: "/".into(),
        special_use: Some("\\Sent".into()),
        subscribed: true,
        selectable: true,
    };
    mailbox.store.borrow_mut().apply_remote_folders(&[sent], NOW).unwrap();
    assert_eq!(mailbox.client().ok("LIST \"\" Sent"), "* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\"\r\n");
}

#[test]
fn status_counts() {
    let mailbox = Mailbox::with_messages(2);
    mailbox.deliver(3, "\\Seen \\Deleted", "Subject: x\r\n\r\n");
    let answer = mailbox.client().ok("STATUS INBOX (MESSAGES UNSEEN UIDNEXT RECENT SIZE)");
    assert!(answer.starts_with("* STATUS \"INBOX\" (MESSAGES 3 UNSEEN 2 UIDNEXT 4 RECENT 0 SIZE "), "{answer}");
}

#[test]
fn a_folder_deleted_under_a_client_ends_its_session() {
    let mailbox = Mailbox::with_messages(0);
    let (mut one, mut two) = (mailbox.client(), mailbox.client());
    one.ok("SELECT Archive");
    two.ok("DELETE Archive");
    assert!(one.answer("NOOP").starts_with("* BYE"));
    assert_eq!(one.state, Next::Close);
}

#[test]
fn notices_are_shown_once_as_alerts_and_cannot_forge_lines() {
    let mailbox = Mailbox::with_messages(0);
    let mut client = mailbox.stranger();
    client.session.alert("You are offline.\r\n* BYE forged");
    assert!(!client.ok("NOOP").contains("ALERT"), "not before login");
    let answer = client.answer("LOGIN alice secret");
    assert!(answer.starts_with("* OK [ALERT] You are offline.  * BYE forged\r\nt OK"), "{answer}");
    assert!(!client.ok("NOOP").contains("ALERT"));
    client.session.alert("Online again.");
    assert!(client.ok("NOOP").contains("* OK [ALERT] Online again.\r\n"));
}
