//! When the next check-in is. Time comes in as a parameter.

use std::time::Duration;

use protocol::device::Device;
use tokio::time::Instant;

use super::Why;

/// Seconds; whatever the server says, no more often and no more rarely than this.
const INTERVAL: std::ops::RangeInclusive<u64> = 10..=24 * 3600;
/// The wait after the first check-in that failed; doubled with each.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The wait after metadata could not be used or kept for the first time; doubled with each.
const FIRST_REFRESH_WAIT: Duration = Duration::from_secs(15);
/// The longest wait after failures.
const LONGEST_WAIT: Duration = Duration::from_secs(900);
/// Check-ins that only report a change, in a row. More would be an argument with the server.
const MAX_REPORTS: u32 = 20;

/// What a check-in means for the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// It is as new as it needs to be.
    No,
    /// It is to be refreshed now.
    Now,
    /// It will be, after the next check-in, which is wanted already.
    Later,
}

/// Keeps track of check-ins: one at a time, none too many, none forgotten.
#[derive(Debug)]
pub struct Schedule {
    due: Instant,
    running: bool,
    wanted: bool,
    refresh: bool,
    failures: u32,
    refresh_failures: u32,
    /// When metadata that could not be used or kept is looked at again, whatever is reported until then.
    refresh_due: Option<Instant>,
    reports: u32,
    sent: Option<Device>,
}

impl Schedule {
    /// The first check-in is due at once.
    pub fn new(now: Instant) -> Self {
        Self {
            due: now,
            running: false,
            wanted: false,
            refresh: false,
            failures: 0,
            refresh_failures: 0,
            refresh_due: None,
            reports: 0,
            sent: None,
        }
    }

    /// Somebody wants a check-in. The timer wants one only when it is due.
    pub fn want(&mut self, why: Why, now: Instant) {
        if why == Why::Due && now < self.due {
            return;
        }
        self.wanted = true;
        self.refresh = true;
        self.refresh_due = None;
        self.reports = 0;
        // Should the answer never come to be noted, the timer must not fire without end.
        self.due = now + Duration::from_secs(60);
    }

    /// Whether to check in now: because somebody wants it, or because there is news to report. Notes that it was begun.
    pub fn begin(&mut self, device: &Device) -> bool {
        let news = self.failures == 0
            && self.reports < MAX_REPORTS
            && self.sent.as_ref().is_some_and(|sent| is_news(sent, device));
        if self.running || !(self.wanted || news) {
            return false;
        }
        if !self.wanted {
            self.reports += 1;
        }
        self.running = true;
        self.wanted = false;
        true
    }

    /// The server has answered: says what about the metadata. `draw` (0 to 1) spreads the next check-ins of many PCs over
    /// a tenth of the interval.
    pub fn succeeded(&mut self, sent: Device, next_seconds: u64, now: Instant, draw: f64) -> Refresh {
        let seconds = next_seconds.clamp(*INTERVAL.start(), *INTERVAL.end());
        let next = now + Duration::from_secs(seconds).mul_f64(1.0 + draw.clamp(0.0, 1.0) / 10.0);
        self.due = self.refresh_due.map_or(next, |due| due.min(next));
        self.running = false;
        self.failures = 0;
        self.sent = Some(sent);
        match (self.wanted, self.refresh) {
            // What was wanted meanwhile has a check-in of its own to come.
            (true, _) => Refresh::Later,
            (false, true) => {
                self.refresh = false;
                Refresh::Now
            }
            (false, false) => Refresh::No,
        }
    }

    /// The server has not answered.
    pub fn failed(&mut self, now: Instant, draw: f64) {
        let doubled = FIRST_WAIT.saturating_mul(1 << self.failures.min(16)).min(LONGEST_WAIT);
        self.due = now + doubled.mul_f64(0.5 + draw.clamp(0.0, 1.0));
        self.running = false;
        self.failures += 1;
    }

    /// The server has answered, but what it serves cannot be used, or not be kept: whatever it said, it is looked at again
    /// before long.
    pub fn refresh_failed(&mut self, now: Instant, draw: f64) {
        let doubled = FIRST_REFRESH_WAIT.saturating_mul(1 << self.refresh_failures.min(16)).min(LONGEST_WAIT);
        let again = now + doubled.mul_f64(0.5 + draw.clamp(0.0, 1.0) / 2.0);
        self.due = self.due.min(again);
        self.refresh_due = Some(again);
        self.refresh_failures += 1;
    }

    /// Fresh metadata was verified.
    pub fn refresh_succeeded(&mut self) {
        self.refresh_failures = 0;
        self.refresh_due = None;
    }

    /// How long it is until the next check-in. `None`: one is due, or under way.
    pub fn due_in(&self, now: Instant) -> Option<Duration> {
        (!self.is_busy()).then(|| Duration::from_secs(self.due.saturating_duration_since(now).as_secs()))
    }

