//! Ed25519 keys, in files or in a token. Files are PKCS#8 in PEM (RFC 8410), encrypted as in RFC 8018, so that `openssl
//! pkey` reads them. What a token holds is never seen here: it signs by itself.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use ed25519_dalek::{
    Signer, SigningKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes},
};
use pkcs8::{EncryptedPrivateKeyInfo, LineEnding, PrivateKeyInfo, SecretDocument, pkcs5};
use release::durable::{self, Access};
use serde_json::{Value, json};
use sigstore_tuf::canonical_json::to_canonical_bytes;

use super::token::Token;

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
const PLAIN: &str = "PRIVATE KEY";

/// Why a key could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot use the key file {path}")]
    File { path: PathBuf, source: io::Error },
    #[error("{0} exists already; keys are never overwritten")]
    Exists(PathBuf),
    #[error("{path} is not an Ed25519 key in PKCS#8 PEM: {why}")]
    Format { path: PathBuf, why: String },
    #[error("the passphrase does not open {0}")]
    WrongPassphrase(PathBuf),
    #[error("others can read the unencrypted key {0}; run chmod 600 on it, or encrypt it")]
    Exposed(PathBuf),
    #[error("cannot encode a key: {0}")]
    Encode(String),
}

/// A public key as TUF metadata names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Hexadecimal, 64 digits.
    hex: String,
}

impl PublicKey {
    pub fn from_hex(hex: &str) -> Option<Self> {
        let bytes: [u8; 32] = hex::decode(hex).ok()?.try_into().ok()?;
        ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok()?;
        Some(Self { hex: hex::encode(bytes) })
    }

    /// From what `.pub` files hold.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).map_err(|source| KeyError::File { path: path.to_owned(), source })?;
        Self::from_hex(text.trim()).with_context(|| format!("{} does not hold an Ed25519 key", path.display()))
    }

    /// Whether a signature of this key is good (RFC 8032, strict).
    pub fn verifies(&self, data: &[u8], signature: &[u8]) -> bool {
        let key = hex::decode(&self.hex).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let key = key.and_then(|bytes| ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok());
        let signature = ed25519_dalek::Signature::from_slice(signature);
        matches!((key, signature), (Some(key), Ok(signature)) if key.verify_strict(data, &signature).is_ok())
    }

    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The `key` object of the TUF specification, section 4.2.
    pub fn to_json(&self) -> Value {
        json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": self.hex } })
    }

    /// The SHA-256 of the key's canonical JSON (TUF specification, section 4.2).
    pub fn id(&self) -> String {
        use sha2::{Digest, Sha256};
        // Strings only, so there is always a canonical form.
        let canonical = to_canonical_bytes(&self.to_json()).unwrap_or_default();
        hex::encode(Sha256::digest(canonical))
    }
}

/// A private key.
pub enum SecretKey {
    /// Read from a file, or just made.
    InMemory(SigningKey),
    /// In a PKCS#11 token, such as a smart card or an HSM.
    Token(Token),
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SecretKey").field(&self.public().id()).finish()
    }
}

impl SecretKey {
    pub fn generate() -> Self {
        Self::InMemory(SigningKey::from_bytes(&rand::random()))
    }

    pub fn public(&self) -> PublicKey {
        match self {
            Self::InMemory(key) => PublicKey { hex: hex::encode(key.verifying_key().as_bytes()) },
            Self::Token(token) => token.public().clone(),
        }
    }

    /// One member of a metadata file's `signatures`.
    pub fn sign(&self, canonical: &[u8]) -> anyhow::Result<Value> {
        let signature = match self {
            Self::InMemory(key) => key.sign(canonical).to_bytes().to_vec(),
            Self::Token(token) => token.sign(canonical)?,
        };
        Ok(json!({ "keyid": self.public().id(), "sig": hex::encode(signature) }))
    }

    /// Writes a new key file, mode 0600, and its public half beside it (`.pub`). Without a passphrase it is not encrypted.
    pub fn write(&self, path: &Path, passphrase: Option<&str>) -> Result<(), KeyError> {
        if path.exists() {
            return Err(KeyError::Exists(path.to_owned()));
        }
        let Self::InMemory(key) = self else {
            return Err(KeyError::Encode("a key in a token has no file".into()));
        };
        let file = |path: &Path| {
            let path = path.to_owned();
            |source| KeyError::File { path, source }
        };
        let pem = to_pem(key, passphrase)?;
        durable::replace(path, pem.as_bytes(), Access::Private).map_err(file(path))?;
        let public = path.with_extension("pub");
        let text = format!("{}\n", self.public().hex());
        durable::replace(&public, text.as_bytes(), Access::Public).map_err(file(&public))
    }

