//! Upgrades, rollbacks, and what each version may rely on.

use crate::mailbox::{deliver, fill, offline_changes, seen};
use crate::open;
use mail_store::{Error, Flags, Progress, RemoteMessage, Schema, SearchFields, Store};

#[test]
fn a_store_of_7_1_is_one_of_7_3_after_one_start_with_everything_in_it_and_says_how_far_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mail.sqlite");
    let mut old = open(&path, Schema::One);
    fill(&mut old);
    let before = seen(&old);
    drop(old);
    let mut heard: Vec<Progress> = Vec::new();
    let store = Store::open_limited(&path, Schema::Three, &mut |progress| heard.push(progress.clone())).unwrap();
    assert_eq!((store.schema(), seen(&store)), (Schema::Three, before));
    assert!(store.postponed().is_none());
    let steps: Vec<u32> = heard.iter().map(|p| p.step).collect();
    assert!(heard.iter().all(|p| p.steps == 2 && p.done <= p.total) && steps.is_sorted(), "{heard:?}");
    assert!((1..=2).all(|step| steps.contains(&step)), "{heard:?}");
    assert!(heard.iter().any(|p| p.done == p.total && p.total > 10), "{heard:?}");
}

#[test]
fn a_second_start_has_nothing_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mail.sqlite");
    fill(&mut open(&path, Schema::One));
    drop(open(&path, Schema::Three));
    let bytes = std::fs::read(&path).unwrap();
    Store::open_limited(&path, Schema::Three, &mut |progress| panic!("{progress:?}")).unwrap();
    assert!(std::fs::read(&path).unwrap() == bytes);
}

#[test]
fn bodies_are_not_moved_by_the_migration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mail.sqlite");
    let mut old = open(&path, Schema::One);
    let inbox = old.folder_by_name("INBOX").unwrap().unwrap().id;
    for uid in 1..41 {
        let body = format!("Subject: large {uid}\r\n\r\n{}", "0123456789".repeat(20_000 + uid as usize));
        let flags = Flags::new();
        let remote = RemoteMessage { uid, flags: &flags, date: 0, body: body.as_bytes() };
        old.apply_remote_messages(inbox, &[remote]).unwrap();
    }
    drop(old);
    let before = std::fs::metadata(&path).unwrap().len();
    assert!(before > 8_000_000);
    let wal = dir.path().join("mail.sqlite-wal");
    let mut most = 0;
    let watch = &mut |_: &Progress| most = most.max(std::fs::metadata(&wal).map_or(0, |log| log.len()));
    drop(Store::open_limited(&path, Schema::Three, watch).unwrap());
    let grown = std::fs::metadata(&path).unwrap().len() - before;
    assert!(grown + most < before / 10, "{grown} bytes more, {most} in the log, of {before}");
}

#[test]
fn nothing_accepted_after_the_migration_is_lost_by_a_rollback_to_7_2_or_7_1_and_7_3_goes_on_with_what_they_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mail.sqlite");
    let mut store = open(&path, Schema::One);
    fill(&mut store);
    let inbox = store.folder_by_name("INBOX").unwrap().unwrap().id;
    // Version by version, each with mail from the server and all that a user can do, the next one sees all of it.
    let turns = [Schema::Three, Schema::One, Schema::Three, Schema::Two, Schema::One, Schema::Two, Schema::Three];
    for (turn, schema) in turns.into_iter().enumerate() {
        let before = seen(&store);
        drop(store);
        store = open(&path, schema);
        assert_eq!(seen(&store), before, "turn {turn}");
        let uid = 200 + turn as u32 * 10;
        deliver(&mut store, inbox, uid..uid + 6);
        offline_changes(&mut store, &format!("turn {turn}"), 2_000 + turn as i64);
        store.collect_garbage(1_900).unwrap();
    }
    assert_eq!(store.outbox().unwrap().len(), 4 - 1 + turns.len(), "what was sent long ago has been collected");
    for message in store.messages(inbox).unwrap() {
        let header = store.header(&message.body).unwrap();
        assert_eq!(store.search_fields(&message).unwrap(), SearchFields::of(&header));
    }
    while store.fill_search(3).unwrap() {}
    for message in store.messages(inbox).unwrap() {
        let header = store.header(&message.body).unwrap();
        assert_eq!(store.search_fields(&message).unwrap(), SearchFields::of(&header), "from the table");
    }
    drop(store);
    let raw = rusqlite::Connection::open(&path).unwrap();
    let count = |sql: &str| raw.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
    let messages = count("SELECT COUNT(*) FROM messages");
    assert_eq!(count("SELECT COUNT(*) FROM search"), messages, "what older versions brought is searchable too");
    assert_eq!(count("SELECT COUNT(*) FROM vanished WHERE modseq = 0"), 0, "also what went by older versions");
}

#[test]
fn a_folder_that_an_older_version_found_anew_is_not_resynchronised_from_an_old_mark() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mail.sqlite");
    let mark = |store: &Store| store.folder_by_name("INBOX").unwrap().unwrap().remote_modseq;
    let mut store = open(&path, Schema::Three);
    let inbox = store.folder_by_name("INBOX").unwrap().unwrap().id;
    store.apply_remote_state(inbox, 7, Some(10), Some(500)).unwrap();
    assert_eq!(mark(&store), Some(500));
    drop(store);
    let mut store = open(&path, Schema::Two);
    assert_eq!(mark(&store), None, "7.2 does not know it");
    store.apply_remote_state(inbox, 7, Some(12), Some(900)).unwrap();
    drop(store);
    let store = open(&path, Schema::Three);
    assert_eq!(mark(&store), Some(500), "what 7.2 has seen since is asked for again, nothing is left out");
    drop(store);
    let mut store = open(&path, Schema::Two);
    assert!(store.apply_remote_state(inbox, 8, Some(1), Some(3)).unwrap());
    drop(store);
    assert_eq!(mark(&open(&path, Schema::Three)), None, "another UIDVALIDITY: from the beginning");
}

#[test]
fn after_health_is_confirmed_7_2_can_still_use_the_store_and_7_1_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mail.sqlite");
    fill(&mut open(&path, Schema::One));
    let mut store = open(&path, Schema::Three);
    store.contract().unwrap();
    store.contract().unwrap();
    let inbox = store.folder_by_name("INBOX").unwrap().unwrap().id;
    deliver(&mut store, inbox, 300..304);
    let after = seen(&store);
    drop(store);
    let refused = Store::open_limited(&path, Schema::One, &mut |_| {}).err().unwrap();
    assert!(matches!(refused, Error::NewerSchema { found: 3, readable_from: 2, supported: 1 }), "{refused:?}");
    // The mail server went back to 7.2, and its clients follow.
    let mut store = open(&path, Schema::Two);
    assert_eq!(seen(&store), after);
    offline_changes(&mut store, "by 7.2", 3_000);
    store.contract().unwrap();
    let after = seen(&store);
    drop(store);
    assert_eq!(seen(&open(&path, Schema::Three)), after);
}

#[test]
fn a_store_that_7_2_has_confirmed_can_still_be_used_by_7_1() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mail.sqlite");
    let mut store = open(&path, Schema::Two);
    fill(&mut store);
    store.contract().unwrap();
    let before = seen(&store);
    drop(store);
    assert_eq!(seen(&open(&path, Schema::One)), before);
    // 7.3 then comes from 7.2's file, and until it is confirmed 7.1 could still be next.
    drop(open(&path, Schema::Three));
    assert_eq!(seen(&open(&path, Schema::One)), before);
}
