//! What the updater does about one product, as a pure state machine: events in, effects out.
//!
//! What should be done is decided by [`protocol::admit()`]; this machine keeps track of how far it has got. It reads no
//! clock and touches no file: the driver does that, and tells it what came of it. Each transition is a method
//! that accepts the states it makes sense in and no other ([`Misplaced`]). The drawing in
//! `docs/dev/updater-machine.md` is checked against [`TRANSITIONS`] by a test, and the table against the code.

use jiff::{SignedDuration, Timestamp};
use protocol::{Admission, Refusal, Version, catalog::Entry, device::DeviceState};

mod table;
#[cfg(test)]
mod tests;
pub use table::{Event, Phase, TRANSITIONS};

/// Where one product stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing to do, or nothing that can be done; `problem` says what stands in the way.
    Idle {
        /// What the server or the device itself objects to.
        problem: Option<String>,
    },
    /// Fetching, verifying, unpacking.
    Staging {
        /// What.
        entry: Box<Entry>,
        /// Attempts that failed before this one.
        failures: u32,
    },
    /// Complete beside the running version, and waiting for its time.
    Staged {
        /// Which one.
        version: Version,
    },
    /// Complete, and waiting for the user's consent.
    AwaitingConsent {
        /// Which one.
        version: Version,
        /// Whether "no" is an answer.
        may_refuse: bool,
    },
    /// The link is being switched.
    Activating {
        /// To which version.
        version: Version,
        /// From which one.
        previous: Option<Version>,
        /// Whether a running program is told to restart once the new version is found healthy.
        restart: bool,
        /// Attempts that failed before this one.
        failures: u32,
    },
    /// Switched; the health rule is being checked.
    Confirming {
        /// The new version.
        version: Version,
        /// The one before it.
        previous: Option<Version>,
        /// As in [`State::Activating`].
        restart: bool,
        /// Why that cannot be told yet, in words.
        doubt: Option<String>,
    },
    /// The health rule failed; the link is being switched back.
    RollingBack {
        /// The version that failed.
        version: Version,
        /// The one to return to. `None`: there was none.
        to: Option<Version>,
        /// Why it failed, in words.
        reason: String,
        /// Attempts to switch back that failed.
        failures: u32,
    },
    /// Switched back.
    RolledBack {
        /// The version that failed.
        version: Version,
        /// Why, in words.
        reason: String,
    },
    /// An attempt failed before anything was switched.
    Failed {
        /// Which version was meant.
        version: Version,
        /// Why, in words.
        reason: String,
        /// Attempts that failed in a row.
        failures: u32,
        /// Not before then again.
        retry_at: Timestamp,
    },
}

/// What the driver carries out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Fetch, verify and unpack.
    Stage(Box<Entry>),
    /// Give up staging.
    StopStaging,
    /// Switch the link.
    Activate {
        /// To which version.
        version: Version,
        /// From which one.
        previous: Option<Version>,
        /// Whether a running program will be told to restart.
        restart: bool,
    },
    /// Check the health rule of the version that is now active.
    CheckHealth {
        /// Which one.
        version: Version,
    },
    /// Remember durably that a version is broken here, then switch back.
    RollBack {
        /// The broken version.
        version: Version,
        /// The one to return to. `None`: to none at all.
        to: Option<Version>,
        /// Why, in words.
        reason: String,
    },
    /// The switch is final: remember it, and tell running programs to restart if so said.
    Settle {
        /// The active version.
        version: Version,
        /// The one that is kept until the new one is confirmed.
        previous: Option<Version>,
        /// Whether running programs are told.
        restart: bool,
    },
}

/// The next state, and what to do on the way.
pub type Step = (State, Vec<Effect>);

/// An event that makes no sense in a state: an error of this program, never of the outside world.
#[derive(Debug, thiserror::Error)]
#[error("{event:?} cannot happen in {phase:?}")]
pub struct Misplaced {
    /// The state.
    pub phase: Phase,
    /// The event.
    pub event: Event,
}

