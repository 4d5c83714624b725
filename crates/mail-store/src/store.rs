//! Opening the store, and the transaction every change runs in.

use crate::migrate::{self, Listener, Migrated};
use crate::{Changes, Error, Result, Schema};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One user's offline mailbox. All times are Unix seconds given by the caller.
pub struct Store {
    pub(crate) conn: Connection,
    /// What this program reads and writes; the file may have a newer one.
    pub(crate) schema: Schema,
    path: PathBuf,
    limit: Schema,
    postponed: Option<Error>,
    changes: Changes,
}

/// A running change: the SQL transaction and what it touches, merged into [`Changes`] only if it commits.
pub(crate) struct Change<'a> {
    pub(crate) sql: Transaction<'a>,
    pub(crate) schema: Schema,
    pub(crate) touched: Changes,
}

impl Store {
    /// Opens the store in this file on the newest schema, without a word of progress; see [`Store::open_limited`].
    pub fn open(path: &Path) -> Result<Store> {
        Store::open_limited(path, Schema::NEWEST, &mut |_| {})
    }

    /// Opens the store in this file, making it (with an empty INBOX) if it is not there, for a program that knows the
    /// schemas up to `limit`. Older ones are migrated, step by step, while `listen` hears how far it is; when the disk has
    /// no room for a step the store opens as it is ([`Store::postponed`]). A newer one is used as far as this program knows
    /// it.
    ///
    /// Errors: [`Error::NewerSchema`] for a file that a newer connector changed in a way that this one cannot read,
    /// [`Error::NotAStore`] for another program's database (neither file is changed), [`Error::Database`] when the file
    /// cannot be opened.
    pub fn open_limited(path: &Path, limit: Schema, listen: Listener) -> Result<Store> {
        migrate::check(path, limit)?;
        let mut conn = Connection::open(path)?;
        // Another process (`lockstep-connector status`) may hold the lock for a moment.
        conn.busy_timeout(Duration::from_secs(10))?;
        // What is acknowledged is durable (invariant 6): FULL also syncs the log at every commit, not only at checkpoints.
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "foreign_keys", true)?;
        // A store is one file of a user's own mail, not trusted input, but a damaged one must not run code.
        conn.pragma_update(None, "trusted_schema", false)?;
        let Migrated { schema, postponed } = migrate::bring_up_to_date(&mut conn, path, limit, listen)?;
        Ok(Store { conn, schema, path: path.to_owned(), limit, postponed, changes: Changes::default() })
    }

    /// The schema that this program reads and writes.
    pub fn schema(&self) -> Schema {
        self.schema
    }

    /// Why a migration did not get to its end ([`Error::NoRoom`]): the next opening tries again.
    pub fn postponed(&self) -> Option<&Error> {
        self.postponed.as_ref()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// This version has proved healthy: drops what only versions before the one before it need. Does nothing the
    /// second time.
    pub fn contract(&mut self) -> Result<()> {
        migrate::contract(&mut self.conn, &self.path, self.limit)
    }

    /// What was committed since the last call, and forgets it.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Runs `work` in one transaction: all of it is durable when this returns `Ok`, none of it otherwise.
    pub(crate) fn change<T>(&mut self, work: impl FnOnce(&mut Change) -> Result<T>) -> Result<T> {
        let sql = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut change = Change { sql, schema: self.schema, touched: Changes::default() };
        let value = work(&mut change)?;
        let Change { sql, touched, .. } = change;
        sql.commit()?;
        self.changes.merge(touched);
        Ok(value)
    }

    /// Drops what is finished since before `before` (journal rows, sent mail, tombstones) and bodies that nothing refers
    /// to any more. Returns the bytes of bodies freed. Cheap enough for once a day.
    pub fn collect_garbage(&mut self, before: i64) -> Result<u64> {
        self.change(|c| {
            c.sql.execute("DELETE FROM pending WHERE seq IN (SELECT seq FROM pending_done WHERE at < ?1)", [before])?;
            c.sql.execute("DELETE FROM pending_done WHERE seq NOT IN (SELECT seq FROM pending)", [])?;
            c.sql.execute(
                "DELETE FROM vanished WHERE at < ?1 AND message NOT IN \
                 (SELECT message FROM pending WHERE message IS NOT NULL UNION \
                  SELECT target FROM pending WHERE target IS NOT NULL)",
                [before],
            )?;
            c.sql.execute(
                "DELETE FROM outbox WHERE id IN (SELECT outbox FROM outbox_event WHERE state = 'sent' AND at < ?1)",
                [before],
            )?;
            c.sql.execute("DELETE FROM outbox_event WHERE outbox NOT IN (SELECT id FROM outbox)", [])?;
            c.drop_unused_bodies()
        })
    }

    /// A connector-wide value kept under a name (device ids, last sync, …); `None` if never set.
    pub fn meta(&self, key: &str) -> Result<Option<String>> {
        use rusqlite::OptionalExtension;
        Ok(self.conn.query_row("SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0)).optional()?)
    }

    /// Sets (or with `None` removes) a connector-wide value.
    pub fn set_meta(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        self.change(|c| {
            match value {
                Some(v) => c.sql.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)", [key, v])?,
                None => c.sql.execute("DELETE FROM meta WHERE key = ?1", [key])?,
            };
            Ok(())
        })
    }
}

/// Reads an unsigned value that SQLite keeps as a signed one.
pub(crate) fn unsigned(row: &rusqlite::Row, column: &str) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.max(0) as u64)
}

impl From<serde_json::Error> for Error {
    fn from(e: serde_json::Error) -> Error {
        Error::Damaged(format!("a journal row: {e}"))
    }
}
