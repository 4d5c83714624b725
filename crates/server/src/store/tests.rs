use sqlx::{AssertSqlSafe, Column, Row, TypeInfo, ValueRef};

use super::*;

impl Store {
    /// Everything that is stored, as text, so that a test can say "nothing has changed".
    pub(crate) async fn dump(&self) -> String {
        let mut text = String::new();
        for table in ["devices", "seats", "events", "facts", "releases", "admins", "sessions"] {
            let query = format!("SELECT * FROM {table} ORDER BY 1");
            for row in sqlx::query(AssertSqlSafe(query)).fetch_all(&self.pool).await.unwrap() {
                text.push_str(table);
                for column in row.columns() {
                    let raw = row.try_get_raw(column.ordinal()).unwrap();
                    let value = match (raw.is_null(), raw.type_info().name()) {
                        (true, _) => "NULL".into(),
                        (_, "INTEGER") => row.get::<i64, _>(column.ordinal()).to_string(),
                        (_, "BLOB") => hex::encode(row.get::<Vec<u8>, _>(column.ordinal())),
                        _ => row.get::<String, _>(column.ordinal()),
                    };
                    text.push_str(&format!(" {}={value}", column.name()));
                }
                text.push('\n');
            }
        }
        text
    }
}

async fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("lockstep.sqlite")).await.unwrap();
    (dir, store)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[tokio::test]
async fn a_story_keeps_its_newest_lines_and_leaves_others_alone() {
    let (_dir, store) = store().await;
    store.tell("other", "kept", at(0)).await.unwrap();
    for i in 0..130 {
        store.tell("pc", &i.to_string(), at(i)).await.unwrap();
    }
    let story = store.story("pc").await.unwrap();
    assert_eq!((story.len(), story[0].text.as_str(), story[99].text.as_str()), (100, "129", "30"));
    assert_eq!(store.story("other").await.unwrap().len(), 1);
}

#[tokio::test]
async fn facts_survive_and_the_first_one_wins() {
    let (dir, store) = store().await;
    assert_eq!(store.fact_or("seed", || "1".into()).await.unwrap(), "1");
    store.close().await;
    let store = Store::open(&dir.path().join("lockstep.sqlite")).await.unwrap();
    assert_eq!(store.fact_or("seed", || "2".into()).await.unwrap(), "1");
    store.set_fact("seed", None).await.unwrap();
    assert_eq!(store.fact("seed").await.unwrap(), None);
}

#[tokio::test]
async fn a_session_ends_when_its_time_is_up_and_a_programs_token_does_not() {
    let (_dir, store) = store().await;
    store.open_session(b"session", "admin", Some(at(100)), at(0)).await.unwrap();
    store.open_session(b"program", "admin", None, at(0)).await.unwrap();
    assert_eq!(store.session(b"session", at(99)).await.unwrap().as_deref(), Some("admin"));
    assert_eq!(store.session(b"session", at(100)).await.unwrap(), None);
    assert_eq!(store.session(b"program", at(0)).await.unwrap(), None, "a program's token opens no console");
    assert!(!store.program_token(b"session").await.unwrap(), "a console session opens no API");
    assert!(store.program_token(b"program").await.unwrap());
}