/// Seconds before the second attempt at staging; doubled with each that fails.
const RETRY_SECONDS: i64 = 5;
/// Doublings; the wait never exceeds `5 s * 2^9`, about 43 minutes.
const RETRY_DOUBLINGS: u32 = 9;

impl Default for State {
    fn default() -> Self {
        Self::Idle { problem: None }
    }
}

impl State {
    /// What a product does after a start of the service, from what recovery found.
    pub fn recovered(found: Recovered) -> Step {
        match found {
            Recovered::Quiet => (Self::default(), vec![]),
            Recovered::Broken { version, reason } => (Self::RolledBack { version, reason }, vec![]),
            Recovered::Switched { version, previous, restart } => {
                let check = Effect::CheckHealth { version: version.clone() };
                (Self::Confirming { version, previous, restart, doubt: None }, vec![check])
            }
            Recovered::BrokenActive { version, to, reason } => roll_back(version, to, reason, 0),
        }
    }

    /// The device has decided what to make of the server's directive. `ready` is the staged version that the
    /// directive speaks of, `installed` the active one.
    ///
    /// # Errors
    /// [`Misplaced`] while a switch is under way: the driver finishes that first.
    pub fn directed(
        self,
        admission: Admission,
        ready: Option<Version>,
        installed: Option<Version>,
        now: Timestamp,
    ) -> Result<Step, Misplaced> {
        match self {
            Self::Activating { .. } | Self::Confirming { .. } | Self::RollingBack { .. } => {
                Err(self.misplaced(Event::Directed))
            }
            Self::Staging { entry, failures } => match admission {
                Admission::Stage(wanted) if *wanted == *entry => Ok((Self::Staging { entry, failures }, vec![])),
                // There was room enough at the start, and what is missing now is what this very staging has taken.
                Admission::Refused(Refusal::DiskFull { .. }) => Ok((Self::Staging { entry, failures }, vec![])),
                other => {
                    let (state, mut effects) = settle(other, ready, installed, 0);
                    effects.insert(0, Effect::StopStaging);
                    Ok((state, effects))
                }
            },
            Self::Failed { version, reason, failures, retry_at } => match admission {
                Admission::Stage(wanted) if wanted.release.version == version && now < retry_at => {
                    Ok((Self::Failed { version, reason, failures, retry_at }, vec![]))
                }
                Admission::Activate { version: wanted, .. } if wanted == version && now < retry_at => {
                    Ok((Self::Failed { version, reason, failures, retry_at }, vec![]))
                }
                other => Ok(settle(other, ready, installed, failures)),
            },
            Self::RolledBack { version, reason } => match admission {
                // Anything else that stands in the way is news, and must not be hidden behind the old failure.
                Admission::Nothing | Admission::Refused(Refusal::Blocked(_)) if ready.is_none() => {
                    Ok((Self::RolledBack { version, reason }, vec![]))
                }
                other => Ok(settle(other, ready, installed, 0)),
            },
            Self::Idle { .. } | Self::Staged { .. } | Self::AwaitingConsent { .. } => {
                Ok(settle(admission, ready, installed, 0))
            }
        }
    }

    /// The version is complete beside the running one.
    ///
    /// # Errors
    /// [`Misplaced`] when nothing is being staged.
    pub fn staged(self) -> Result<Step, Misplaced> {
        match self {
            Self::Staging { entry, .. } => Ok((Self::Staged { version: entry.release.version }, vec![])),
            other => Err(other.misplaced(Event::Staged)),
        }
    }

    /// Fetching, verifying or unpacking failed. Nothing has changed on the machine.
    ///
    /// # Errors
    /// [`Misplaced`] when nothing is being staged.
    pub fn stage_failed(self, reason: String, now: Timestamp) -> Result<Step, Misplaced> {
        match self {
            Self::Staging { entry, failures } => Ok(failed(entry.release.version, reason, failures + 1, now)),
            other => Err(other.misplaced(Event::StageFailed)),
        }
    }

