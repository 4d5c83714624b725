//! Outgoing mail: accepted from the user's mail program, durable before that program hears `250`.
//!
//! A message's row is never changed; its states are rows of their own, the last one counts:
//!
//! ```text
//! queued ──► sending ──► sent
//!    ▲          │  └───► failed   (the mail server will never take it)
//!    └──────────┘  (refused for now: try again later)
//! ```
//!
//! `sending` is noted when all of a message but its end is with the mail server. A message that goes from there to
//! `sending` again has been sent without an answer: whether the mail server has it is not known.

use crate::{BodyId, Error, OutboxId, Result, Store};
use rusqlite::Row;

/// A message to send, as submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOutgoing<'a> {
    /// Envelope sender, empty for the null sender.
    pub sender: &'a str,
    /// Envelope recipients, at least one.
    pub recipients: &'a [String],
    /// The message, lines ended by CRLF, dots not doubled.
    pub message: &'a [u8],
    /// Declared `BODY=8BITMIME`.
    pub body8bit: bool,
    /// Declared `SMTPUTF8`.
    pub smtputf8: bool,
}

/// Where an outgoing message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboxState {
    /// To be sent, at `next_try` or later.
    Queued,
    /// Handed to the mail server; its answer is not known. It may or may not have been sent; to be sent again at
    /// `next_try` or later.
    Sending,
    /// The mail server took it.
    Sent,
    /// The mail server will never take it; `detail` says why.
    Failed,
}

impl OutboxState {
    /// The name in the store.
    pub fn name(self) -> &'static str {
        match self {
            OutboxState::Queued => "queued",
            OutboxState::Sending => "sending",
            OutboxState::Sent => "sent",
            OutboxState::Failed => "failed",
        }
    }

    fn from_name(name: &str) -> Option<OutboxState> {
        [OutboxState::Queued, OutboxState::Sending, OutboxState::Sent, OutboxState::Failed]
            .into_iter()
            .find(|s| s.name() == name)
    }
}

/// A message in the outbox with its present state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Row id; grows in the order of submission.
    pub id: OutboxId,
    /// When it was accepted, Unix seconds.
    pub at: i64,
    /// Envelope sender, empty for the null sender.
    pub sender: String,
    /// Envelope recipients.
    pub recipients: Vec<String>,
    /// Declared `BODY=8BITMIME`.
    pub body8bit: bool,
    /// Declared `SMTPUTF8`.
    pub smtputf8: bool,
    /// The message's bytes.
    pub body: BodyId,
    /// Present state.
    pub state: OutboxState,
    /// Why it is in that state, for the user; may be empty.
    pub detail: String,
    /// Since when it is in that state, Unix seconds.
    pub since: i64,
    /// Not to be tried before, Unix seconds.
    pub next_try: i64,
    /// How many tries have ended, with or without an answer.
    pub attempts: u32,
}

const SELECT: &str = "SELECT o.id, o.at, o.sender, o.recipients, o.parameters, o.body, \
     e.state, e.detail, e.at AS since, e.next_try, \
     (SELECT COUNT(*) - 1 FROM outbox_event a WHERE a.outbox = o.id AND (a.state <> 'sending' OR a.next_try > 0)) \
     AS attempts \
     FROM outbox o JOIN outbox_event e ON e.id = (SELECT MAX(l.id) FROM outbox_event l WHERE l.outbox = o.id)";

fn read(row: &Row) -> Result<Outgoing> {
    let parameters: serde_json::Value = serde_json::from_str(row.get_ref("parameters")?.as_str().unwrap_or(""))?;
    let state: String = row.get("state")?;
    Ok(Outgoing {
        id: row.get("id")?,
        at: row.get("at")?,
        sender: row.get("sender")?,
        recipients: serde_json::from_str(row.get_ref("recipients")?.as_str().unwrap_or(""))?,
        body8bit: parameters["body8bit"] == true,
        smtputf8: parameters["smtputf8"] == true,
        body: row.get("body")?,
        state: OutboxState::from_name(&state).ok_or_else(|| Error::Damaged(format!("outbox state {state}")))?,
        detail: row.get("detail")?,
        since: row.get("since")?,
        next_try: row.get("next_try")?,
        attempts: row.get("attempts")?,
    })
}

impl Store {
    /// Accepts a message for sending. When this returns `Ok` the message is durable.
    pub fn queue(&mut self, new: &NewOutgoing, now: i64) -> Result<OutboxId> {
        self.change(|c| {
            let body = c.put_body(new.message)?;
            let parameters = serde_json::json!({ "body8bit": new.body8bit, "smtputf8": new.smtputf8 });
            c.sql.execute(
                "INSERT INTO outbox (at, sender, recipients, parameters, body) VALUES (?1, ?2, ?3, ?4, ?5)",
                (now, new.sender, serde_json::to_string(new.recipients)?, parameters.to_string(), body),
            )?;
            let id = OutboxId(c.sql.last_insert_rowid());
            c.sql.execute(
                "INSERT INTO outbox_event (outbox, at, state, detail, next_try) VALUES (?1, ?2, 'queued', '', 0)",
                (id, now),
            )?;
            c.touched.outbox = true;
            Ok(id)
        })
    }

    /// All outgoing messages still kept, in order of submission.
    pub fn outbox(&self) -> Result<Vec<Outgoing>> {
        let mut statement = self.conn.prepare_cached(&format!("{SELECT} ORDER BY o.id"))?;
        let mut rows = statement.query([])?;
        let mut outbox = Vec::new();
        while let Some(row) = rows.next()? {
            outbox.push(read(row)?);
        }
        Ok(outbox)
    }

    /// Messages to try now, in order of submission: `Queued`, or left in `Sending` without an answer, and due.
    pub fn outbox_due(&self, now: i64) -> Result<Vec<Outgoing>> {
        let mut due = self.outbox()?;
        due.retain(|o| match o.state {
            OutboxState::Queued | OutboxState::Sending => o.next_try <= now,
            OutboxState::Sent | OutboxState::Failed => false,
        });
        Ok(due)
    }

    /// Records a message's new state. `next_try` (Unix seconds) counts for `Queued` and `Sending`.
    pub fn set_outbox_state(
        &mut self,
        id: OutboxId,
        state: OutboxState,
        detail: &str,
        next_try: i64,
        now: i64,
    ) -> Result<()> {
        self.change(|c| {
            c.sql.execute(
                "INSERT INTO outbox_event (outbox, at, state, detail, next_try) VALUES (?1, ?2, ?3, ?4, ?5)",
                (id, now, state.name(), detail, next_try),
            )?;
            c.touched.outbox = true;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_and_nothing_half_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("mail.sqlite")).unwrap();
        let recipients = ["b@y".to_owned()];
        let message = vec![b'x'; 1_000_000];
        let new =
            NewOutgoing { sender: "", recipients: &recipients, message: &message, body8bit: false, smtputf8: false };
        let pages: u32 = store.conn.pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
        store.conn.pragma_update_and_check(None, "max_page_count", pages + 10, |_| Ok(())).unwrap();
        let error = store.queue(&new, 1).unwrap_err();
        assert!(error.is_disk_full(), "{error:?}");
        assert!(store.outbox().unwrap().is_empty() && store.take_changes().is_empty());
        store.conn.pragma_update_and_check(None, "max_page_count", 1_000_000, |_| Ok(())).unwrap();
        store.queue(&new, 2).unwrap();
        assert_eq!(store.outbox().unwrap().len(), 1);
    }
}
