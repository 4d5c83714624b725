//! Schema 2 → 3: what quick resynchronisation and search need.
//!
//! Only columns, a table and triggers are added; the triggers keep right what programs of the older schemas write without
//! knowing of it. The rows of `search` for messages that are here already are made afterwards, while the store is in use
//! ([`crate::search`]); until a message has one, its header is read.

use rusqlite::Transaction;

pub(super) fn expand(tx: &Transaction) -> rusqlite::Result<()> {
    tx.execute_batch(SQL)
}

const SQL: &str = "
-- The mail server's HIGHESTMODSEQ at the last synchronisation. An older program leaves it as it is: what changed since then
-- is asked for, which is more than needed and never less. Only a new UIDVALIDITY makes it worthless.
ALTER TABLE folders ADD COLUMN remote_modseq INTEGER;
CREATE TRIGGER folders_restarted AFTER UPDATE OF remote_uidvalidity ON folders
    WHEN OLD.remote_uidvalidity IS NOT NEW.remote_uidvalidity AND OLD.remote_modseq IS NEW.remote_modseq BEGIN
    UPDATE folders SET remote_modseq = NULL WHERE id = NEW.id;
END;

-- When a message went. Of those that are gone already it is not known: as late as can be, so that nobody misses them.
ALTER TABLE vanished ADD COLUMN modseq INTEGER NOT NULL DEFAULT 0;
UPDATE vanished SET modseq = COALESCE((SELECT modseq FROM folders WHERE id = vanished.folder), 1);
CREATE INDEX vanished_modseq ON vanished (folder, modseq);
CREATE TRIGGER vanished_now AFTER INSERT ON vanished WHEN NEW.modseq = 0 BEGIN
    UPDATE vanished SET modseq = COALESCE((SELECT modseq FROM folders WHERE id = NEW.folder), 1)
        WHERE message = NEW.message;
END;

-- What SEARCH asks for most, decoded and in lower case, so that it need not read headers. NULL: no such field.
CREATE TABLE search (
    message     INTEGER PRIMARY KEY,                 -- messages.id
    sent        INTEGER,                             -- the day in Date as it is written there: Unix seconds of midnight
    sender      TEXT,                                -- From
    recipient   TEXT,                                -- To
    cc          TEXT,
    bcc         TEXT,
    subject     TEXT,
    message_id  TEXT                                 -- Message-ID
);
CREATE TRIGGER messages_not_searched AFTER DELETE ON messages BEGIN
    DELETE FROM search WHERE message = OLD.id;
END;
";
