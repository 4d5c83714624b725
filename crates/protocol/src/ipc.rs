//! The verbs between the updater and the user's programs on the same PC.
//!
//! The transport is a Unix socket or a named pipe; a frame is one line of JSON. A caller supplies no choices
//! (DESIGN, invariant 2): a request is a verb and nothing else, so no path, address, version or argument can
//! be passed. Who is calling is what the kernel says of the peer, never what a message says.
//!
//! | attack | answer |
//! |---|---|
//! | a path, URL, version or flag in a request | [`Request`] has no such field, and a request with an unknown field is refused |
//! | an endless frame | [`FrameReader`] gives up at [`MAX_REQUEST`] bytes |
//! | garbage | [`FrameError`], and the connection is closed |

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    device::{DeviceState, ProductState, is_default, known_or_default},
    explain::Explained,
    message::Ticket,
    policy::UpgradePolicy,
    product::ProductId,
    terms::MachinePolicy,
};

/// Where the updater's socket lies below the root directory (`/` on a real computer).
pub const SOCKET: &str = "run/lockstep/updater.sock";

/// Bytes of a request, line end included.
pub const MAX_REQUEST: usize = 256;

/// Bytes of a reply, line end included.
pub const MAX_REPLY: usize = 64 * 1024;

/// What a caller may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// How things stand, and a ticket for the caller.
    Status,
    /// Check in with the site's server now.
    CheckNow,
    /// An interactive user agrees to the upgrade that is waiting, or to be restarted now.
    Consent,
    /// "I am the new version, and I work." Counts only from a process that the kernel shows running the active version's program.
    ConfirmHealthy,
    /// Keep the connection open and be told of progress and "restart now".
    Watch,
    /// An administrator of this PC wants versions that were rolled back here to be tried again now. For root alone.
    Retry,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Status, Self::CheckNow, Self::Consent, Self::ConfirmHealthy, Self::Watch, Self::Retry];
}

/// A request: a verb, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Format version.
    pub v: u32,
    /// What is asked for.
    pub verb: Verb,
}

impl Request {
    /// A request of this format version.
    pub fn new(verb: Verb) -> Self {
        Self { v: 1, verb }
    }
}

/// What the service says, one line each; [`Verb::Watch`] is answered by many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reply")]
pub enum Reply {
    /// To [`Verb::Status`].
    Status(Box<Status>),
    /// Done, or under way.
    Ok {
        /// What happens now, in words.
        detail: String,
    },
    /// Not done.
    Refused {
        /// Why, in words.
        error: String,
    },
    /// To [`Verb::Watch`]: a product has moved on; also sent once for each product at the start.
    Progress {
        /// Which product.
        product: ProductId,
        /// The active version.
        #[serde(default)]
        installed: Option<Version>,
        /// Where it stands.
        state: DeviceState,
        /// In words.
        detail: String,
        /// How much of a package is here, while one is fetched.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<Fetched>,
    },
    /// To [`Verb::Watch`]: the program should be restarted now to run this version.
    RestartNow {
        /// Which product.
        product: ProductId,
        /// The version that is active now.
        version: Version,
    },
    /// Something that this program does not know yet; ignore it.
    #[serde(other)]
    Unknown,
}

/// How things stand on this PC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The updater's version.
    pub updater: Version,
    /// This PC's id at the site. `None`: not enrolled yet.
    #[serde(default)]
    pub device: Option<String>,
    /// The site's server.
    pub server: String,
    /// By product.
    pub products: BTreeMap<ProductId, ProductState>,
    /// Why things are as they are, in words, by product.
    #[serde(default)]
    pub why: BTreeMap<ProductId, String>,
    /// Ties the calling user to this PC. `None`: not enrolled yet.
    #[serde(default)]
    pub ticket: Option<Ticket>,
    /// How much of a package is here, by product, while one is fetched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fetching: BTreeMap<ProductId, Fetched>,
    /// What went wrong last, such as "cannot update: metadata expired".
    #[serde(default)]
    pub problem: Option<String>,
    /// When the server was last reached, RFC 3339.
    #[serde(default)]
    pub last_contact: Option<jiff::Timestamp>,
    /// What is decided, and why, how, until when and by whom, by product.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub decisions: BTreeMap<ProductId, Explained>,
    /// What is true of the whole PC.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pc: PcStatus,
    /// What happened here last, the newest at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Happening>,
}

