//! The mail server asks at each login: is this a connector that is too old? Dovecot asks by its authentication policy
//! protocol, a `POST` of JSON; the client's name and version are those of its IMAP ID (RFC 2971).
//!
//! This is about compatibility, not security: an ID is what a client says of itself. So whenever anything is in doubt the answer is
//! "let it in", and nothing here ever waits for the disk.
//!
//! | attack | answer |
//! |---|---|
//! | another machine asks, or answers in our place | loopback only; a bearer secret, compared in constant time |
//! | an ID made to look like anything | read by a small parser of its own; what it does not understand is nobody's ID |
//! | a request that is endless or trickles in, a thousand connections | limits for head, body, time and connections: [`serve`] |
//! | a million names to fill the memory or the stories | every list has a cap, and a story one line an hour |
//! | a user called `*` or `-f`, so that everybody's sessions end | [`harmless`](aim::harmless): such a name is never put into a command |

mod aim;
mod answer;
mod client_id;
mod dovecot;
mod listen;
mod notes;
mod sessions;
mod verdict;

use crate::{
    secrets::random_token,
    store::{Store, StoreError},
};

pub use dovecot::settings_for_dovecot;
pub use listen::serve;
pub use notes::{Counts, Notes, keep_notes};
pub use sessions::server_flipped;

/// The gate's own memory.
#[derive(Debug)]
pub struct Gate {
    /// The mail server proves with it that it is the one.
    secret: String,
    /// Dovecot wants a nonce for the hash of passwords, which we never let it send.
    nonce: String,
    /// What has been seen.
    pub notes: Notes,
}

impl Gate {
    /// With the secret that was made at the first start.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            secret: store.fact_or("mail_gate_secret", random_token).await?,
            nonce: store.fact_or("mail_gate_nonce", random_token).await?,
            notes: Notes::default(),
        })
    }
}