    /// The link points to the new version, durably.
    ///
    /// # Errors
    /// [`Misplaced`] when nothing is being activated.
    pub fn activated(self) -> Result<Step, Misplaced> {
        match self {
            Self::Activating { version, previous, restart, .. } => {
                let check = Effect::CheckHealth { version: version.clone() };
                Ok((Self::Confirming { version, previous, restart, doubt: None }, vec![check]))
            }
            other => Err(other.misplaced(Event::Activated)),
        }
    }

    /// The link could not be switched; it still points to the old version.
    ///
    /// # Errors
    /// [`Misplaced`] when nothing is being activated.
    pub fn activation_failed(self, reason: String, now: Timestamp) -> Result<Step, Misplaced> {
        match self {
            Self::Activating { version, failures, .. } => Ok(failed(version, reason, failures + 1, now)),
            other => Err(other.misplaced(Event::ActivationFailed)),
        }
    }

    /// The new version keeps its health rule.
    ///
    /// # Errors
    /// [`Misplaced`] when no health rule is being checked.
    pub fn healthy(self) -> Result<Step, Misplaced> {
        match self {
            Self::Confirming { version, previous, restart, .. } => {
                Ok((Self::default(), vec![Effect::Settle { version, previous, restart }]))
            }
            other => Err(other.misplaced(Event::Healthy)),
        }
    }

    /// Whether the new version keeps its health rule cannot be told at the moment; it is checked again.
    ///
    /// # Errors
    /// [`Misplaced`] when no health rule is being checked.
    pub fn undecided(self, why: String) -> Result<Step, Misplaced> {
        match self {
            Self::Confirming { version, previous, restart, .. } => {
                Ok((Self::Confirming { version, previous, restart, doubt: Some(why) }, vec![]))
            }
            other => Err(other.misplaced(Event::Undecided)),
        }
    }

    /// The new version breaks its health rule.
    ///
    /// # Errors
    /// [`Misplaced`] when no health rule is being checked.
    pub fn unhealthy(self, reason: String) -> Result<Step, Misplaced> {
        match self {
            Self::Confirming { version, previous, .. } => Ok(roll_back(version, previous, reason, 0)),
            other => Err(other.misplaced(Event::Unhealthy)),
        }
    }

    /// The link points to the old version again, durably.
    ///
    /// # Errors
    /// [`Misplaced`] when nothing is being rolled back.
    pub fn rolled_back(self) -> Result<Step, Misplaced> {
        match self {
            Self::RollingBack { version, reason, .. } => Ok((Self::RolledBack { version, reason }, vec![])),
            other => Err(other.misplaced(Event::RolledBack)),
        }
    }

    /// The link could not be switched back: the driver tries again at its next pass.
    ///
    /// # Errors
    /// [`Misplaced`] when nothing is being rolled back.
    pub fn roll_back_failed(self) -> Result<Step, Misplaced> {
        match self {
            Self::RollingBack { version, to, reason, failures } => {
                Ok((Self::RollingBack { version, to, reason, failures: failures + 1 }, vec![]))
            }
            other => Err(other.misplaced(Event::RollBackFailed)),
        }
    }

    /// The effect that an unfinished roll-back needs, for another attempt.
    pub fn unfinished(&self) -> Option<Effect> {
        match self {
            Self::RollingBack { version, to, reason, .. } => {
                Some(Effect::RollBack { version: version.clone(), to: to.clone(), reason: reason.clone() })
            }
            _ => None,
        }
    }

    /// When the driver should look again without being woken.
    pub fn retry_at(&self) -> Option<Timestamp> {
        match self {
            Self::Failed { retry_at, .. } => Some(*retry_at),
            _ => None,
        }
    }

    /// The same state in the vocabulary of check-ins and consoles.
    pub fn device_state(&self) -> DeviceState {
        match self {
            Self::Idle { .. } => DeviceState::Idle,
            Self::Staging { .. } => DeviceState::Staging,
            Self::Staged { .. } => DeviceState::Staged,
            Self::AwaitingConsent { .. } => DeviceState::AwaitingConsent,
            Self::Activating { .. } => DeviceState::Activating,
            Self::Confirming { .. } | Self::RollingBack { .. } => DeviceState::Confirming,
            Self::RolledBack { .. } => DeviceState::RolledBack,
            Self::Failed { .. } => DeviceState::Failed,
        }
    }

