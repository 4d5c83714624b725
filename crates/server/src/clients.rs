//! What PCs ask: updaters, each with a key of its own, and connectors, each with a user's token.
//!
//! | attack | answer |
//! |---|---|
//! | a check-in in another PC's name | signed by the device's key, verified over the very bytes: `signed` |
//! | a recorded check-in sent again | its number must be higher than any before, checked and stored in one statement |
//! | a token used for another user or PC | a token is one seat's; nothing in a message names another |
//! | a PC without updater that claims to have one | `ticket`: only the device's own key can vouch, and not for long |
//! | absurd values | capped before they are stored; versions and products are parsed, never text |
//! | claims that change policy | no message has a field that a decision for others depends on |

mod check_in;
mod connector;
mod enrol;
mod login;
mod signed;
mod stream;
mod ticket;

pub use check_in::{DEVICE_CHECK_IN, DEVICE_PUSH, device_check_in, device_push};
pub use connector::{connector_check_in, connector_push, running};
pub use enrol::enrol;
pub use login::login;

use protocol::{Decision, Directive};

/// A directive in words, for the story of a PC.
fn words(directive: &Directive) -> String {
    let what = match &directive.decision {
        Decision::Current => "nothing to do".into(),
        Decision::Stage { version } => format!("stage {version}"),
        Decision::Recommended { version } => format!("upgrade to {version} recommended"),
        Decision::Required { version, .. } => format!("upgrade to {version} required"),
        Decision::Blocked { .. } => "blocked".into(),
        Decision::Hold => "hold".into(),
    };
    format!("{}: {what} ({})", directive.product, directive.why)
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, crate::failure::Refusal> {
    serde_json::from_slice(body)
        .map_err(|e| crate::failure::Refusal::malformed(format!("the message is not understood: {e}")))
}
