//! "Ask again, now", to everybody who listens.
//!
//! News that come between a client's check-in and its opening of a stream must not be lost: each change has a number, the
//! number that each client was last answered with is remembered, and a stream that opens later begins with an event.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use protocol::message::{Push, V};
use tokio::sync::broadcast;

/// Events kept for a stream that is slow to take them. A slower one is told once that it missed some.
const BACKLOG: usize = 16;

/// The switchboard.
#[derive(Debug)]
pub struct Switchboard {
    events: broadcast::Sender<Push>,
    change: AtomicU64,
    answered: Mutex<HashMap<String, u64>>,
    open: Mutex<HashMap<String, usize>>,
}

/// What a client's stream brings.
#[derive(Debug)]
pub struct Stream {
    /// To be sent at once: the client has missed something.
    pub first: Option<Push>,
    /// From now on.
    pub events: broadcast::Receiver<Push>,
    /// Counts as a connection while it lives.
    pub connection: Connection,
}

/// A client that listens.
#[derive(Debug)]
pub struct Connection {
    board: Arc<Switchboard>,
    client: String,
}

impl Default for Switchboard {
    fn default() -> Self {
        let events = broadcast::channel(BACKLOG).0;
        Self { events, change: AtomicU64::new(0), answered: Mutex::default(), open: Mutex::default() }
    }
}

impl Switchboard {
    /// Something has changed that a decision depends on. Call it after the change is in place.
    pub fn announce(&self, why: impl Into<String>) {
        let why = why.into();
        tracing::info!(why, "push");
        self.change.fetch_add(1, Ordering::SeqCst);
        // An error means that nobody listens, which is fine.
        let _ = self.events.send(Push { v: V, why });
    }

    /// The number of the last change; take it before deciding.
    pub fn change(&self) -> u64 {
        self.change.load(Ordering::SeqCst)
    }

    /// A client was given a decision that took this change into account.
    pub fn answered(&self, client: &str, change: u64) {
        lock(&self.answered).insert(client.to_owned(), change);
    }

    /// A client opens its stream.
    pub fn listen(self: &Arc<Self>, client: &str) -> Stream {
        let events = self.events.subscribe();
        let missed = !self.is_up_to_date(client);
        let first = missed.then(|| Push { v: V, why: "there may be news since the last check-in".into() });
        *lock(&self.open).entry(client.to_owned()).or_default() += 1;
        Stream { first, events, connection: Connection { board: self.clone(), client: client.to_owned() } }
    }

    /// Whether the last answer to a client took the last change into account.
    pub fn is_up_to_date(&self, client: &str) -> bool {
        lock(&self.answered).get(client).copied() == Some(self.change())
    }

    /// Whether a client listens now.
    pub fn is_connected(&self, client: &str) -> bool {
        lock(&self.open).contains_key(client)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = lock(&self.board.open);
        match open.get_mut(&self.client) {
            Some(1) | None => {
                open.remove(&self.client);
            }
            Some(n) => *n -= 1,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_between_check_in_and_stream_is_not_lost() {
        let board = Arc::new(Switchboard::default());
        assert!(board.listen("pc").first.is_some(), "never answered");
        board.answered("pc", board.change());
        assert!(board.listen("pc").first.is_none(), "nothing new");
        board.announce("new releases");
        assert!(board.listen("pc").first.is_some(), "changed since");
    }

    #[test]
    fn a_client_is_connected_while_any_of_its_streams_lives() {
        let board = Arc::new(Switchboard::default());
        let (one, two) = (board.listen("pc"), board.listen("pc"));
        drop(one);
        assert!(board.is_connected("pc") && !board.is_connected("another"));
        drop(two);
        assert!(!board.is_connected("pc"));
    }
}
