//! The store's schema number and the steps that lead to it.
//!
//! | Schema | Written by | What is new |
//! |---|---|---|
//! | 3 | 7.3 | the schema of [`v3`]: bodies apart from the index, MODSEQ, tombstones, journal, outbox |
//!
//! Each step runs in one transaction with the new number, so that a store killed in the middle is still one schema or the
//! other.

mod v3;

use crate::{Error, Result};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// The schema this version writes.
pub const SCHEMA: u32 = 3;

/// SQLite's application id of a mail store ("LkSt").
const APPLICATION_ID: i32 = 0x4c6b_5374;

/// A step from one schema to the next; `from` 0 makes a store from nothing.
struct Step {
    from: u32,
    to: u32,
    run: fn(&rusqlite::Transaction) -> rusqlite::Result<()>,
}

const STEPS: &[Step] = &[Step { from: 0, to: 3, run: v3::create }];

pub(crate) fn bring_up_to_date(conn: &mut Connection, path: &Path) -> Result<()> {
    loop {
        // Read again under the lock in every round: another process may have migrated meanwhile.
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let application: i32 = tx.pragma_query_value(None, "application_id", |r| r.get(0))?;
        let tables: i64 = tx.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |r| r.get(0))?;
        if application != APPLICATION_ID && (application != 0 || tables > 0) {
            return Err(Error::NotAStore(path.to_owned()));
        }
        let found: u32 = tx.pragma_query_value(None, "user_version", |r| r.get(0))?;
        if found == SCHEMA {
            return Ok(());
        }
        if found > SCHEMA {
            return Err(Error::NewerSchema { found, supported: SCHEMA });
        }
        let Some(step) = STEPS.iter().find(|s| s.from == found) else {
            return Err(Error::Damaged(format!("schema {found}, which no version ever wrote")));
        };
        (step.run)(&tx)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", step.to)?;
        tx.commit()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    #[test]
    fn a_new_store_has_inbox_and_the_current_schema() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.sqlite");
        let store = Store::open(&path).unwrap();
        let names: Vec<_> = store.folders().unwrap().into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["INBOX"]);
        let synchronous: u32 = store.conn.pragma_query_value(None, "synchronous", |r| r.get(0)).unwrap();
        assert_eq!(synchronous, 2, "FULL: what is acknowledged survives a power cut");
        drop(store);
        let conn = Connection::open(&path).unwrap();
        assert_eq!(conn.pragma_query_value(None, "user_version", |r| r.get::<_, u32>(0)).unwrap(), SCHEMA);
        assert_eq!(conn.pragma_query_value(None, "journal_mode", |r| r.get::<_, String>(0)).unwrap(), "wal");
    }

    #[test]
    fn a_newer_schema_is_refused_with_both_numbers_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mail.sqlite");
        drop(Store::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 9).unwrap();
        let error = Store::open(&path).err().expect("a newer schema must be refused");
        assert!(error.to_string().contains("schema 9") && error.to_string().contains("up to 3"), "{error}");
        let conn = Connection::open(&path).unwrap();
        assert_eq!(conn.pragma_query_value(None, "user_version", |r| r.get::<_, u32>(0)).unwrap(), 9);
    }

    #[test]
    fn another_programs_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other.sqlite");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        assert!(matches!(Store::open(&path), Err(Error::NotAStore(_))));
    }
}
