//! From the schema that a file has to the one that this program runs on.
//!
//! ```text
//!  nothing ──► 1 ──► 2 ──► 3 ··· search filled ··· health confirmed ··· what schema 1 needs is dropped
//!              each step: one      Store::fill_search,                   Store::contract
//!              transaction         piece by piece, in use
//! ```
//!
//! Killed or out of disk in the middle of a step, SQLite takes the whole step back; the next start begins it anew. Without
//! room for a step the store stays on the schema it has, which this
//! program can run on as well as the older one: mail goes on, and the next start tries again.

use crate::schema::{Batch, Schema};
use crate::{Error, Result, platform};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// SQLite's application id of a mail store ("LkSt").
const APPLICATION_ID: i32 = 0x4c6b_5374;

/// Under this name `meta` keeps the oldest schema whose programs can use the store.
const READABLE_FROM: &str = "readable-from";

/// Bytes that a step writes for each message, at most in practice: rows, indexes, and the same again in the log.
const STEP_BYTES: u64 = 700;
/// Bytes that any step needs, however small the store is.
const SLACK: u64 = 1024 * 1024;

/// Memory for pages during a migration (KiB): the new index of a large store, so that it is written once.
const CACHE_KIB: i64 = 48 * 1024;

/// How far a migration is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which step, from 1.
    pub step: u32,
    /// Of how many.
    pub steps: u32,
    /// What it does, for people.
    pub what: &'static str,
    /// Messages done in this step …
    pub done: u64,
    /// … of how many. Steps that do not look at messages stay at 0.
    pub total: u64,
}

/// Hears how far it is; called a few times a second at most by large stores, and at least once for each step.
pub type Listener<'a> = &'a mut dyn FnMut(&Progress);

/// What the file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Its schema's number; 0 for an empty file.
    pub(crate) found: u32,
    /// The oldest schema whose programs can use it.
    pub(crate) readable_from: u32,
}

/// How a store was found or made.
#[derive(Debug)]
pub(crate) struct Migrated {
    /// The schema to run on.
    pub(crate) schema: Schema,
    /// Why it is older than the program's own.
    pub(crate) postponed: Option<Error>,
}

impl Facts {
    fn read(conn: &Connection, path: &Path) -> Result<Facts> {
        let application: i32 = conn.pragma_query_value(None, "application_id", |r| r.get(0))?;
        let tables: i64 = conn.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |r| r.get(0))?;
        if application != APPLICATION_ID && (application != 0 || tables > 0) {
            return Err(Error::NotAStore(path.to_owned()));
        }
        let found: u32 = conn.pragma_query_value(None, "user_version", |r| r.get(0))?;
        if found == 0 {
            return Ok(Facts { found, readable_from: 0 });
        }
        let readable_from = conn
            .query_row("SELECT value FROM meta WHERE key = ?1", [READABLE_FROM], |r| r.get::<_, String>(0))
            .optional()?
            .and_then(|text| text.parse().ok())
            .unwrap_or(found);
        Ok(Facts { found, readable_from })
    }

    /// The schema that a program limited to `limit` runs on, if it can.
    fn runs_on(self, limit: Schema) -> Result<Option<Schema>> {
        if self.found > limit.number() && self.readable_from > limit.number() {
            let (found, readable_from) = (self.found, self.readable_from);
            return Err(Error::NewerSchema { found, readable_from, supported: limit.number() });
        }
        Ok(Schema::of_number(self.found.min(limit.number())))
    }
}

/// Looks at a file without changing a byte of it. Nothing if there is none.
///
/// Errors: [`Error::NewerSchema`], [`Error::NotAStore`], [`Error::Database`].
pub(crate) fn check(path: &Path, limit: Schema) -> Result<()> {
    if std::fs::metadata(path).map_or(true, |file| file.len() == 0) {
        return Ok(());
    }
    let conn = open_untouched(path)?;
    conn.busy_timeout(Duration::from_secs(10))?;
    Facts::read(&conn, path)?.runs_on(limit).map(drop)
}

fn open_untouched(path: &Path) -> rusqlite::Result<Connection> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    if Path::new(&log).exists() {
        // A killed program's last changes are in the log. It and its index stay as they are, too.
        return Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    }
    // Otherwise SQLite would make an empty log, and could not take it away again.
    let mut uri = "file:".to_owned();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'\\' if cfg!(windows) => uri.push('/'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(byte)),
            other => uri.push_str(&format!("%{other:02x}")),
        }
    }
    if cfg!(windows) && path.is_absolute() {
        uri.insert_str("file:".len(), "///");
    }
    uri.push_str("?immutable=1");
    Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
}

