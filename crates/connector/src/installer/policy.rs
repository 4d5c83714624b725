//! When the administrator's password is asked for on a PC without an updater. Pure.
//!
//! ```text
//!  asked by the user ──────────────────────────────────► ask
//!  the same version was refused, or failed, lately ────► wait
//!  nobody would be asked (the user administrates) ─────► quietly, unless the policy wants a word of the user first
//!  required ───────────────────────────────────────────► ask
//!  recommended ────────────────────────────────────────► ask where the policy asks for such upgrades, else not at all
//! ```

use std::time::Duration;

use jiff::Timestamp;
use protocol::{
    Version,
    policy::{Timing, UpgradePolicy},
};
use serde::{Deserialize, Serialize};

/// What became of an attempt that did not install anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The prompt was dismissed, or nobody answered it.
    Refused,
    /// A wrong password, or a user whom the system does not let do it.
    NotAuthorised,
    /// Permitted, or never asked, and then something went wrong.
    #[serde(other)]
    Failed,
}

/// The last attempt that did not install anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What was to be installed.
    pub version: Version,
    /// When it ended.
    pub at: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// Why, in words.
    #[serde(default)]
    pub detail: String,
}

/// All that the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The site's policy, or the machine's.
    pub policy: UpgradePolicy,
    /// What is to be installed.
    pub version: &'a Version,
    /// Whether the running version cannot work with the mail server.
    pub necessary: bool,
    /// Whether the system would ask for no password.
    pub quiet: bool,
    /// What happened before.
    pub last: Option<&'a Attempt>,
    /// The user says: now.
    pub by_user: bool,
    /// The site's own word on how long a refusal counts; else the policy says.
    pub ask_again: Option<Duration>,
    /// The time.
    pub now: Timestamp,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Start the installer; the system asks for the administrator's password.
    Ask,
    /// Start the installer; nobody is asked anything.
    AskQuietly,
    /// Not before then.
    WaitUntil(Timestamp),
    /// When the user says so: the policy asks, and the system would not.
    OnUsersWord,
    /// Not at all.
    Never,
}

/// Something that failed, rather than having been refused, is tried again at least this often.
const AFTER_FAILURE: Duration = Duration::from_secs(3600);

/// Decides.
pub fn decide(question: &Question<'_>) -> Answer {
    if question.by_user {
        return Answer::Ask;
    }
    let timing = question.policy.timing(question.necessary);
    let wanted = match timing {
        Timing::NotNow => false,
        Timing::AskFirst { .. } => true,
        Timing::Now { .. } => question.necessary || question.quiet,
    };
    if !wanted {
        return Answer::Never;
    }
    if let Some(until) = still_counts(question) {
        return Answer::WaitUntil(until);
    }
    match (question.quiet, timing) {
        (true, Timing::AskFirst { .. }) => Answer::OnUsersWord,
        (true, _) => Answer::AskQuietly,
        (false, _) => Answer::Ask,
    }
}

/// Until when the last attempt speaks against another one. One of another version does not, nor does one that lies in the
/// future, which only a wrong clock can have noted.
fn still_counts(question: &Question<'_>) -> Option<Timestamp> {
    let last = question.last.filter(|last| last.version == *question.version && last.at <= question.now)?;
    let refusal = question.ask_again.unwrap_or_else(|| question.policy.ask_again_after());
    let wait = match last.outcome {
        Outcome::Refused | Outcome::NotAuthorised => refusal,
        Outcome::Failed => refusal.min(AFTER_FAILURE),
    };
    let until = last.at.checked_add(wait).unwrap_or(Timestamp::MAX);
    (until > question.now).then_some(until)
}

#[cfg(test)]
mod tests {
    use UpgradePolicy::*;

    use super::*;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn attempt(version: &str, seconds_ago: i64, outcome: Outcome) -> Attempt {
        Attempt { version: version.parse().unwrap(), at: at(100 * DAY - seconds_ago), outcome, detail: String::new() }
    }

