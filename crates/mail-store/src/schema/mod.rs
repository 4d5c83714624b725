//! The three schemas, and what is written differently in SQL for each.
//!
//! | Schema | Version | What is new |
//! |---|---|---|
//! | 1 ([`one`]) | 7.1 | bodies inside the index: table `mail` has the message itself in its row |
//! | 2 ([`two`]) | 7.2 | bodies apart: `messages` is a small index, `bodies` has the messages |
//! | 3 ([`three`]) | 7.3 | quick resynchronisation (MODSEQ of the mail server's folders and of tombstones), `search` |
//!
//! A program runs on its own schema or on an older one, whatever newer schema the file has: a step expands, so
//! that the tables of the schema before are still there, as tables or as views with triggers. `pending`, `pending_done`,
//! `outbox` and `outbox_event` are the same in all three: rows are only added (and, once finished, dropped), columns are
//! only added, and their columns keep their meaning for good.

mod one;
mod three;
mod two;

use rusqlite::Transaction;

/// A schema of the store, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Schema {
    /// 7.1's: bodies inside the index.
    One,
    /// 7.2's: bodies apart from the index.
    Two,
    /// 7.3's: quick resynchronisation and search.
    Three,
}

/// One batch of a step: how many rows are done of how many.
pub(crate) type Batch<'a> = &'a mut dyn FnMut(u64, u64);

impl Schema {
    /// The newest.
    pub const NEWEST: Schema = Schema::Three;

    /// All, in order.
    pub const ALL: [Schema; 3] = [Schema::One, Schema::Two, Schema::Three];

    /// Its number in the file (`user_version`), 1 to 3.
    pub fn number(self) -> u32 {
        self as u32 + 1
    }

    /// The schema of this number.
    pub(crate) fn of_number(number: u32) -> Option<Schema> {
        Schema::ALL.into_iter().find(|schema| schema.number() == number)
    }

    /// The one after it.
    pub(crate) fn next(self) -> Option<Schema> {
        Schema::of_number(self.number() + 1)
    }

    /// Adds what this schema has and the one before does not, in the caller's transaction.
    pub(crate) fn expand(self, tx: &Transaction, batch: Batch) -> rusqlite::Result<()> {
        match self {
            Schema::One => one::create(tx),
            Schema::Two => two::expand(tx, batch),
            Schema::Three => three::expand(tx),
        }
    }

    /// Takes away what only programs of the schema before the one before need. Nothing if it is gone.
    pub(crate) fn contract(self, tx: &Transaction) -> rusqlite::Result<()> {
        match self {
            Schema::One | Schema::Two => Ok(()),
            Schema::Three => two::drop_what_one_needs(tx),
        }
    }

    /// The table (or for an older program, view) with a row for each message in a folder.
    pub(crate) fn index(self) -> &'static str {
        match self {
            Schema::One => "mail",
            Schema::Two | Schema::Three => "messages",
        }
    }

    /// Whether folders keep the mail server's HIGHESTMODSEQ.
    pub(crate) fn has_remote_modseq(self) -> bool {
        self >= Schema::Three
    }

    /// Whether it is known when a message went.
    pub(crate) fn tombstones_have_modseq(self) -> bool {
        self >= Schema::Three
    }

    /// Whether there is the table `search`.
    pub(crate) fn has_search(self) -> bool {
        self >= Schema::Three
    }

    /// The condition on `vanished` for "after this MODSEQ". Older schemas do not know when a message went: all of them.
    pub(crate) fn vanished_after(self, modseq: &str) -> String {
        if self.tombstones_have_modseq() { format!("modseq > {modseq}") } else { format!("{modseq} IS NOT NULL") }
    }
}

impl std::fmt::Display for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.number().fmt(f)
    }
}
