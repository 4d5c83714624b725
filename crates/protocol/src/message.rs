//! The HTTP messages between a PC and the site's server, JSON over TLS.
//!
//! Every message carries `v`, the format's version. Fields are only ever added; a reader ignores those it
//! does not know, and every field added later has a default. Golden files of each message are kept in
//! `tests/golden/`.
//!
//! | who | request | body → answer |
//! |---|---|---|
//! | updater | `POST /v1/enrol` | [`Enrol`] → [`Enrolled`] |
//! | updater, signed | `POST /v1/check-in/device` | [`DeviceCheckIn`] → [`DeviceDirectives`] |
//! | updater, signed | `POST /v1/push/device` | [`PushHello`] → event stream of [`Push`] |
//! | connector | `POST /v1/login` | [`Login`] → [`LoggedIn`] |
//! | connector, token | `POST /v1/check-in/connector` | [`ConnectorCheckIn`] → [`ConnectorDirective`] |
//! | connector, token | `GET /v1/push/connector` | event stream of [`Push`] |
//! | anybody | `GET /tuf/metadata/…`, `GET /tuf/targets/…` | the vendor's files, mirrored |
//! | anybody | failure | HTTP status and [`Failure`] |
//!
//! *Signed* means: header [`DEVICE_HEADER`] holds the device id, and [`SIGNATURE_HEADER`] the base64 of an Ed25519
//! signature (RFC 8032) by the device's key over [`signed_bytes`]. Each signed body has a `seq` that is
//! higher than any before, so a replayed one is refused, and a cloned PC shows itself.
//! *Token* means `Authorization: Bearer …` (RFC 6750).
//! An event stream is `text/event-stream` as in the HTML standard, with a comment line every [`KEEP_ALIVE_SECONDS`].

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    device::{Device, is_default},
    directive::Directive,
    product::{Platform, ProductId},
};

/// The format's version in every message of this release.
pub const V: u32 = 1;

/// Names the device that signed a request.
pub const DEVICE_HEADER: &str = "lockstep-device";

/// Holds the signature of a signed request, in base64.
pub const SIGNATURE_HEADER: &str = "lockstep-signature";

/// Seconds between two signs of life on an otherwise silent event stream.
pub const KEEP_ALIVE_SECONDS: u64 = 60;

/// Bytes; a longer request body is refused unread.
pub const MAX_BODY: usize = 64 * 1024;

/// Characters; a longer host name, user name or detail is cut by the server before it is stored.
pub const MAX_TEXT: usize = 256;

/// The very bytes that a device signs: the path binds a signature to one purpose.
pub fn signed_bytes(path: &str, body: &[u8]) -> Vec<u8> {
    [b"lockstep device request v1\0", path.as_bytes(), b"\0", body].concat()
}

/// What every failed request is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong, and what to do, in words.
    pub error: String,
}

/// An updater makes itself known, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    /// Format version.
    pub v: u32,
    /// From the site profile.
    pub enrolment_key: String,
    /// Ed25519 public key, 32 bytes in base64, made for this enrolment.
    pub public_key: String,
    /// The PC's name for people.
    pub hostname: String,
    /// What it runs on.
    #[serde(flatten)]
    pub platform: Platform,
}

/// The answer to [`Enrol`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Format version.
    pub v: u32,
    /// Random; the device's name from now on.
    pub device: String,
}

/// "Here is where I stand."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCheckIn {
    /// Format version.
    pub v: u32,
    /// Higher than in any request before.
    pub seq: u64,
    /// The whole local state.
    pub device: Device,
}

/// "Here is what to do."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceDirectives {
    /// Format version.
    pub v: u32,
    /// One for each product that the site manages.
    pub directives: Vec<Directive>,
    /// Seconds until the next check-in, when no push comes first.
    pub next_check_in_seconds: u64,
    /// How packages are fetched here.
    #[serde(default, skip_serializing_if = "is_default")]
    pub downloads: Downloads,
}

/// As many of [`Downloads::alternate`] are looked at.
pub const MAX_ALTERNATE: usize = 8;

/// The longest [`Downloads::start_jitter_seconds`]: a day.
pub const LONGEST_JITTER_SECONDS: u64 = 24 * 3600;

/// How the site wants packages to be fetched. It chooses no package: whatever comes from wherever is verified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downloads {
    /// Directories that hold what the mirror's `/tuf/targets` holds, so that downloads do not slow the mail server down. Only
    /// `https://` addresses count. They are asked before the mirror, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternate: Vec<String>,
    /// Making a version ready, where it is not required yet, begins at a random moment within so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_jitter_seconds: Option<u64>,
}

