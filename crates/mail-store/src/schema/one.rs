//! Schema 1, made from nothing: the whole message lies in the row of the index.

use rusqlite::Transaction;

pub(super) fn create(tx: &Transaction) -> rusqlite::Result<()> {
    tx.execute_batch(SQL)
}

const SQL: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- A deleted folder stays as a row (gone = 1) while journal rows still name it.
CREATE TABLE folders (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    name                TEXT NOT NULL,               -- UTF-8, parts joined by delimiter
    delimiter           TEXT NOT NULL,               -- one character, or empty: no hierarchy
    special_use         TEXT,                        -- '\\Sent' ..., RFC 6154
    subscribed          INTEGER NOT NULL DEFAULT 1,
    selectable          INTEGER NOT NULL DEFAULT 1,
    gone                INTEGER NOT NULL DEFAULT 0,
    on_server           INTEGER NOT NULL DEFAULT 0,  -- the mail server has listed it
    remote_uidvalidity  INTEGER,
    remote_uidnext      INTEGER,
    uidvalidity         INTEGER NOT NULL,
    next_uid            INTEGER NOT NULL DEFAULT 1,
    modseq              INTEGER NOT NULL DEFAULT 1   -- the highest given out
);
CREATE UNIQUE INDEX folders_name ON folders (name) WHERE gone = 0;

-- One row is one placement of a message: a copy or a move makes a new row with a new id.
CREATE TABLE mail (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    folder      INTEGER NOT NULL,
    uid         INTEGER NOT NULL,
    remote_uid  INTEGER,                             -- NULL: not known to be on the mail server
    local_only  INTEGER NOT NULL DEFAULT 0,          -- a notice of ours: never goes to the mail server
    flags       TEXT NOT NULL,                       -- separated by spaces
    date        INTEGER NOT NULL,                    -- INTERNALDATE, Unix seconds
    size        INTEGER NOT NULL,                    -- bytes
    modseq      INTEGER NOT NULL,
    body        BLOB NOT NULL,                       -- SHA-256 of raw
    header      INTEGER NOT NULL,                    -- bytes of the header, with the empty line after it
    raw         BLOB NOT NULL                        -- the message
);
CREATE UNIQUE INDEX mail_uid ON mail (folder, uid);
CREATE UNIQUE INDEX mail_remote_uid ON mail (folder, remote_uid) WHERE remote_uid IS NOT NULL;
CREATE INDEX mail_modseq ON mail (folder, modseq);
CREATE INDEX mail_body ON mail (body);
-- A folder is listed from here: its rows lie as far apart as their bodies are long.
CREATE INDEX mail_list ON mail (folder, uid, remote_uid, local_only, flags, date, size, modseq, body);

-- What waits to be sent or uploaded and is in no folder.
CREATE TABLE bodies (
    id     BLOB PRIMARY KEY,          -- SHA-256 of data
    size   INTEGER NOT NULL,          -- bytes
    header INTEGER NOT NULL,          -- bytes of the header, with the empty line after it
    data   BLOB NOT NULL
);
CREATE TRIGGER mail_kept BEFORE DELETE ON mail WHEN EXISTS (SELECT 1 FROM pending WHERE body = OLD.body) BEGIN
    INSERT OR IGNORE INTO bodies (id, size, header, data) VALUES (OLD.body, OLD.size, OLD.header, OLD.raw);
END;

-- Tombstones: which UIDs went, and under which UID the mail server knew them.
CREATE TABLE vanished (
    message     INTEGER PRIMARY KEY,                 -- the id the row had
    folder      INTEGER NOT NULL,
    uid         INTEGER NOT NULL,
    remote_uid  INTEGER,
    at          INTEGER NOT NULL
);
CREATE INDEX vanished_remote_uid ON vanished (folder, remote_uid);

-- The journal of changes the mail server has not heard of. op is JSON (crate::journal::PendingOp); the other columns
-- repeat parts of it to be found by.
CREATE TABLE pending (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    op       TEXT NOT NULL,
    folder   INTEGER,
    message  INTEGER,
    target   INTEGER,
    body     BLOB
);
CREATE INDEX pending_message ON pending (message);
CREATE INDEX pending_target ON pending (target);
CREATE INDEX pending_folder ON pending (folder);
CREATE INDEX pending_body ON pending (body);
CREATE TABLE pending_done (
    seq      INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    outcome  TEXT NOT NULL                           -- 'done', or why it was given up
);

CREATE TABLE outbox (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    sender      TEXT NOT NULL,                       -- envelope sender, '' for the null sender
    recipients  TEXT NOT NULL,                       -- JSON array of envelope recipients
    parameters  TEXT NOT NULL,                       -- JSON object: body8bit, smtputf8
    body        BLOB NOT NULL REFERENCES bodies (id)
);
CREATE INDEX outbox_body ON outbox (body);
CREATE TABLE outbox_event (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    outbox    INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    state     TEXT NOT NULL,                         -- queued, sending, sent, failed
    detail    TEXT NOT NULL,
    next_try  INTEGER NOT NULL                       -- Unix seconds; 0 at once
);
CREATE INDEX outbox_event_outbox ON outbox_event (outbox);

INSERT INTO folders (name, delimiter, uidvalidity) VALUES ('INBOX', '/', CAST(strftime('%s', 'now') AS INTEGER));
";
