//! Changes that the mail server has trouble with, so that one of them does not hold up all others.
//!
//! A change at which the connection breaks again and again (a message that the mail server cannot digest) is set aside and
//! tried again ever more rarely. An upload that is refused (a full mailbox) is not repeated at every occasion either.
//! Kept in memory: a restart tries everything anew.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// So often in a row the connection may break at a change before the change is set aside.
pub(super) const BREAKS: u32 = 3;

/// How long a change rests that was set aside for the first time; each time twice as long, up to [`LONGEST_ASIDE`].
const ASIDE: Duration = Duration::from_secs(5 * 60);
const LONGEST_ASIDE: Duration = Duration::from_secs(6 * 3600);

/// The same for one that was refused.
const REFUSED: Duration = Duration::from_secs(60);
const LONGEST_REFUSED: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
struct Trouble {
    /// How often in a row the connection broke at it.
    breaks: u32,
    /// How often in a row it was refused.
    refusals: u32,
    rests_until: Option<Instant>,
    why: String,
}

/// Troubles by the change's number in the journal.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    of: HashMap<i64, Trouble>,
    under_way: Option<i64>,
}

impl Troubles {
    /// Why a change is not to be tried yet; `None` if it is.
    pub(super) fn resting(&self, seq: i64, now: Instant) -> Option<&str> {
        let trouble = self.of.get(&seq)?;
        trouble.rests_until.is_some_and(|until| now < until).then_some(trouble.why.as_str())
    }

    /// A change begins.
    pub(super) fn begins(&mut self, seq: i64) {
        self.under_way = Some(seq);
    }

    /// It ended well, or waits for another one.
    pub(super) fn ended(&mut self, seq: i64) {
        self.under_way = None;
        self.of.remove(&seq);
    }

    /// It was refused, and has something to upload.
    pub(super) fn refused(&mut self, seq: i64, why: &str, now: Instant) {
        self.under_way = None;
        let trouble = self.of.entry(seq).or_default();
        trouble.breaks = 0;
        trouble.rest(REFUSED, LONGEST_REFUSED, trouble.refusals, why, now);
        trouble.refusals += 1;
    }

    /// The connection broke. Gives the change that is set aside by that, if one was under way and it was not the first
    /// time.
    pub(super) fn broke(&mut self, why: &str, now: Instant) -> Option<i64> {
        let seq = self.under_way.take()?;
        let trouble = self.of.entry(seq).or_default();
        trouble.breaks += 1;
        let beyond = trouble.breaks.checked_sub(BREAKS)?;
        trouble.rest(ASIDE, LONGEST_ASIDE, beyond, why, now);
        Some(seq)
    }

    /// The session ended for another reason: the gate closed, the settings changed.
    pub(super) fn interrupted(&mut self) {
        self.under_way = None;
    }
}

impl Trouble {
    fn rest(&mut self, first: Duration, longest: Duration, before: u32, why: &str, now: Instant) {
        let pause = first.saturating_mul(1 << before.min(16)).min(longest);
        self.rests_until = Some(now + pause);
        self.why = why.to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_at_which_the_connection_breaks_is_set_aside_ever_longer_and_the_others_are_not() {
        let (mut troubles, mut now) = (Troubles::default(), Instant::now());
        for _ in 1..BREAKS {
            troubles.begins(7);
            assert_eq!(troubles.broke("cut", now), None);
            assert_eq!(troubles.resting(7, now), None, "a line may just be bad");
        }
        for pause in [ASIDE, ASIDE * 2, ASIDE * 4] {
            troubles.begins(7);
            assert_eq!(troubles.broke("cut", now), Some(7));
            assert_eq!(troubles.resting(7, now + pause - Duration::from_secs(1)), Some("cut"));
            assert_eq!(troubles.resting(8, now), None);
            now += pause;
            assert_eq!(troubles.resting(7, now), None);
        }
        troubles.begins(7);
        troubles.ended(7);
        assert_eq!(troubles.broke("cut", now), None, "nothing was under way");
    }

    #[test]
    fn a_refused_upload_rests_and_a_closed_gate_is_nobodys_fault() {
        let (mut troubles, mut now) = (Troubles::default(), Instant::now());
        for pause in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
            troubles.begins(7);
            troubles.refused(7, "full", now);
            assert_eq!(troubles.resting(7, now + Duration::from_secs(pause - 1)), Some("full"));
            now += Duration::from_secs(pause);
            assert_eq!(troubles.resting(7, now), None);
        }
        for _ in 0..5 {
            troubles.begins(8);
            troubles.interrupted();
            assert_eq!(troubles.broke("cut", now), None);
        }
    }
}
