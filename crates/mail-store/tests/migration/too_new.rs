//! Files that this version must leave alone, byte for byte.

use crate::open;
use mail_store::{Error, Schema, Store};
use rusqlite::Connection;
use std::path::Path;

fn files(dir: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()).collect();
    files.sort_by_key(|entry| entry.file_name());
    files.iter().map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn a_new_store_has_inbox_its_versions_schema_and_survives_a_power_cut() {
    for schema in Schema::ALL {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.sqlite");
        let names: Vec<_> = open(&path, schema).folders().unwrap().into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["INBOX"]);
        let conn = Connection::open(&path).unwrap();
        assert_eq!(conn.pragma_query_value(None, "user_version", |r| r.get::<_, u32>(0)).unwrap(), schema.number());
        assert_eq!(conn.pragma_query_value(None, "journal_mode", |r| r.get::<_, String>(0)).unwrap(), "wal");
    }
}

#[test]
fn a_store_whose_folder_has_an_odd_name_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("50 % of? Jürgen's #mail&more=1");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("mail.sqlite");
    drop(open(&path, Schema::One));
    drop(open(&path, Schema::Three));
    assert!(matches!(Store::open_limited(&path, Schema::One, &mut |_| {}), Ok(store) if store.schema() == Schema::One));
}

#[test]
fn a_schema_that_this_version_cannot_read_is_refused_with_the_numbers_and_what_to_do_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mail.sqlite");
    drop(open(&path, Schema::Three));
    let raw = Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 9).unwrap();
    raw.execute("UPDATE meta SET value = '8' WHERE key = 'readable-from'", []).unwrap();
    drop(raw);
    let before = files(dir.path());
    let error = Store::open(&path).err().expect("a newer schema must be refused").to_string();
    assert!(
        ["schema 9", "from schema 8", "up to 3", "install the newer"].iter().all(|part| error.contains(part)),
        "{error}"
    );
    assert!(files(dir.path()) == before);
}

#[test]
fn a_newer_schema_that_says_this_version_can_read_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mail.sqlite");
    drop(open(&path, Schema::Three));
    let raw = Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 4).unwrap();
    raw.execute("UPDATE meta SET value = '3' WHERE key = 'readable-from'", []).unwrap();
    let mut store = open(&path, Schema::Three);
    store.contract().unwrap();
    assert_eq!(raw.pragma_query_value(None, "user_version", |r| r.get::<_, u32>(0)).unwrap(), 4);
}

#[test]
fn another_programs_database_and_no_database_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.sqlite");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let before = files(dir.path());
    assert!(matches!(Store::open(&path), Err(Error::NotAStore(_))));
    assert!(files(dir.path()) == before);
    std::fs::write(&path, "not a database at all, whatever its name says".repeat(100)).unwrap();
    let before = files(dir.path());
    assert!(matches!(Store::open(&path), Err(Error::Database(_))));
    assert!(files(dir.path()) == before);
}
