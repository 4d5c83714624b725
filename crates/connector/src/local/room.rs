//! Memory for big messages under way: one allowance for all connections of a server, so that many clients together cannot
//! take what one may.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that all connections of a server may hold at a time (256 MiB: four messages of the largest size).
const ALLOWANCE: usize = 256 * 1024 * 1024;

/// The allowance.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<AtomicUsize>);

/// A part of it that somebody holds; given back when this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    room: Room,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room::of(ALLOWANCE)
    }
}

impl Room {
    pub(super) fn of(bytes: usize) -> Room {
        Room(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Nothing yet.
    pub(super) fn nothing(&self) -> Taken {
        Taken { room: self.clone(), bytes: 0 }
    }
}

impl Taken {
    /// Takes more; false, and nothing taken, if there is not enough.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let left = &self.room.0;
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok();
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    /// Takes more until `bytes` are held.
    pub(super) fn grow_to(&mut self, bytes: usize) -> bool {
        self.grow(bytes.saturating_sub(self.bytes))
    }

    /// Gives all back.
    pub(super) fn give_back(&mut self) {
        self.room.0.fetch_add(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_holds_another_cannot_take_until_it_is_given_back() {
        let room = Room::of(10);
        let (mut one, mut two) = (room.nothing(), room.nothing());
        assert!(one.grow(6) && !two.grow(5) && two.grow(4) && !one.grow_to(7));
        assert!(one.grow_to(6), "held already");
        drop(one);
        assert!(two.grow_to(10));
        two.give_back();
        assert!(room.nothing().grow(10));
    }
}