/// Takes the store as far as `limit` and the room on the disk allow.
pub(crate) fn bring_up_to_date(
    conn: &mut Connection,
    path: &Path,
    limit: Schema,
    listen: Listener,
) -> Result<Migrated> {
    let start = Facts::read(conn, path)?;
    let steps = limit.number().saturating_sub(start.found);
    let migrating = start.found > 0 && start.found < limit.number();
    if migrating {
        conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
        conn.pragma_update(None, "temp_store", "MEMORY")?;
    }
    let mut tell = |to: Schema, done, total| {
        if migrating {
            listen(&Progress { step: to.number() - start.found, steps, what: what(to), done, total });
        }
    };
    let mut postponed = None;
    let schema = loop {
        match step(conn, path, limit, &mut tell) {
            Ok(Some(schema)) => break schema,
            Ok(None) => {}
            Err(Stuck { left: Some(schema), error }) if error.is_disk_full() => {
                postponed = Some(error);
                break schema;
            }
            Err(Stuck { error, .. }) => return Err(error),
        }
    };
    if migrating {
        // The log's bytes go back to the disk at once. Where that fails, the log stays and is as good.
        let _ = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        conn.pragma_update(None, "cache_size", -2000)?;
        conn.pragma_update(None, "temp_store", "DEFAULT")?;
        conn.execute_batch("PRAGMA shrink_memory")?;
    }
    Ok(Migrated { schema, postponed })
}

fn what(to: Schema) -> &'static str {
    match to {
        Schema::One => "making the mailbox",
        Schema::Two => "taking bodies out of the index",
        Schema::Three => "adding quick resynchronisation and search",
    }
}

/// A step that failed.
struct Stuck {
    /// The schema that the store still has, if it is one to run on.
    left: Option<Schema>,
    error: Error,
}

impl<E: Into<Error>> From<E> for Stuck {
    fn from(error: E) -> Stuck {
        Stuck { left: None, error: error.into() }
    }
}

/// Makes one step, or says on which schema the program runs because there is none to make.
fn step(
    conn: &mut Connection,
    path: &Path,
    limit: Schema,
    tell: &mut dyn FnMut(Schema, u64, u64),
) -> Result<Option<Schema>, Stuck> {
    // Read again under the lock in every round: another process may have migrated meanwhile.
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let facts = Facts::read(&tx, path)?;
    let Some(now) = facts.runs_on(limit)? else {
        make(tx, Schema::One, Schema::One, &mut |_, _| {})?;
        return Ok(None);
    };
    let Some(to) = now.next().filter(|_| now < limit) else { return Ok(Some(now)) };
    let messages = count(&tx, now)?;
    let needed = needed(to, messages);
    let stuck = |error| Stuck { left: Some(now), error };
    enough(path, needed).map_err(stuck)?;
    tell(to, 0, messages);
    let readable_from = Schema::of_number(facts.readable_from).unwrap_or(now);
    make(tx, to, readable_from, &mut |done, total| tell(to, done, total))
        .map_err(|error| stuck(full(error.into(), path, needed)))?;
    Ok(None)
}

fn make(tx: Transaction, to: Schema, readable_from: Schema, batch: Batch) -> rusqlite::Result<()> {
    to.expand(&tx, batch)?;
    let keep = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
    tx.execute(keep, (READABLE_FROM, readable_from.to_string()))?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", to.number())?;
    tx.commit()
}

fn count(conn: &Connection, schema: Schema) -> rusqlite::Result<u64> {
    conn.query_row(&format!("SELECT COUNT(*) FROM {}", schema.index()), [], |r| r.get::<_, i64>(0))
        .map(|n| n.max(0) as u64)
}

fn needed(to: Schema, messages: u64) -> u64 {
    let each = match to {
        Schema::Two => STEP_BYTES,
        Schema::One | Schema::Three => 0,
    };
    SLACK + messages * each
}

fn enough(path: &Path, needed: u64) -> Result<()> {
    match platform::free_space(path) {
        Some(free) if free < needed => Err(Error::NoRoom { path: path.to_owned(), needed, free: Some(free) }),
        _ => Ok(()),
    }
}

/// A full disk in the middle of a step, told with how much is needed.
fn full(error: Error, path: &Path, needed: u64) -> Error {
    if !error.is_disk_full() {
        return error;
    }
    Error::NoRoom { path: PathBuf::from(path), needed, free: platform::free_space(path) }
}

/// Drops what only programs before the version before `limit` need, and says so in the store.
pub(crate) fn contract(conn: &mut Connection, path: &Path, limit: Schema) -> Result<()> {
    let oldest = limit.number().saturating_sub(1).max(Schema::One.number());
    let facts = Facts::read(conn, path)?;
    if facts.found != limit.number() || facts.readable_from >= oldest {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    limit.contract(&tx)?;
    tx.execute("UPDATE meta SET value = ?2 WHERE key = ?1", (READABLE_FROM, oldest.to_string()))?;
    Ok(tx.commit()?)
}
