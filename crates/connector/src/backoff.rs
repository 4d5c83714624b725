//! How long to wait before trying again: longer each time, and never at the same moment as everybody else.

use std::time::Duration;

/// How long a connection must have worked before its end counts as a first failure again.
pub const PROVEN: Duration = Duration::from_secs(30);

/// Doubles from `first` to `longest`; the wait is drawn between half of that and all of it.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts at `first`, never waits longer than `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// For logins that were refused: at least 30 s, then longer, up to 15 minutes. A mail server slows down everybody at
    /// the address from which logins fail, and whoever was refused for a reason will be again.
    pub fn after_refusals() -> Self {
        Self::new(Duration::from_secs(60), Duration::from_secs(900))
    }

    /// The wait after one more failure. `draw` is a random number in `0.0..1.0`.
    pub fn next(&mut self, draw: f64) -> Duration {
        let full = self.first.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(self.longest);
        self.failures = (self.failures + 1).min(31);
        full.mul_f64(0.5 + draw.clamp(0.0, 1.0) / 2.0)
    }

    /// A connection ended after `lived`. One that ends soon after it was made is one more failure: a server that lets
    /// everybody in and then drops them must not be asked every second.
    pub fn worked_for(&mut self, lived: Duration) {
        if lived >= PROVEN {
            self.reset();
        }
    }

    /// It worked: the next failure waits `first` again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A random number in `0.0..1.0`.
pub fn draw() -> f64 {
    rand::random::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        let waits: Vec<u64> = (0..7).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff.next(0.0), Duration::from_secs(15), "half at least");
        for _ in 0..100 {
            backoff.next(0.5);
        }
        backoff.reset();
        assert_eq!(backoff.next(1.0), Duration::from_secs(1));
    }

    #[test]
    fn a_refused_login_is_not_tried_again_within_half_a_minute() {
        let mut backoff = Backoff::after_refusals();
        let waits: Vec<u64> = (0..6).map(|_| backoff.next(0.0).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 450, 450]);
    }

    #[test]
    fn a_connection_that_ends_soon_is_one_more_failure() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        let mut waits = Vec::new();
        for lived in [0, 1, 29, 30, 0] {
            backoff.worked_for(Duration::from_secs(lived));
            waits.push(backoff.next(1.0).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 1, 2]);
    }
}
