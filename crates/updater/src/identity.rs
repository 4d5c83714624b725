//! Who this PC is at its site: an id given at enrolment, and a key made for that enrolment.
//!
//! | attack | answer |
//! |---|---|
//! | a user reads the key | the file is 0600 in a directory that is 0700 |
//! | a request sent again | each has a higher sequence number, which is durable before it is used |
//! | a PC cloned with its disk | both copies use the same numbers, so the server sees a number twice |

use std::{io, path::PathBuf, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use protocol::{
    Timestamp,
    message::{Ticket, TicketClaim, signed_bytes},
};
use serde::{Deserialize, Serialize};

use crate::slots::disk::{Disk, replace_file};

/// Sequence numbers that are made durable at once, so that not every request waits for the disk. Those that are
/// left when the process ends are never used.
const BLOCK: u64 = 1000;

#[derive(Serialize, Deserialize)]
struct OnDisk {
    v: u32,
    device: String,
    /// The Ed25519 seed (RFC 8032, section 5.1.5), base64.
    key: String,
    /// Numbers below this may have been used.
    seq: u64,
}

/// This PC's identity.
pub struct Identity {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    device: String,
    key: SigningKey,
    next: u64,
    reserved: u64,
}

/// An identity that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk refused.
    #[error("this PC's identity cannot be kept")]
    Disk(#[source] io::Error),
    /// The file is not an identity.
    #[error("{0} is not an identity; remove it to enrol this PC anew")]
    Malformed(PathBuf),
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("device", &self.device).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the identity. `None`: this PC is not enrolled yet.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn read(path: PathBuf, disk: Arc<dyn Disk>) -> Result<Option<Self>, IdentityError> {
        let Some(bytes) = disk.read_file(&path).map_err(IdentityError::Disk)? else {
            return Ok(None);
        };
        let malformed = || IdentityError::Malformed(path.clone());
        let found: OnDisk = serde_json::from_slice(&bytes).map_err(|_| malformed())?;
        let seed = BASE64_STANDARD.decode(&found.key).ok().and_then(|s| <[u8; 32]>::try_from(s).ok());
        let key = SigningKey::from_bytes(&seed.ok_or_else(malformed)?);
        Ok(Some(Self { path, disk, device: found.device, key, next: found.seq, reserved: found.seq }))
    }

    /// Keeps the identity that the server has just given.
    ///
    /// # Errors
    /// [`IdentityError::Disk`].
    pub fn create(path: PathBuf, disk: Arc<dyn Disk>, device: String, key: SigningKey) -> Result<Self, IdentityError> {
        let mut identity = Self { path, disk, device, key, next: 1, reserved: 1 };
        identity.reserve()?;
        Ok(identity)
    }

    /// The id that the server gave.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// A number that was never used before and never will be again.
    ///
    /// # Errors
    /// [`IdentityError::Disk`]; then no request may be made.
    pub fn next_seq(&mut self) -> Result<u64, IdentityError> {
        if self.next == self.reserved {
            self.reserve()?;
        }
        let seq = self.next;
        self.next += 1;
        Ok(seq)
    }

    /// The base64 of this device's signature over a request.
    pub fn sign(&self, path: &str, body: &[u8]) -> String {
        BASE64_STANDARD.encode(self.key.sign(&signed_bytes(path, body)).to_bytes())
    }

    /// What issues tickets without being able to use up sequence numbers.
    pub fn tickets(&self) -> TicketOffice {
        TicketOffice { device: self.device.clone(), key: self.key.clone() }
    }

    fn reserve(&mut self) -> Result<(), IdentityError> {
        let reserved = self.reserved + BLOCK;
        let key = BASE64_STANDARD.encode(self.key.to_bytes());
        let page = OnDisk { v: 1, device: self.device.clone(), key, seq: reserved };
        let bytes = serde_json::to_vec(&page).map_err(|e| IdentityError::Disk(e.into()))?;
        replace_file(self.disk.as_ref(), &self.path, &bytes).map_err(IdentityError::Disk)?;
        self.reserved = reserved;
        Ok(())
    }
}

/// Vouches for local users.
#[derive(Clone)]
pub struct TicketOffice {
    device: String,
    key: SigningKey,
}

impl std::fmt::Debug for TicketOffice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TicketOffice").field("device", &self.device).finish_non_exhaustive()
    }
}

impl TicketOffice {
    /// The device that it speaks for.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// A ticket for a user, as the kernel knows them.
    pub fn issue(&self, uid: u32, now: Timestamp) -> Option<Ticket> {
        let claim = TicketClaim { device: self.device.clone(), uid, issued: now };
        let claim = serde_json::to_string(&claim).ok()?;
        let signature = self.key.sign(&signed_bytes(Ticket::PATH, claim.as_bytes()));
        Some(Ticket { claim, signature: BASE64_STANDARD.encode(signature.to_bytes()) })
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ed25519_dalek::{Signature, Verifier};

    use super::*;
    use crate::slots::RealDisk;

    fn enrolled(dir: &std::path::Path) -> Identity {
        let key = SigningKey::from_bytes(&[7; 32]);
        Identity::create(dir.join("identity.json"), Arc::new(RealDisk), "pc-1".into(), key).unwrap()
    }

    #[test]
    fn no_sequence_number_is_used_twice_even_after_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        let mut identity = enrolled(dir.path());
        for _ in 0..3 {
            for _ in 0..BLOCK + 5 {
                assert!(seen.insert(identity.next_seq().unwrap()));
            }
            // Dropped without any farewell, as by SIGKILL.
            identity = Identity::read(dir.path().join("identity.json"), Arc::new(RealDisk)).unwrap().unwrap();
            assert!(seen.last().unwrap() < &identity.next);
        }
    }

    #[test]
    fn the_key_is_readable_by_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        drop(enrolled(dir.path()));
        let mode = std::fs::metadata(dir.path().join("identity.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_ticket_names_the_user_and_is_signed_for_that_purpose_only() {
        let dir = tempfile::tempdir().unwrap();
        let identity = enrolled(dir.path());
        let ticket = identity.tickets().issue(60001, Timestamp::UNIX_EPOCH).unwrap();
        let claim: TicketClaim = serde_json::from_str(&ticket.claim).unwrap();
        assert_eq!((claim.device.as_str(), claim.uid), ("pc-1", 60001));
        let signature = BASE64_STANDARD.decode(&ticket.signature).unwrap();
        let signature = Signature::from_slice(&signature).unwrap();
        let key = identity.key.verifying_key();
        assert!(key.verify(&signed_bytes(Ticket::PATH, ticket.claim.as_bytes()), &signature).is_ok());
        assert!(key.verify(&signed_bytes("/v1/check-in/device", ticket.claim.as_bytes()), &signature).is_err());
    }
}
