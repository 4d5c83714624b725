//! Signatures that have verified once are not computed again: most of a repository is the same from input to input, and nine tenths
//! of an execution would be arithmetic whose outcome is known.
//!
//! The verifying module itself decides as ever what is to be verified, with which key, and what follows; only what it asks of
//! the cryptography below is answered from memory, when the very same key, bytes and signature were accepted before.

use std::{collections::HashSet, sync::Mutex};

use sigstore_crypto::{CryptoProvider, HashContext, Result, SigningScheme, install_default_provider};
use sigstore_types::HashAlgorithm;

/// Signatures that are kept; then it begins anew. A few kilobytes each at most.
const MOST: usize = 4096;

/// From now on, everything in this process verifies this way. Call it before anything else.
///
/// # Panics
/// When something was verified before.
pub fn install() {
    let remembering = Remembering { real: release::tuf::cryptography(), accepted: Mutex::default() };
    let installed = install_default_provider(Box::leak(Box::new(remembering)));
    assert!(installed.is_ok(), "nothing was verified before");
}

#[derive(Debug)]
struct Remembering {
    real: &'static dyn CryptoProvider,
    accepted: Mutex<HashSet<Vec<u8>>>,
}

impl CryptoProvider for Remembering {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>> {
        self.real.hash(algorithm)
    }

    fn verify_raw(&self, scheme: SigningScheme, key: &[u8], data: &[u8], signature: &[u8]) -> Result<()> {
        let mut asked = format!("{scheme:?} {} {} ", key.len(), signature.len()).into_bytes();
        asked.extend([key, signature, data].concat());
        if self.accepted.lock().expect("nobody panics with it").contains(&asked) {
            return Ok(());
        }
        self.real.verify_raw(scheme, key, data, signature)?;
        let mut accepted = self.accepted.lock().expect("nobody panics with it");
        if accepted.len() >= MOST {
            accepted.clear();
        }
        accepted.insert(asked);
        Ok(())
    }

    fn verify_prehashed(&self, scheme: SigningScheme, key: &[u8], digest: &[u8], signature: &[u8]) -> Result<()> {
        self.real.verify_prehashed(scheme, key, digest, signature)
    }
}
