//! Schema 1 → 2: bodies apart from the index.
//!
//! No body is moved, and none is read. `mail` stays where it is under the name `mail_bodies`, as the place of the bodies that
//! were there; the new, small index is filled from 7.1's list of each folder, which is in place of those rows' first columns, so that the
//! file is not read from end to end. New bodies go to `bodies`. For programs of schema 1, `mail` is a view from now on, with
//! triggers that take what they write to where it belongs.

use super::Batch;
use rusqlite::{Transaction, types::ToSqlOutput};

/// Rows copied between two words of progress.
const ROWS: u64 = 5_000;

pub(super) fn expand(tx: &Transaction, batch: Batch) -> rusqlite::Result<()> {
    tx.execute_batch(INDEX)?;
    copy(tx, batch)?;
    tx.execute_batch(REPLACE)?;
    tx.execute_batch(VIEW)
}

fn copy(tx: &Transaction, batch: Batch) -> rusqlite::Result<()> {
    let total = tx.query_row("SELECT COUNT(*) FROM mail", [], |r| r.get::<_, i64>(0))?.max(0) as u64;
    let mut from = tx.prepare(FROM)?;
    let columns = from.column_count();
    let mut into = tx.prepare(INTO)?;
    let mut rows = from.query([])?;
    let mut done = 0;
    while let Some(row) = rows.next()? {
        for column in 0..columns {
            into.raw_bind_parameter(column + 1, ToSqlOutput::Borrowed(row.get_ref(column)?))?;
        }
        into.raw_execute()?;
        done += 1;
        if done % ROWS == 0 {
            batch(done, total);
        }
    }
    batch(total, total);
    Ok(())
}

pub(super) fn drop_what_one_needs(tx: &Transaction) -> rusqlite::Result<()> {
    // Its triggers go with it.
    tx.execute_batch("DROP VIEW IF EXISTS mail")
}

const INDEX: &str = "
CREATE TABLE messages (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    folder      INTEGER NOT NULL REFERENCES folders (id),
    uid         INTEGER NOT NULL,
    remote_uid  INTEGER,
    local_only  INTEGER NOT NULL DEFAULT 0,
    flags       TEXT NOT NULL,
    date        INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    modseq      INTEGER NOT NULL,
    body        BLOB NOT NULL                        -- in bodies or in mail_bodies
);
";

const FROM: &str = "SELECT id, folder, uid, remote_uid, local_only, flags, date, size, modseq, body \
     FROM mail INDEXED BY mail_list ORDER BY folder, uid";

const INTO: &str = "INSERT INTO messages (id, folder, uid, remote_uid, local_only, flags, date, size, modseq, body) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

const REPLACE: &str = "
DROP TRIGGER mail_kept;
DROP INDEX mail_uid;
DROP INDEX mail_remote_uid;
DROP INDEX mail_modseq;
DROP INDEX mail_list;
ALTER TABLE mail RENAME TO mail_bodies;
CREATE UNIQUE INDEX messages_uid ON messages (folder, uid);
CREATE UNIQUE INDEX messages_remote_uid ON messages (folder, remote_uid) WHERE remote_uid IS NOT NULL;
CREATE INDEX messages_modseq ON messages (folder, modseq);
CREATE INDEX messages_body ON messages (body);
-- Ids are never used again, also not those of rows that are gone.
DELETE FROM sqlite_sequence WHERE name = 'messages';
INSERT INTO sqlite_sequence (name, seq) SELECT 'messages', seq FROM sqlite_sequence WHERE name = 'mail_bodies';
";

const VIEW: &str = "
CREATE VIEW mail AS
    SELECT m.id, m.folder, m.uid, m.remote_uid, m.local_only, m.flags, m.date, m.size, m.modseq, m.body,
           COALESCE((SELECT b.header FROM bodies b WHERE b.id = m.body),
                    (SELECT o.header FROM mail_bodies o WHERE o.body = m.body)) AS header,
           COALESCE((SELECT b.data FROM bodies b WHERE b.id = m.body),
                    (SELECT o.raw FROM mail_bodies o WHERE o.body = m.body)) AS raw
    FROM messages m;
CREATE TRIGGER mail_insert INSTEAD OF INSERT ON mail BEGIN
    INSERT INTO bodies (id, size, header, data)
        SELECT NEW.body, NEW.size, NEW.header, NEW.raw
        WHERE NOT EXISTS (SELECT 1 FROM bodies WHERE id = NEW.body)
          AND NOT EXISTS (SELECT 1 FROM mail_bodies WHERE body = NEW.body);
    INSERT INTO messages (folder, uid, remote_uid, local_only, flags, date, size, modseq, body)
        VALUES (NEW.folder, NEW.uid, NEW.remote_uid, NEW.local_only, NEW.flags, NEW.date, NEW.size, NEW.modseq, NEW.body);
END;
CREATE TRIGGER mail_update INSTEAD OF UPDATE ON mail BEGIN
    UPDATE messages SET folder = NEW.folder, uid = NEW.uid, remote_uid = NEW.remote_uid, local_only = NEW.local_only,
        flags = NEW.flags, date = NEW.date, modseq = NEW.modseq WHERE id = OLD.id;
END;
CREATE TRIGGER mail_delete INSTEAD OF DELETE ON mail BEGIN
    DELETE FROM messages WHERE id = OLD.id;
END;
";