    /// Reads a key file. The passphrase is asked for only when it is encrypted.
    pub fn read(path: &Path, passphrase: &mut dyn FnMut() -> anyhow::Result<String>) -> anyhow::Result<Self> {
        let file = |source| KeyError::File { path: path.to_owned(), source };
        let bad = |e: &dyn std::fmt::Display| KeyError::Format { path: path.to_owned(), why: e.to_string() };
        let pem = fs::read_to_string(path).map_err(file)?;
        let (label, document) = SecretDocument::from_pem(&pem).map_err(|e| bad(&e))?;
        let document = match label {
            PLAIN if durable::is_exposed(path).map_err(file)? => return Err(KeyError::Exposed(path.to_owned()).into()),
            PLAIN => document,
            ENCRYPTED => {
                let info = EncryptedPrivateKeyInfo::try_from(document.as_bytes()).map_err(|e| bad(&e))?;
                info.decrypt(passphrase()?).map_err(|_| KeyError::WrongPassphrase(path.to_owned()))?
            }
            other => return Err(bad(&format!("it holds a {other}")).into()),
        };
        SigningKey::from_pkcs8_der(document.as_bytes()).map(Self::InMemory).map_err(|e| bad(&e).into())
    }
}

fn to_pem(key: &SigningKey, passphrase: Option<&str>) -> Result<String, KeyError> {
    let encode = |e: &dyn std::fmt::Display| KeyError::Encode(e.to_string());
    // Without the public key, since OpenSSL 3.0 does not read the version of PKCS#8 that has one.
    let bytes = KeypairBytes { secret_key: key.to_bytes(), public_key: None };
    let document = bytes.to_pkcs8_der().map_err(|e| encode(&e))?;
    let (label, document) = match passphrase {
        None => (PLAIN, document),
        Some(passphrase) => {
            // N=2^14, r=8, p=1, as `openssl pkcs8 -scrypt` has it. OpenSSL opens nothing with a larger N.
            let cost = pkcs5::scrypt::Params::new(14, 8, 1, 32).map_err(|e| encode(&e))?;
            let (salt, iv): ([u8; 16], [u8; 16]) = rand::random();
            let params = pkcs5::pbes2::Parameters::scrypt_aes256cbc(cost, &salt, &iv).map_err(|e| encode(&e))?;
            let info = PrivateKeyInfo::try_from(document.as_bytes()).map_err(|e| encode(&e))?;
            (ENCRYPTED, info.encrypt_with_params(params, passphrase).map_err(|e| encode(&e))?)
        }
    };
    document.to_pem(label, LineEnding::LF).map(|pem| pem.to_string()).map_err(|e| encode(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(passphrase: Option<&str>) -> (tempfile::TempDir, PathBuf, SecretKey) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let key = SecretKey::generate();
        key.write(&path, passphrase).unwrap();
        (dir, path, key)
    }

    #[test]
    fn an_encrypted_key_comes_back_with_its_passphrase_only() {
        let (_dir, path, key) = written(Some("correct horse"));
        assert!(fs::read_to_string(&path).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        let read = SecretKey::read(&path, &mut || Ok("correct horse".into())).unwrap();
        assert_eq!(read.public(), key.public());
        let error = SecretKey::read(&path, &mut || Ok("wrong".into())).unwrap_err();
        assert!(error.to_string().contains("does not open"), "{error}");
    }

    #[test]
    fn an_unencrypted_key_needs_no_passphrase_and_must_be_private() {
        let (_dir, path, key) = written(None);
        let mut never = || panic!("asked for a passphrase");
        assert_eq!(SecretKey::read(&path, &mut never).unwrap().public(), key.public());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            let error = SecretKey::read(&path, &mut never).unwrap_err();
            assert!(error.to_string().contains("others can read"), "{error}");
        }
    }

    #[test]
    fn a_key_file_is_never_overwritten() {
        let (_dir, path, _key) = written(None);
        assert!(matches!(SecretKey::generate().write(&path, None), Err(KeyError::Exists(_))));
    }

    #[test]
    fn openssl_reads_what_is_written() {
        let (_dir, path, key) = written(Some("correct horse"));
        let output = std::process::Command::new("openssl")
            .args(["pkey", "-passin", "pass:correct horse", "-pubout", "-outform", "DER", "-in"])
            .arg(&path)
            .output()
            .expect("this test needs the openssl program");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(hex::encode(output.stdout).ends_with(key.public().hex()));
    }

    #[test]
    fn a_key_id_is_the_hash_of_the_canonical_key() {
        // As securesystemslib 1.3 computes it for this key.
        let key = PublicKey::from_hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
        let canonical = r#"{"keytype":"ed25519","keyval":{"public":"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"},"scheme":"ed25519"}"#;
        use sha2::{Digest, Sha256};
        assert_eq!(key.id(), hex::encode(Sha256::digest(canonical)));
    }
}