    /// What is going on or went wrong, in words for the administrator. `None`: nothing worth a word.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Idle { problem } => problem.clone(),
            Self::Staging { entry, failures: 0 } => Some(format!("fetching {}", entry.release.version)),
            Self::Staging { entry, failures } => {
                Some(format!("fetching {}, attempt {}", entry.release.version, failures + 1))
            }
            Self::Staged { version } => Some(format!("{version} is verified and ready")),
            Self::AwaitingConsent { version, may_refuse: true } => {
                Some(format!("{version} is ready; the user is asked and may refuse"))
            }
            Self::AwaitingConsent { version, may_refuse: false } => {
                Some(format!("{version} is ready; the user is asked when"))
            }
            Self::Activating { version, .. } => Some(format!("switching to {version}")),
            Self::Confirming { version, doubt: None, .. } => Some(format!("checking that {version} works here")),
            Self::Confirming { version, doubt: Some(why), .. } => {
                Some(format!("whether {version} works here cannot be told yet: {why}"))
            }
            Self::RollingBack { version, reason, .. } => Some(format!("leaving {version}: {reason}")),
            Self::RolledBack { version, reason } => Some(format!("{version} was rolled back: {reason}")),
            Self::Failed { version, reason, failures, .. } => {
                let times = if *failures == 1 { String::new() } else { format!(" {failures} times") };
                Some(format!("{version} could not be made ready{times}: {reason}"))
            }
        }
    }

    fn misplaced(&self, event: Event) -> Misplaced {
        Misplaced { phase: Phase::of(self), event }
    }
}

/// What recovery found of one product when the service started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// Nothing was under way.
    Quiet,
    /// Nothing was under way, and the last switch had been rolled back.
    Broken {
        /// The version that failed.
        version: Version,
        /// Why.
        reason: String,
    },
    /// The link had been switched, but the new version's health was not known yet.
    Switched {
        /// The version that is active.
        version: Version,
        /// The one before it.
        previous: Option<Version>,
        /// Whether running programs are to be told.
        restart: bool,
    },
    /// The active version is known to be broken: the roll-back had not happened yet.
    BrokenActive {
        /// The version that is active and broken.
        version: Version,
        /// The one to return to.
        to: Option<Version>,
        /// Why.
        reason: String,
    },
}

fn settle(admission: Admission, ready: Option<Version>, installed: Option<Version>, failures: u32) -> Step {
    match admission {
        Admission::Nothing | Admission::Wait { .. } | Admission::NeedsElevation { .. } => match ready {
            Some(version) => (State::Staged { version }, vec![]),
            None => (State::default(), vec![]),
        },
        Admission::Stage(entry) => (State::Staging { entry: entry.clone(), failures }, vec![Effect::Stage(entry)]),
        Admission::Activate { version, restart } => {
            let previous = installed;
            let effect = Effect::Activate { version: version.clone(), previous: previous.clone(), restart };
            (State::Activating { version, previous, restart, failures }, vec![effect])
        }
        Admission::AwaitConsent { version, may_refuse } => (State::AwaitingConsent { version, may_refuse }, vec![]),
        Admission::Refused(Refusal::FailedHere { version, reason }) => (State::RolledBack { version, reason }, vec![]),
        Admission::Refused(refusal) => (State::Idle { problem: Some(refusal.to_string()) }, vec![]),
    }
}

fn failed(version: Version, reason: String, failures: u32, now: Timestamp) -> Step {
    let wait = RETRY_SECONDS << (failures.saturating_sub(1)).min(RETRY_DOUBLINGS);
    let retry_at = now.checked_add(SignedDuration::from_secs(wait)).unwrap_or(Timestamp::MAX);
    (State::Failed { version, reason, failures, retry_at }, vec![])
}

fn roll_back(version: Version, to: Option<Version>, reason: String, failures: u32) -> Step {
    let effect = Effect::RollBack { version: version.clone(), to: to.clone(), reason: reason.clone() };
    (State::RollingBack { version, to, reason, failures }, vec![effect])
}