/// What is true of the whole PC, and of the service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PcStatus {
    /// When the server is asked next, at the latest.
    #[serde(default)]
    pub next_check_in: Option<jiff::Timestamp>,
    /// Whether a check-in, or what follows from it, is under way.
    #[serde(default)]
    pub busy: bool,
    /// How many check-ins have ended, well or not, since the start of the service.
    #[serde(default)]
    pub check_ins: u64,
    /// When the verified metadata expires: from then on nothing new can be fetched.
    #[serde(default)]
    pub metadata_expires: Option<jiff::Timestamp>,
    /// Bytes free where versions are kept.
    #[serde(default)]
    pub disk_free: Option<u64>,
    /// The machine's own upgrade policy. `None`: the site's counts.
    #[serde(default, deserialize_with = "known_or_default")]
    pub policy: Option<UpgradePolicy>,
    /// The rest of the machine's own policy.
    #[serde(default, deserialize_with = "known_or_default")]
    pub machine: MachinePolicy,
}

/// Something that happened to a product on this PC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// When.
    pub at: jiff::Timestamp,
    /// To which product.
    pub product: ProductId,
    /// What.
    #[serde(default, deserialize_with = "known_or_default")]
    pub what: What,
    /// Of which version it speaks.
    #[serde(default)]
    pub version: Option<Version>,
    /// Which one was active before, where that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Version>,
    /// Why, in words.
    #[serde(default)]
    pub why: String,
}

/// Kinds of [`Happening`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Verified and complete beside what runs.
    Staged,
    /// Users are asked for their consent.
    Asked,
    /// It is the active version now.
    Switched,
    /// It did not work here; the version before is active again.
    RolledBack,
    /// It could not be fetched or put in its place; that is tried again.
    Failed,
    /// It was not done, for a reason.
    Refused,
    /// Something that this program does not know.
    #[default]
    Other,
}

/// How much of a package is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// Bytes that are here; they may become fewer, when they turn out to be wrong.
    pub done: u64,
    /// Bytes of the whole package, as signed.
    pub total: u64,
}

/// Why a connection's bytes are not frames.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A line was longer than allowed.
    #[error("a frame is longer than {0} bytes")]
    TooLong(usize),
    /// A line is not the JSON that was expected.
    #[error("a frame is not understood")]
    Malformed(#[source] serde_json::Error),
}

/// Takes bytes, gives frames. Does no I/O.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Vec<u8>,
    limit: usize,
}

impl FrameReader {
    /// A reader that refuses frames of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), limit }
    }

    /// Adds bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    ///
    /// # Errors
    /// [`FrameError`]; the connection must then be closed.
    pub fn next_frame<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let Some(end) = self.buffer.iter().position(|b| *b == b'\n') else {
            return if self.buffer.len() >= self.limit { Err(FrameError::TooLong(self.limit)) } else { Ok(None) };
        };
        if end >= self.limit {
            return Err(FrameError::TooLong(self.limit));
        }
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        serde_json::from_slice(&line[..end]).map(Some).map_err(FrameError::Malformed)
    }
}

/// A frame as it goes over the wire, line end included.
///
/// # Panics
/// Never for the types of this module: their keys are strings and their numbers are finite.
#[allow(clippy::expect_used, reason = "see above")]
pub fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("messages of this module always serialize");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_that_carries_a_choice_is_refused() {
        for bad in [
            r#"{"v":1,"verb":"check_now","url":"https://evil.example"}"#,
            r#"{"v":1,"verb":"consent","version":"1.0.0"}"#,
            r#"{"v":1,"verb":"install"}"#,
            r#"["status"]"#,
            "",
        ] {
            let mut reader = FrameReader::new(MAX_REQUEST);
            reader.push(bad.as_bytes());
            reader.push(b"\n");
            assert!(reader.next_frame::<Request>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_endless_frame_is_given_up_at_the_limit() {
        let mut reader = FrameReader::new(MAX_REQUEST);
        reader.push(&[b' '; MAX_REQUEST - 1]);
        assert!(reader.next_frame::<Request>().unwrap().is_none());
        reader.push(b" ");
        assert!(matches!(reader.next_frame::<Request>(), Err(FrameError::TooLong(_))));
    }

    #[test]
    fn a_reply_of_a_later_version_is_unknown_not_an_error() {
        let later = br#"{"reply":"fireworks","colour":"red"}"#;
        assert_eq!(serde_json::from_slice::<Reply>(later).unwrap(), Reply::Unknown);
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_bytes_are_cut(verbs in prop::collection::vec(0usize..Verb::ALL.len(), 1..8), cut in 1usize..40) {
            let sent: Vec<Request> = verbs.iter().map(|i| Request::new(Verb::ALL[*i])).collect();
            let bytes: Vec<u8> = sent.iter().flat_map(frame).collect();
            let mut reader = FrameReader::new(MAX_REQUEST);
            let mut got = Vec::new();
            for piece in bytes.chunks(cut) {
                reader.push(piece);
                while let Some(request) = reader.next_frame::<Request>().unwrap() {
                    got.push(request);
                }
            }
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn no_bytes_crash_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut reader = FrameReader::new(MAX_REQUEST);
            reader.push(&bytes);
            while let Ok(Some(_)) = reader.next_frame::<Request>() {}
        }
    }
}