    /// Whether a check-in is under way or about to be.
    pub fn is_busy(&self) -> bool {
        self.running || self.wanted
    }

    /// When to look again, at the latest; `retry` is the time of another attempt at something that failed.
    pub fn alarm(&self, retry: Option<Instant>) -> Instant {
        retry.map_or(self.due, |retry| retry.min(self.due))
    }
}

/// Whether the server does not know this yet. Free space changes all the time and is no news.
fn is_news(sent: &Device, device: &Device) -> bool {
    let plain = |d: &Device| Device { disk_free: None, id: String::new(), ..d.clone() };
    plain(sent) != plain(device)
}

#[cfg(test)]
mod tests {
    use protocol::product::Platform;

    use super::*;

    fn pc(channel: &str, disk_free: u64) -> Device {
        Device {
            id: "pc-1".into(),
            hostname: "pc-1".into(),
            disk_free: Some(disk_free),
            ..Device::unknown(Platform::current(), channel)
        }
    }

    #[test]
    fn one_check_in_at_a_time_and_none_is_forgotten() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        schedule.want(Why::Due, now);
        assert!(schedule.begin(&pc("stable", 1)));
        schedule.want(Why::Pushed, now);
        assert!(!schedule.begin(&pc("stable", 1)), "one is running");
        assert_eq!(schedule.succeeded(pc("stable", 1), 60, now, 0.0), Refresh::Later);
        assert!(schedule.begin(&pc("stable", 1)), "the push is not forgotten");
        assert_eq!(schedule.succeeded(pc("stable", 1), 60, now, 0.0), Refresh::Now);
        assert!(!schedule.begin(&pc("stable", 1)), "nothing is wanted");
    }

    #[test]
    fn news_are_reported_at_once_but_free_space_is_no_news_and_there_is_no_arguing() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        schedule.want(Why::Due, now);
        assert!(schedule.begin(&pc("stable", 1)));
        schedule.succeeded(pc("stable", 1), 60, now, 0.0);
        assert!(!schedule.begin(&pc("stable", 2)));
        for _ in 0..MAX_REPORTS {
            assert!(schedule.begin(&pc("beta", 1)));
            assert_eq!(schedule.succeeded(pc("stable", 1), 60, now, 0.0), Refresh::No);
        }
        assert!(!schedule.begin(&pc("beta", 1)), "enough");
        schedule.want(Why::Pushed, now);
        assert!(schedule.begin(&pc("beta", 1)));
    }

    #[test]
    fn the_server_cannot_make_a_pc_hammer_it_or_forget_it() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        schedule.succeeded(pc("stable", 1), 0, now, 0.0);
        assert_eq!(schedule.alarm(None), now + Duration::from_secs(*INTERVAL.start()));
        schedule.succeeded(pc("stable", 1), u64::MAX, now, 0.0);
        assert_eq!(schedule.alarm(None), now + Duration::from_secs(*INTERVAL.end()));
    }

    #[test]
    fn a_server_that_serves_what_cannot_be_used_cannot_put_the_next_look_off() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        schedule.succeeded(pc("stable", 1), u64::MAX, now, 0.0);
        schedule.refresh_failed(now, 1.0);
        assert_eq!(schedule.alarm(None), now + FIRST_REFRESH_WAIT);
        schedule.succeeded(pc("stable", 1), u64::MAX, now, 0.0);
        assert_eq!(schedule.alarm(None), now + FIRST_REFRESH_WAIT, "nor by being told of it");
        for _ in 0..20 {
            schedule.want(Why::Asked, now);
            schedule.succeeded(pc("stable", 1), u64::MAX, now, 0.0);
            schedule.refresh_failed(now, 1.0);
        }
        assert_eq!(schedule.alarm(None), now + LONGEST_WAIT);
        schedule.want(Why::Asked, now);
        schedule.succeeded(pc("stable", 1), 60, now, 0.0);
        schedule.refresh_failed(now, 1.0);
        assert_eq!(schedule.alarm(None), now + Duration::from_secs(60));
    }

    #[test]
    fn failures_make_the_wait_longer_up_to_a_limit() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        schedule.failed(now, 0.5);
        assert_eq!(schedule.alarm(None), now + FIRST_WAIT);
        for _ in 0..40 {
            schedule.failed(now, 0.5);
        }
        assert_eq!(schedule.alarm(None), now + LONGEST_WAIT);
        schedule.want(Why::Due, now);
        assert!(!schedule.begin(&pc("stable", 1)), "the timer waits");
        schedule.want(Why::Asked, now);
        assert!(schedule.begin(&pc("stable", 1)), "a user does not");
    }
}
