//! How the installer stands, for people: in the status, the notices and the console.

use jiff::Timestamp;
use protocol::Version;
use serde::{Deserialize, Serialize};

use super::policy::{Attempt, Outcome};
use crate::words::HERE;

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// What it needs is being fetched and verified.
    Preparing,
    /// All that it needs is here, for when it will be needed.
    Ready,
    /// It runs; the administrator's password is being asked for, if need be.
    Asking,
    /// It was refused, or not permitted.
    Refused,
    /// It could not be started, or could not finish.
    Failed,
    /// The policy wants the user's word, which is `lockstep-connector upgrade`.
    WaitsForUser,
    /// It is done; the installed program takes over.
    Installed,
}

/// How the installer stands on a PC without an updater. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installer {
    /// Where it is.
    pub stage: Stage,
    /// What it is to install.
    pub version: Option<Version>,
    /// Since when; for a refusal, when it was refused.
    pub at: Timestamp,
    /// When it is tried again by itself.
    pub next: Option<Timestamp>,
    /// Why, in words.
    pub detail: Option<String>,
}

impl Installer {
    /// After an attempt that did not install anything.
    pub fn after(attempt: &Attempt, next: Option<Timestamp>) -> Self {
        Self {
            stage: match attempt.outcome {
                Outcome::Refused | Outcome::NotAuthorised => Stage::Refused,
                Outcome::Failed => Stage::Failed,
            },
            version: Some(attempt.version.clone()),
            at: attempt.at,
            next,
            detail: Some(attempt.detail.clone()).filter(|detail| !detail.is_empty()),
        }
    }

    /// One sentence, without its full stop.
    pub fn words(&self) -> String {
        let version = self.version.as_ref().map(|version| format!(" of {version}")).unwrap_or_default();
        let why = self.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        match self.stage {
            Stage::Preparing => format!("The installation{version} is being prepared{why}"),
            Stage::Ready => format!("The installation{version} is prepared"),
            Stage::Asking => format!("The installation{version} is asking for the administrator's password"),
            Stage::Refused => format!("The installation{version} was not permitted{why}"),
            Stage::Failed => format!("The installation{version} failed{why}"),
            Stage::WaitsForUser => {
                format!("The installation{version} is prepared and waits for you; to go on, {}", HERE.upgrade)
            }
            Stage::Installed => format!("The installation{version} is done"),
        }
    }

    /// For the administrator: what happened, since when, and when it is tried again.
    pub fn report(&self) -> String {
        let again = self.next.map(|next| format!("; tried again on {next:.0}")).unwrap_or_default();
        format!("no updater; {} ({:.0}){again}", lower(&self.words()), self.at)
    }
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
