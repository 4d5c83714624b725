-- Times are microseconds since 1970 (UTC). Names (user, hostname, and whatever a report says in words) are NULL or
-- empty while readiness reports are switched off.

-- A PC with an updater, known by the key that it made at enrolment.
CREATE TABLE devices (
    id          TEXT    PRIMARY KEY NOT NULL,
    public_key  BLOB    NOT NULL,
    seq         INTEGER NOT NULL,
    enrolled_at INTEGER NOT NULL,
    last_seen   INTEGER NOT NULL,
    report      TEXT    NOT NULL,
    told        TEXT    NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

-- A user on a PC. The key is a hash of the random seat id and the user, so two users of a PC and two PCs of a
-- user are rows of their own.
CREATE TABLE seats (
    id           TEXT    PRIMARY KEY NOT NULL,
    token_hash   BLOB    NOT NULL UNIQUE,
    user         TEXT,
    hostname     TEXT,
    os           TEXT    NOT NULL,
    arch         TEXT    NOT NULL,
    product      TEXT,
    version      TEXT,
    gate         TEXT,
    outbox       INTEGER NOT NULL DEFAULT 0,
    device       TEXT,
    ticket_until INTEGER NOT NULL DEFAULT 0,
    last_seen    INTEGER NOT NULL,
    told         TEXT    NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE INDEX seats_by_device ON seats (device);

-- The story of a device, a seat, or the site: what was offered, when, and why.
CREATE TABLE events (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    subject TEXT    NOT NULL,
    text    TEXT    NOT NULL
) STRICT;
CREATE INDEX events_by_subject ON events (subject, number);

-- Single facts about the site.
CREATE TABLE facts (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- When the site could first offer a release.
CREATE TABLE releases (
    target    TEXT    PRIMARY KEY NOT NULL,
    available INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE admins (
    name     TEXT PRIMARY KEY NOT NULL,
    password TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A session of the console, or (expires NULL) a token for the administrator's own programs.
CREATE TABLE sessions (
    token_hash BLOB PRIMARY KEY NOT NULL,
    admin      TEXT NOT NULL,
    expires    INTEGER
) STRICT, WITHOUT ROWID;
