//! Stores of schema 1 and 2 as files: made once by the schema's own steps, and kept, so that what 7.1 and 7.2 left on a disk
//! can still be read when the steps have long been changed.
//!
//! They were made by `cargo test -p lockstep-mail-store --test migration make_the_fixtures -- --ignored`, which
//! refuses to overwrite them: a file that 7.1 wrote does not change any more.

use crate::mailbox::{fill, seen};
use crate::open;
use mail_store::{Schema, SearchFields};
use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

const FIXTURES: [(&str, Schema); 2] = [("schema1", Schema::One), ("schema2", Schema::Two)];

#[test]
#[ignore = "makes the files that the tests below read"]
fn make_the_fixtures() {
    for (name, schema) in FIXTURES {
        let (file, text) = (fixture(&format!("{name}.sqlite")), fixture(&format!("{name}.txt")));
        assert!(!file.exists(), "{} is there already and must stay as it is", file.display());
        let mut store = open(&file, schema);
        fill(&mut store);
        std::fs::write(text, seen(&store)).unwrap();
    }
}

#[test]
fn what_7_1_and_7_2_left_is_all_there_in_7_3() {
    for (name, schema) in FIXTURES {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.sqlite");
        std::fs::copy(fixture(&format!("{name}.sqlite")), &path).unwrap();
        let expected = std::fs::read_to_string(fixture(&format!("{name}.txt"))).unwrap();
        let raw = rusqlite::Connection::open(&path).unwrap();
        let found: u32 = raw.pragma_query_value(None, "user_version", |r| r.get(0)).unwrap();
        assert_eq!(found, schema.number());
        drop(raw);
        assert_eq!(seen(&open(&path, schema)), expected, "{name} as its own version sees it");
        let mut store = open(&path, Schema::Three);
        assert_eq!(seen(&store), expected, "{name} as 7.3 sees it");
        while store.fill_search(7).unwrap() {}
        let inbox = store.folder_by_name("INBOX").unwrap().unwrap().id;
        for message in store.messages(inbox).unwrap() {
            let fields = store.search_fields(&message).unwrap();
            assert_eq!(fields, SearchFields::of(&store.header(&message.body).unwrap()));
        }
        drop(store);
        assert_eq!(seen(&open(&path, schema)), expected, "{name} after a rollback");
    }
}
