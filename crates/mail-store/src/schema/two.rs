//! Schema 1 → 2: bodies apart from the index.
//!
//! No body is moved. `mail` stays where it is under the name `mail_bodies`, as the place of the bodies that were there; the
//! new, small index is filled from the first columns of its rows, which SQLite reads without the pages that a body
//! overflows into. New bodies go to `bodies`. For programs of schema 1, `mail` is a view from now on, with triggers that
//! take what they write to where it belongs.

use super::Batch;
use rusqlite::Transaction;

/// Rows copied between two words of progress.
const ROWS: u64 = 5_000;

pub(super) fn expand(tx: &Transaction, batch: Batch) -> rusqlite::Result<()> {
    tx.execute_batch(INDEX)?;
    let total = tx.query_row("SELECT COUNT(*) FROM mail", [], |r| r.get::<_, i64>(0))?.max(0) as u64;
    let mut copy = tx.prepare(COPY)?;
    let mut done = 0;
    loop {
        batch(done, total);
        match copy.execute([ROWS as i64])? {
            0 => break,
            rows => done += rows as u64,
        }
    }
    drop(copy);
    tx.execute_batch(REPLACE)?;
    tx.execute_batch(VIEW)
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

const COPY: &str = "
INSERT INTO messages (id, folder, uid, remote_uid, local_only, flags, date, size, modseq, body)
    SELECT id, folder, uid, remote_uid, local_only, flags, date, size, modseq, body FROM mail
    WHERE id > COALESCE((SELECT MAX(id) FROM messages), 0) ORDER BY id LIMIT ?1";

const REPLACE: &str = "
DROP TRIGGER mail_kept;
DROP INDEX mail_uid;
DROP INDEX mail_remote_uid;
DROP INDEX mail_modseq;
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