/// Opens a device's event stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushHello {
    /// Format version.
    pub v: u32,
    /// Higher than in any request before.
    pub seq: u64,
}

/// One event: "check in again, now". It carries no decision, so a forged one does no harm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// Format version.
    pub v: u32,
    /// Why, in words, for the log.
    pub why: String,
}

/// A connector proves, once, that its user has the mail account. The password is checked by a login to the
/// mail server and neither stored nor logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Format version.
    pub v: u32,
    /// The mail account.
    pub user: String,
    /// Its password.
    pub password: String,
    /// A random id that the connector made for this user on this PC.
    pub seat: String,
    /// The PC's name for people.
    pub hostname: String,
    /// What it runs on.
    #[serde(flatten)]
    pub platform: Platform,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).field("seat", &self.seat).finish_non_exhaustive()
    }
}

/// The answer to [`Login`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedIn {
    /// Format version.
    pub v: u32,
    /// Proves user and seat from now on.
    pub token: String,
    /// Where the mail is.
    pub mail: MailServer,
}

impl std::fmt::Debug for LoggedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoggedIn").field("mail", &self.mail).finish_non_exhaustive()
    }
}

/// Where the protected mail server takes mail programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailServer {
    /// IMAP over TLS (RFC 8314), `host:port`.
    pub imap: String,
    /// Message submission (RFC 6409), `host:port`.
    pub submission: String,
    /// Whether submission starts in plain text and goes on with STARTTLS (RFC 3207); else TLS from the start.
    #[serde(default)]
    pub submission_starttls: bool,
    /// Certificate or CA in PEM that both are checked against. `None`: the system's authorities.
    #[serde(default)]
    pub certificate: Option<String>,
    /// Where people read mail in a browser.
    #[serde(default)]
    pub webmail: Option<String>,
}

/// Where a connector stands towards the mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// Mail goes both ways.
    Online,
    /// Local mail is readable, changes and outgoing mail are kept.
    Offline,
    /// As offline, while an upgrade is under way.
    Upgrading,
}

/// "This is me; may I go online?"
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorCheckIn {
    /// Format version.
    pub v: u32,
    /// Which product asks.
    pub product: ProductId,
    /// Its version.
    pub version: Version,
    /// Where it stands.
    pub gate: Gate,
    /// Messages that wait to be sent.
    #[serde(default)]
    pub outbox: u64,
    /// The PC's name for people.
    pub hostname: String,
    /// What it runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// What the local updater vouches for. `None`: there is no updater on this PC.
    #[serde(default)]
    pub ticket: Option<Ticket>,
    /// What is going on or went wrong on this PC, in words for the administrator: a refused installer, a mailbox
    /// that is being upgraded, a full disk. At most [`MAX_TEXT`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The updater's word that a user runs on its PC: it ties the connector's user to the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// [`TicketClaim`] as JSON, the very bytes that are signed.
    pub claim: String,
    /// Base64 of the device's Ed25519 signature over [`signed_bytes`]\([`Ticket::PATH`], claim).
    pub signature: String,
}

impl Ticket {
    /// What a ticket's signature is bound to, where a request has its path.
    pub const PATH: &str = "ticket";
}

/// What a ticket says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketClaim {
    /// The device.
    pub device: String,
    /// The user's number on that PC, as the kernel told the updater.
    pub uid: u32,
    /// When; good for [`TicketClaim::GOOD_FOR_SECONDS`].
    pub issued: Timestamp,
}

impl TicketClaim {
    /// Seconds; a connector asks for a new ticket at each check-in.
    pub const GOOD_FOR_SECONDS: i64 = 600;
}

/// The answer to [`ConnectorCheckIn`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorDirective {
    /// Format version.
    pub v: u32,
    /// What the server decides about this connector. It may go online unless
    /// [`Decision::is_incompatible`](crate::Decision::is_incompatible).
    pub directive: Directive,
    /// Where the mail is.
    pub mail: MailServer,
    /// Where the installer is.
    pub integration_page: String,
    /// Seconds until the next check-in, when no push comes first.
    pub next_check_in_seconds: u64,
    /// Seconds, at least, between two prompts for the administrator's password on a PC without an updater, where the
    /// site says so. `None`: [`UpgradePolicy::ask_again_after`](crate::policy::UpgradePolicy::ask_again_after).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask_again_seconds: Option<u64>,
}
