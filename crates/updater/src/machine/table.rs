//! The machine's transitions as a table, for people: the drawing in the documentation is checked against it, and it
//! is checked against the machine.

use super::State;

/// A state without what is inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names of the states of the machine")]
pub enum Phase {
    Idle,
    Staging,
    Staged,
    AwaitingConsent,
    Activating,
    Confirming,
    RollingBack,
    RolledBack,
    Failed,
}

impl Phase {
    /// The phase of a state.
    pub fn of(state: &State) -> Self {
        match state {
            State::Idle { .. } => Self::Idle,
            State::Staging { .. } => Self::Staging,
            State::Staged { .. } => Self::Staged,
            State::AwaitingConsent { .. } => Self::AwaitingConsent,
            State::Activating { .. } => Self::Activating,
            State::Confirming { .. } => Self::Confirming,
            State::RollingBack { .. } => Self::RollingBack,
            State::RolledBack { .. } => Self::RolledBack,
            State::Failed { .. } => Self::Failed,
        }
    }
}

/// An event without what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names of the machine's methods")]
pub enum Event {
    Directed,
    Staged,
    StageFailed,
    Activated,
    ActivationFailed,
    Healthy,
    Undecided,
    Unhealthy,
    RolledBack,
    RollBackFailed,
}

use Event as E;
use Phase as P;

/// Every transition there is; all others are refused. Those that stay where they are for lack of anything to do are
/// left out of the drawing and of this table.
pub const TRANSITIONS: &[(Phase, Event, Phase)] = &[
    (P::Idle, E::Directed, P::Staging),
    (P::Idle, E::Directed, P::Staged),
    (P::Idle, E::Directed, P::AwaitingConsent),
    (P::Idle, E::Directed, P::Activating),
    (P::Idle, E::Directed, P::RolledBack),
    (P::Staging, E::Staged, P::Staged),
    (P::Staging, E::StageFailed, P::Failed),
    (P::Staging, E::Directed, P::Idle),
    (P::Staging, E::Directed, P::Staged),
    (P::Staging, E::Directed, P::AwaitingConsent),
    (P::Staging, E::Directed, P::Activating),
    (P::Staging, E::Directed, P::RolledBack),
    (P::Staged, E::Directed, P::Idle),
    (P::Staged, E::Directed, P::Staging),
    (P::Staged, E::Directed, P::AwaitingConsent),
    (P::Staged, E::Directed, P::Activating),
    (P::Staged, E::Directed, P::RolledBack),
    (P::AwaitingConsent, E::Directed, P::Idle),
    (P::AwaitingConsent, E::Directed, P::Staging),
    (P::AwaitingConsent, E::Directed, P::Staged),
    (P::AwaitingConsent, E::Directed, P::Activating),
    (P::AwaitingConsent, E::Directed, P::RolledBack),
    (P::Activating, E::Activated, P::Confirming),
    (P::Activating, E::ActivationFailed, P::Failed),
    (P::Confirming, E::Healthy, P::Idle),
    (P::Confirming, E::Unhealthy, P::RollingBack),
    (P::RollingBack, E::RolledBack, P::RolledBack),
    (P::RolledBack, E::Directed, P::Staging),
    (P::RolledBack, E::Directed, P::Staged),
    (P::RolledBack, E::Directed, P::AwaitingConsent),
    (P::RolledBack, E::Directed, P::Activating),
    (P::RolledBack, E::Directed, P::Idle),
    (P::Failed, E::Directed, P::Idle),
    (P::Failed, E::Directed, P::Staging),
    (P::Failed, E::Directed, P::Staged),
    (P::Failed, E::Directed, P::AwaitingConsent),
    (P::Failed, E::Directed, P::Activating),
    (P::Failed, E::Directed, P::RolledBack),
];
