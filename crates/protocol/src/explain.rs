//! A decision in words, for the people of a PC and for its administrator: what, why, how, until when, and by whom.
//!
//! The words come from the very answer that is carried out ([`admit()`](crate::admit())), so they cannot say anything else.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Admission, Decision, Directive, Refusal,
    device::{Device, FailedVersion},
    policy::{DowngradePolicy, UpgradePolicy},
    terms::{self, Whose},
};

/// A decision in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// What is decided: "7.3.0 is required".
    pub what: String,
    /// Why, in the words of whoever decided.
    pub why: String,
    /// How it is carried out, or what it waits for. Empty: there is nothing to carry out.
    #[serde(default)]
    pub how: String,
    /// Until when it stays so, at the latest. `None`: that depends on something else than time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Whose word it follows.
    pub by: Whose,
}

impl Explained {
    /// In one sentence.
    pub fn sentence(&self) -> String {
        let mut sentence = format!("{}: {}", self.what, self.why);
        if !self.how.is_empty() {
            sentence.push_str("; ");
            sentence.push_str(&self.how);
        }
        sentence
    }
}

/// A decision alone: "7.3.0 is required".
pub fn what(decision: &Decision) -> String {
    match decision {
        Decision::Current => "nothing to do".into(),
        Decision::Stage { version } => format!("{version} is wanted later"),
        Decision::Recommended { version } => format!("{version} is recommended"),
        Decision::Required { version, .. } => format!("{version} is required"),
        Decision::Blocked { .. } => "blocked".into(),
        Decision::Hold => "on hold".into(),
    }
}

/// Explains what a device does about a directive, `admission` being the answer of [`admit()`](crate::admit()).
pub fn explain(device: &Device, directive: &Directive, admission: &Admission) -> Explained {
    let (how, until, by) = carried_out(device, directive, admission);
    Explained { what: what(&directive.decision), why: directive.why.clone(), how, until, by }
}

fn carried_out(device: &Device, directive: &Directive, admission: &Admission) -> (String, Option<Timestamp>, Whose) {
    let state = device.product(&directive.product);
    let down = directive.decision.version().zip(state.installed.as_ref()).is_some_and(|(to, from)| to < from);
    let (policy, whose) = policy(device, directive, down);
    let deadline = terms::deadline(directive);
    match admission {
        Admission::Nothing => match &directive.decision {
            Decision::Recommended { version } if state.installed.as_ref() != Some(version) => {
                (format!("by {} policy {policy} it waits until it is necessary", whose.policy_of()), None, whose)
            }
            _ => (String::new(), None, Whose::Site),
        },
        Admission::Stage(_) if matches!(directive.decision, Decision::Stage { .. }) => {
            ("it is made ready beside what runs".into(), None, Whose::Site)
        }
        Admission::Stage(_) => ("it is made ready first".into(), None, Whose::Site),
        Admission::Activate { version, .. } if state.consented.as_ref() == Some(version) => {
            ("the user has agreed; it is activated now and the program restarts".into(), None, Whose::User)
        }
        Admission::Activate { restart, .. } => {
            let how = if *restart {
                "it is activated now and the program restarts"
            } else {
                "it is activated silently and used at the program's next start"
            };
            (format!("by {} policy {policy} {how}", whose.policy_of()), None, whose)
        }
        Admission::AwaitConsent { may_refuse, .. } => {
            let how = if *may_refuse { "the user is asked and may refuse" } else { "the user is asked when" };
            let then = deadline.map_or(String::new(), |at| format!(", until {at:.0}; then it is done without asking"));
            (format!("by {} policy {policy} {how}{then}", whose.policy_of()), deadline, whose)
        }
        Admission::Wait { until, .. } => {
            let (windows, whose) = terms::windows(device, &directive.terms.windows);
            let how = format!(
                "it is ready and waits for {} maintenance window ({windows}), which opens at {until:.0}",
                whose.policy_of()
            );
            // A deadline that comes first ends the wait.
            let until = deadline.map_or(*until, |deadline| deadline.min(*until));
            (how, Some(until), whose)
        }
        Admission::NeedsElevation { .. } => {
            ("an administrator's password is needed, since there is no updater".into(), None, Whose::Machine)
        }
        Admission::Refused(refusal) => refused(&state.failed, refusal),
    }
}

fn policy(device: &Device, directive: &Directive, down: bool) -> (&'static str, Whose) {
    if down {
        let (policy, whose) = terms::downgrade(device, directive.terms.downgrade);
        return (downgrade_name(policy), whose);
    }
    let (policy, whose) = terms::upgrade(device, directive.policy);
    (upgrade_name(policy), whose)
}

fn refused(failed: &[FailedVersion], refusal: &Refusal) -> (String, Option<Timestamp>, Whose) {
    let (until, by) = match refusal {
        Refusal::FailedHere { version, .. } => {
            let failure = failed.iter().find(|f| f.version == *version);
            let until = failure.map(FailedVersion::retry_at);
            let again = until.map_or(String::new(), |at| format!("; it is tried again after {at:.0}"));
            return (format!("{refusal}{again}"), until, Whose::Machine);
        }
        // The server's own words stand in `why` already.
        Refusal::Blocked(_) => return (String::new(), None, Whose::Site),
        Refusal::Held { .. } | Refusal::DiskFull { .. } => (None, Whose::Machine),
        Refusal::NeverDown { whose, .. } => (None, *whose),
        Refusal::NotInCatalog { .. }
        | Refusal::BelowFloor { .. }
        | Refusal::Barrier { .. }
        | Refusal::Withdrawn { .. }
        | Refusal::UpdaterTooOld { .. }
        | Refusal::MetadataExpired { .. } => (None, Whose::Vendor),
    };
    (format!("not done: {refusal}"), until, by)
}

/// The policy's name, the same everywhere.
pub fn upgrade_name(policy: UpgradePolicy) -> &'static str {
    match policy {
        UpgradePolicy::Ask => "ask",
        UpgradePolicy::AskMustAccept => "ask-must-accept",
        UpgradePolicy::Silent => "silent",
        UpgradePolicy::SilentAtStart => "silent-at-start",
        UpgradePolicy::NecessaryAsk => "necessary-ask",
        UpgradePolicy::NecessarySilent => "necessary-silent",
    }
}

/// The policy's name, the same everywhere.
pub fn downgrade_name(policy: DowngradePolicy) -> &'static str {
    match policy {
        DowngradePolicy::Ask => "ask",
        DowngradePolicy::Silent => "silent",
        DowngradePolicy::Never => "never",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policys_name_is_the_one_in_files_and_messages() {
        for policy in UpgradePolicy::ALL {
            assert_eq!(serde_json::to_value(policy).unwrap(), upgrade_name(policy));
        }
        for policy in DowngradePolicy::ALL {
            assert_eq!(serde_json::to_value(policy).unwrap(), downgrade_name(policy));
        }
    }
}
