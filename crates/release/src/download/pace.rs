//! A bandwidth limit: a bucket of bytes that fills at a steady rate.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A limit that several downloads share.
#[derive(Debug)]
pub struct Pace {
    rate: u64,
    bucket: Mutex<Bucket>,
}

impl Pace {
    /// At most `rate` bytes a second (at least 1), and a quarter of a second's worth at once.
    pub fn new(rate: u64) -> Self {
        let rate = rate.max(1);
        Self { rate, bucket: Mutex::new(Bucket::new(rate, Instant::now())) }
    }

    /// Bytes a second.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// Notes that so many bytes came, and says how long to wait before reading more.
    pub fn spend(&self, bytes: u64) -> Duration {
        // A panic elsewhere leaves a level that is at worst a little wrong.
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).spend(bytes, Instant::now())
    }
}

/// The arithmetic; time comes in.
#[derive(Debug)]
struct Bucket {
    /// Bytes a second.
    rate: f64,
    /// Bytes that may come now; below zero, what came too early.
    level: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: u64, now: Instant) -> Self {
        let rate = rate as f64;
        Self { rate, level: rate / 4.0, at: now }
    }

    fn spend(&mut self, bytes: u64, now: Instant) -> Duration {
        let filled = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        self.at = self.at.max(now);
        self.level = (self.level + filled).min(self.rate / 4.0) - bytes as f64;
        Duration::from_secs_f64((-self.level / self.rate).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_any_time_no_more_comes_than_the_rate_allows_and_hardly_less() {
        let start = Instant::now();
        for chunk in [100, 16 * 1024, 1 << 20] {
            let (mut bucket, mut now, mut came) = (Bucket::new(100_000, start), start, 0u64);
            while came < 20_000_000 {
                came += chunk;
                now += bucket.spend(chunk, now);
            }
            let allowed = 100_000.0 * now.duration_since(start).as_secs_f64() + 25_000.0;
            assert!(came as f64 <= allowed + 1.0, "{chunk}: {came} of {allowed}");
            assert!(came as f64 >= allowed * 0.98, "{chunk}: {came} of {allowed}");
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000, start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(bucket.spend(250, later), Duration::ZERO);
        assert_eq!(bucket.spend(1000, later), Duration::from_secs(1));
    }
}
