//! Whatever a client sends, the server answers and goes on.

use super::*;
use proptest::prelude::*;

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("FETCH".to_owned()),
        Just("UID".to_owned()),
        Just("STORE".to_owned()),
        Just("SEARCH".to_owned()),
        Just("COPY".to_owned()),
        Just("MOVE".to_owned()),
        Just("SELECT".to_owned()),
        Just("LIST".to_owned()),
        Just("EXPUNGE".to_owned()),
        Just("IDLE".to_owned()),
        Just("APPEND".to_owned()),
        Just("{3+}\r\nabc".to_owned()),
        Just("INBOX".to_owned()),
        Just("Archive".to_owned()),
        Just("(FLAGS BODY[])".to_owned()),
        Just("(UID BODYSTRUCTURE ENVELOPE)".to_owned()),
        Just("+FLAGS".to_owned()),
        Just("(\\Deleted)".to_owned()),
        Just("1:*".to_owned()),
        Just("*".to_owned()),
        Just("4294967295".to_owned()),
        "[ -~]{0,12}",
        "\\PC{0,5}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn any_words_get_a_tagged_answer(lines in proptest::collection::vec(proptest::collection::vec(word(), 1..6), 1..12)) {
        let mailbox = Mailbox::with_messages(3);
        let mut client = mailbox.reader();
        for words in lines {
            let answer = client.send(format!("t {}\r\n", words.join(" ")));
            match client.state {
                Next::Idle | Next::Line => { client.send("DONE\r\n"); }
                Next::Close => client = mailbox.reader(),
                _ => prop_assert!(
                    answer.starts_with("t ") || answer.contains("\r\nt ") || answer.starts_with("* BAD") || answer.contains("\r\n* BAD")
                        || answer.contains("+ go ahead"),
                    "{words:?}: {answer}"
                ),
            }
            if answer.contains("+ go ahead") {
                client = mailbox.reader();
            }
        }
        let count = mailbox.store.borrow().messages(mailbox.inbox).unwrap().len();
        prop_assert!(mailbox.reader().answer("NOOP").contains("t OK"), "{count}");
    }

    #[test]
    fn any_bytes_leave_the_server_standing(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mailbox = Mailbox::with_messages(1);
        mailbox.stranger().send(&bytes);
        mailbox.reader().send(&bytes);
        mailbox.deliver(2, "", &String::from_utf8_lossy(&bytes));
        let answer = mailbox.reader().answer("FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY[] BODY[1] BODY[1.MIME])");
        prop_assert!(answer.ends_with("t OK FETCH completed\r\n"));
    }
}

#[test]
fn an_endless_line_ends_the_connection() {
    let mailbox = Mailbox::with_messages(0);
    let mut client = mailbox.client();
    assert!(client.send(vec![b'a'; 100_000]).starts_with("* BYE"));
    assert_eq!(client.state, Next::Close);
}

#[test]
fn a_deep_search_is_refused_not_a_stack_overflow() {
    let mut client = Mailbox::with_messages(1).reader();
    assert!(client.refused(&format!("SEARCH {}ALL", "NOT ".repeat(10_000))).starts_with("t BAD"));
}
