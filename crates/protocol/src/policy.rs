//! The six upgrade policies and the downgrade policy: when and how a decision is carried out. Whose policy counts is in
//! [`crate::terms`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When and how an upgrade is carried out, strictest wish of the user last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpgradePolicy {
    /// Ask; the user may refuse.
    Ask,
    /// Ask; the user may choose the moment, not whether.
    AskMustAccept,
    /// Upgrade and restart the program at once, without asking.
    Silent,
    /// Switch silently and let the program pick it up at its next start; a program that can no longer
    /// work with its server is restarted at once, since waiting would only keep it cut off.
    #[default]
    SilentAtStart,
    /// Only when the server requires it, and then ask.
    NecessaryAsk,
    /// Only when the server requires it, and then silently.
    NecessarySilent,
}

/// What a policy makes of an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// Activate; restart the running program if so said, else it goes on with the old version until its next start.
    Now {
        /// Whether a running program is told to restart.
        restart: bool,
    },
    /// Wait for the user's consent.
    AskFirst {
        /// Whether "no" is an answer.
        may_refuse: bool,
    },
    /// Do not upgrade until it is necessary.
    NotNow,
}

impl UpgradePolicy {
    /// All of them, in the order of the manual.
    pub const ALL: [Self; 6] =
        [Self::Ask, Self::AskMustAccept, Self::Silent, Self::SilentAtStart, Self::NecessaryAsk, Self::NecessarySilent];

    /// What to do with an upgrade that the server requires (`necessary`) or merely recommends.
    pub fn timing(self, necessary: bool) -> Timing {
        match self {
            Self::Ask => Timing::AskFirst { may_refuse: true },
            Self::AskMustAccept => Timing::AskFirst { may_refuse: false },
            Self::Silent => Timing::Now { restart: true },
            Self::SilentAtStart => Timing::Now { restart: necessary },
            Self::NecessaryAsk if necessary => Timing::AskFirst { may_refuse: false },
            Self::NecessarySilent if necessary => Timing::Now { restart: true },
            Self::NecessaryAsk | Self::NecessarySilent => Timing::NotNow,
        }
    }

    /// How long a refused prompt for the administrator's password is not shown again, on a PC without an updater. There a
    /// "silent" policy cannot be silent, so it asks seldom; a policy that lets the user choose the moment, not whether,
    /// asks more often.
    pub fn ask_again_after(self) -> Duration {
        const HOUR: Duration = Duration::from_secs(3600);
        match self {
            Self::AskMustAccept => HOUR,
            Self::Ask | Self::Silent | Self::SilentAtStart => 24 * HOUR,
            Self::NecessaryAsk | Self::NecessarySilent => 7 * 24 * HOUR,
        }
    }
}

/// How a downgrade is carried out that the vendor permits: a server that was rolled back takes its clients with it, or the
/// vendor has withdrawn what is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DowngradePolicy {
    /// Ask; the user may choose the moment until the deadline.
    Ask,
    /// Without asking, at once.
    #[default]
    Silent,
    /// Never: the machine stays where it is, cut off if need be.
    Never,
}

impl DowngradePolicy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ask, Self::Silent, Self::Never];

    /// What to do with a permitted downgrade; `None`: it is not carried out at all.
    pub fn timing(self) -> Option<Timing> {
        match self {
            Self::Ask => Some(Timing::AskFirst { may_refuse: false }),
            Self::Silent => Some(Timing::Now { restart: true }),
            Self::Never => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_says_when_and_how() {
        use UpgradePolicy::*;
        let ask = |may_refuse| Timing::AskFirst { may_refuse };
        let now = |restart| Timing::Now { restart };
        for (policy, necessary, recommended) in [
            (Ask, ask(true), ask(true)),
            (AskMustAccept, ask(false), ask(false)),
            (Silent, now(true), now(true)),
            (SilentAtStart, now(true), now(false)),
            (NecessaryAsk, ask(false), Timing::NotNow),
            (NecessarySilent, now(true), Timing::NotNow),
        ] {
            assert_eq!(policy.timing(true), necessary, "{policy:?}");
            assert_eq!(policy.timing(false), recommended, "{policy:?}");
        }
    }
}
