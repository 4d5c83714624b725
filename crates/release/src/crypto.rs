//! The cryptography under the TUF reader: Ed25519 and SHA-2, from the crates that Lockstep uses anyway.
//!
//! Lockstep's repositories are signed with Ed25519 only. Any other scheme is reported as unsupported, so such a
//! signature does not count towards a threshold.

use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256, Sha384, Sha512};
use sigstore_crypto::{CryptoProvider, Error, HashContext, Result, SigningScheme, install_default_provider};
use sigstore_types::HashAlgorithm;

/// Makes Ed25519 and SHA-2 available to `sigstore-tuf`. Call it before anything of that crate; again does no harm.
pub(crate) fn install() {
    static PROVIDER: Provider = Provider;
    // Refused when one is installed already: by an earlier call, or by the program with a provider of its own.
    let _already = install_default_provider(&PROVIDER);
}

#[derive(Debug)]
struct Provider;

struct Context<D>(D);

impl<D: Digest + Send> HashContext for Context<D> {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finalize().to_vec()
    }
}

impl CryptoProvider for Provider {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>> {
        Ok(match algorithm {
            HashAlgorithm::Sha2256 => Box::new(Context(Sha256::new())),
            HashAlgorithm::Sha2384 => Box::new(Context(Sha384::new())),
            HashAlgorithm::Sha2512 => Box::new(Context(Sha512::new())),
            other => return Err(Error::UnsupportedAlgorithm(format!("{other:?}"))),
        })
    }

    fn verify_raw(&self, scheme: SigningScheme, key: &[u8], data: &[u8], signature: &[u8]) -> Result<()> {
        if scheme != SigningScheme::Ed25519 {
            return Err(unsupported(scheme));
        }
        let key = <&[u8; 32]>::try_from(key).map_err(|e| Error::InvalidKey(e.to_string()))?;
        let key = VerifyingKey::from_bytes(key).map_err(|e| Error::InvalidKey(e.to_string()))?;
        let signature = Signature::from_slice(signature).map_err(|e| Error::Verification(e.to_string()))?;
        // Strict: keys of small order and malleable signatures are refused (RFC 8032, section 8.4).
        key.verify_strict(data, &signature).map_err(|e| Error::Verification(e.to_string()))
    }

    fn verify_prehashed(&self, scheme: SigningScheme, _key: &[u8], _digest: &[u8], _signature: &[u8]) -> Result<()> {
        Err(unsupported(scheme))
    }
}

fn unsupported(scheme: SigningScheme) -> Error {
    Error::UnsupportedAlgorithm(format!("{scheme:?}: Lockstep's repositories are signed with Ed25519"))
}
