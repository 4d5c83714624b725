//! How much one user, and all together, may ask for. Pure: time comes in as a parameter.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::platform::User;

/// Connections of one user at a time.
pub const PER_USER: usize = 32;
/// Connections of all users at a time.
pub const TOTAL: usize = 256;
/// Requests on one connection in [`REQUEST_WINDOW`].
pub const REQUESTS: u32 = 40;
/// See [`REQUESTS`].
pub const REQUEST_WINDOW: Duration = Duration::from_secs(10);
/// Check-ins that one user may ask for in [`CHECK_WINDOW`].
pub const CHECKS: usize = 5;
/// Check-ins that all users together may ask for in [`CHECK_WINDOW`].
pub const CHECKS_TOTAL: usize = 20;
/// See [`CHECKS`].
pub const CHECK_WINDOW: Duration = Duration::from_secs(60);

/// Who has had how much.
#[derive(Debug, Default)]
pub struct Limits {
    connections: BTreeMap<User, usize>,
    checks: Vec<(User, Instant)>,
}

impl Limits {
    /// Counts a connection; says whether there is room for it. Only then must it be counted off again.
    pub fn connect(&mut self, user: &User) -> bool {
        let total: usize = self.connections.values().sum();
        let mine = self.connections.entry(user.clone()).or_default();
        if *mine >= PER_USER || total >= TOTAL {
            return false;
        }
        *mine += 1;
        true
    }

    /// Counts a connection off.
    pub fn disconnect(&mut self, user: &User) {
        if let Some(mine) = self.connections.get_mut(user) {
            *mine = mine.saturating_sub(1);
            if *mine == 0 {
                self.connections.remove(user);
            }
        }
    }

    /// Whether a user may have another check-in.
    pub fn check_now(&mut self, user: &User, now: Instant) -> bool {
        self.checks.retain(|(_, at)| now.duration_since(*at) < CHECK_WINDOW);
        let mine = self.checks.iter().filter(|(who, _)| who == user).count();
        let may = mine < CHECKS && self.checks.len() < CHECKS_TOTAL;
        if may {
            self.checks.push((user.clone(), now));
        }
        may
    }
}

/// How many requests one connection has made of late.
#[derive(Debug)]
pub struct Pace {
    since: Instant,
    requests: u32,
}

impl Pace {
    /// None yet.
    pub fn new(now: Instant) -> Self {
        Self { since: now, requests: 0 }
    }

    /// Counts a request; says whether it is still few enough.
    pub fn request(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= REQUEST_WINDOW {
            *self = Self::new(now);
        }
        self.requests += 1;
        self.requests <= REQUESTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_take_all_connections() {
        let mut limits = Limits::default();
        for _ in 0..PER_USER {
            assert!(limits.connect(&User::Uid(60001)));
        }
        assert!(!limits.connect(&User::Uid(60001)));
        assert!(limits.connect(&User::Uid(60002)));
        limits.disconnect(&User::Uid(60001));
        assert!(limits.connect(&User::Uid(60001)));
    }

    #[test]
    fn all_users_together_have_a_limit_too() {
        let mut limits = Limits::default();
        let taken = (0..1000).filter(|uid| limits.connect(&User::Uid(*uid))).count();
        assert_eq!(taken, TOTAL);
    }

    #[test]
    fn check_ins_on_demand_are_few_and_come_back_with_time() {
        let mut limits = Limits::default();
        let now = Instant::now();
        assert_eq!((0..20).filter(|_| limits.check_now(&User::Uid(1), now)).count(), CHECKS);
        assert!(limits.check_now(&User::Uid(2), now), "another user still may");
        assert_eq!((3..100).filter(|uid| limits.check_now(&User::Uid(*uid), now)).count(), CHECKS_TOTAL - CHECKS - 1);
        assert!(limits.check_now(&User::Uid(1), now + CHECK_WINDOW));
    }

    #[test]
    fn a_connection_that_asks_without_end_is_too_fast() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!((0..100).filter(|_| pace.request(now)).count(), 40);
        assert!(pace.request(now + REQUEST_WINDOW));
    }
}
