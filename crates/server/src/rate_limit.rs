//! How often somebody may try a password.
//!
//! | attack | answer |
//! |---|---|
//! | guessing one account's password | a bucket for each account |
//! | trying one password on all accounts | a bucket for each address (IPv6: each /64) |
//! | a million names or addresses to fill the memory | a fixed number of buckets; names share them by a keyed hash nobody outside can predict |

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const BUCKETS: usize = 4096;

/// Token buckets: `burst` tries at once, then one for every `refill`.
#[derive(Debug)]
pub struct RateLimit {
    buckets: Mutex<Vec<Bucket>>,
    keys: RandomState,
    burst: f64,
    refill: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Option<Instant>,
}

impl RateLimit {
    /// An empty limiter.
    pub fn new(burst: u32, refill: Duration) -> Self {
        let full = Bucket { tokens: f64::from(burst), at: None };
        Self { buckets: Mutex::new(vec![full; BUCKETS]), keys: RandomState::new(), burst: f64::from(burst), refill }
    }

    /// Takes one try of a name; `false` when there is none left.
    pub fn allow(&self, name: &str, now: Instant) -> bool {
        self.take(self.keys.hash_one(name), now)
    }

    /// Takes one try of an address.
    pub fn allow_address(&self, address: IpAddr, now: Instant) -> bool {
        let network = match address.to_canonical() {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
        };
        self.take(self.keys.hash_one(network), now)
    }

    #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
    fn take(&self, hash: u64, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = &mut buckets[hash as usize % BUCKETS];
        let waited = bucket.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        bucket.tokens = (bucket.tokens + waited.as_secs_f64() / self.refill.as_secs_f64()).min(self.burst);
        bucket.at = Some(now);
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_run_out_and_come_back_with_time() {
        let limit = RateLimit::new(3, Duration::from_secs(10));
        let start = Instant::now();
        let tries = |at| (0..5).filter(|_| limit.allow("alice", at)).count();
        assert_eq!(tries(start), 3);
        assert_eq!(tries(start + Duration::from_secs(9)), 0);
        assert_eq!(tries(start + Duration::from_secs(21)), 2);
    }

    #[test]
    fn addresses_of_one_network_share_a_bucket_and_others_do_not() {
        let limit = RateLimit::new(1, Duration::from_secs(10));
        let now = Instant::now();
        assert!(limit.allow_address("2001:db8::1".parse().unwrap(), now));
        assert!(!limit.allow_address("2001:db8::2".parse().unwrap(), now));
        assert!(limit.allow_address("192.0.2.1".parse().unwrap(), now));
        assert!(!limit.allow_address("::ffff:192.0.2.1".parse().unwrap(), now));
    }

    #[test]
    fn a_million_names_take_no_more_memory() {
        let limit = RateLimit::new(1, Duration::from_secs(10));
        let now = Instant::now();
        for i in 0..10_000 {
            limit.allow(&i.to_string(), now);
        }
        assert_eq!(limit.buckets.lock().unwrap().len(), BUCKETS);
    }
}
