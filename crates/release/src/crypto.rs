//! The cryptography under the TUF reader: SHA-2 and the three signature schemes that the TUF specification names (section
//! 4.2): Ed25519, ECDSA on P-256 and RSASSA-PSS, and P-384 beside them. All from crates that Lockstep uses anyway.
//!
//! Lockstep's own key files are Ed25519; keys that live in hardware are ECDSA or RSA. Any other scheme is reported as
//! unsupported, so such a signature does not count towards a threshold.

use ed25519_dalek::{Signature, VerifyingKey};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use sha2::{Digest, Sha256, Sha384, Sha512};
use sigstore_crypto::{CryptoProvider, Error, HashContext, Result, SigningScheme, install_default_provider};
use sigstore_types::HashAlgorithm;

/// Makes signatures and SHA-2 available to `sigstore-tuf`. Call it before anything of that crate; again does no harm.
pub(crate) fn install() {
    // Refused when one is installed already: by an earlier call, or by the program with a provider of its own.
    let _already = install_default_provider(provider());
}

/// What [`install`] installs.
pub fn provider() -> &'static dyn CryptoProvider {
    static PROVIDER: Provider = Provider;
    &PROVIDER
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
        let algorithm: &dyn VerificationAlgorithm = match scheme {
            SigningScheme::Ed25519 => return verify_ed25519(key, data, signature),
            SigningScheme::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
            SigningScheme::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
            SigningScheme::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
            SigningScheme::RsaPssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
            SigningScheme::RsaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
            other => return Err(unsupported(other)),
        };
        let verified = UnparsedPublicKey::new(algorithm, key).verify(data, signature);
        verified.map_err(|_| Error::Verification(format!("not a {scheme:?} signature of this key")))
    }

    fn verify_prehashed(&self, scheme: SigningScheme, _key: &[u8], _digest: &[u8], _signature: &[u8]) -> Result<()> {
        Err(unsupported(scheme))
    }
}

/// Strictly: keys of small order and malleable signatures are refused (RFC 8032, section 8.4).
fn verify_ed25519(key: &[u8], data: &[u8], signature: &[u8]) -> Result<()> {
    let key = <&[u8; 32]>::try_from(key).map_err(|e| Error::InvalidKey(e.to_string()))?;
    let key = VerifyingKey::from_bytes(key).map_err(|e| Error::InvalidKey(e.to_string()))?;
    let signature = Signature::from_slice(signature).map_err(|e| Error::Verification(e.to_string()))?;
    key.verify_strict(data, &signature).map_err(|e| Error::Verification(e.to_string()))
}

fn unsupported(scheme: SigningScheme) -> Error {
    Error::UnsupportedAlgorithm(format!("{scheme:?} is none of the schemes that a repository is signed with"))
}