    fn answer(policy: UpgradePolicy, necessary: bool, quiet: bool, last: Option<&Attempt>) -> Answer {
        let version = "7.3.0".parse().unwrap();
        let now = at(100 * DAY);
        decide(&Question { policy, version: &version, necessary, quiet, last, by_user: false, ask_again: None, now })
    }

    #[test]
    fn each_policy_asks_for_what_it_asks_for_and_is_silent_only_where_nobody_would_be_asked() {
        use Answer::*;
        // (policy, necessary: with a password, without one; recommended: with a password, without one)
        for (policy, expected) in [
            (UpgradePolicy::Ask, [Answer::Ask, OnUsersWord, Answer::Ask, OnUsersWord]),
            (AskMustAccept, [Answer::Ask, OnUsersWord, Answer::Ask, OnUsersWord]),
            (Silent, [Answer::Ask, AskQuietly, Never, AskQuietly]),
            (SilentAtStart, [Answer::Ask, AskQuietly, Never, AskQuietly]),
            (NecessaryAsk, [Answer::Ask, OnUsersWord, Never, Never]),
            (NecessarySilent, [Answer::Ask, AskQuietly, Never, Never]),
        ] {
            let got = [(true, false), (true, true), (false, false), (false, true)]
                .map(|(necessary, quiet)| answer(policy, necessary, quiet, None));
            assert_eq!(got, expected, "{policy:?}");
        }
    }

    #[test]
    fn a_refusal_counts_as_long_as_the_policy_says() {
        for (policy, seconds) in [(AskMustAccept, HOUR), (SilentAtStart, DAY), (NecessarySilent, 7 * DAY)] {
            for outcome in [Outcome::Refused, Outcome::NotAuthorised] {
                let just_before = attempt("7.3.0", seconds - 1, outcome);
                let waiting = Answer::WaitUntil(at(100 * DAY + 1));
                assert_eq!(answer(policy, true, false, Some(&just_before)), waiting, "{policy:?}");
                assert_eq!(answer(policy, true, true, Some(&just_before)), waiting, "{policy:?}, quiet");
                let after = attempt("7.3.0", seconds, outcome);
                assert_eq!(answer(policy, true, false, Some(&after)), Answer::Ask, "{policy:?}");
            }
        }
        let failed = attempt("7.3.0", HOUR, Outcome::Failed);
        assert_eq!(answer(NecessarySilent, true, false, Some(&failed)), Answer::Ask, "a failure is tried again sooner");
    }

    #[test]
    fn a_new_version_the_user_and_a_mended_clock_ask_at_once() {
        let other = attempt("7.2.9", 5, Outcome::Refused);
        assert_eq!(answer(SilentAtStart, true, false, Some(&other)), Answer::Ask);
        let future = attempt("7.3.0", -10 * DAY, Outcome::Refused);
        assert_eq!(answer(SilentAtStart, true, false, Some(&future)), Answer::Ask);

        let (version, last) = ("7.3.0".parse().unwrap(), attempt("7.3.0", 5, Outcome::Refused));
        let asked = Question {
            policy: NecessarySilent,
            version: &version,
            necessary: false,
            quiet: false,
            last: Some(&last),
            by_user: true,
            ask_again: None,
            now: at(100 * DAY),
        };
        assert_eq!(decide(&asked), Answer::Ask);
    }

    #[test]
    fn the_sites_word_on_how_often_goes_before_the_policys() {
        let (version, last) = ("7.3.0".parse().unwrap(), attempt("7.3.0", 60, Outcome::Refused));
        let question = |seconds| Question {
            policy: SilentAtStart,
            version: &version,
            necessary: true,
            quiet: false,
            last: Some(&last),
            by_user: false,
            ask_again: Some(Duration::from_secs(seconds)),
            now: at(100 * DAY),
        };
        assert_eq!(decide(&question(60)), Answer::Ask);
        assert_eq!(decide(&question(90)), Answer::WaitUntil(at(100 * DAY + 30)));
    }
}
