//! How a key is named on the command line and in a key directory.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::Context;

use super::{
    keys::{PublicKey, SecretKey},
    passphrase::Passphrase,
    pkcs11_uri::{Pkcs11Uri, SCHEME},
    token::Token,
};

/// The file name extension of files that hold a `pkcs11:` URI.
pub const URI_FILE: &str = "pkcs11";

/// A private key: a PEM file, a file with a `pkcs11:` URI, or such a URI itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyRef {
    File(PathBuf),
    Uri(String),
}

impl FromStr for KeyRef {
    type Err = super::pkcs11_uri::UriError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with(SCHEME) {
            return Pkcs11Uri::parse(text).map(|uri| Self::Uri(uri.text));
        }
        Ok(Self::File(text.into()))
    }
}

impl std::fmt::Display for KeyRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Uri(uri) => f.write_str(uri),
        }
    }
}

impl KeyRef {
    /// The private key. Asks for a passphrase or PIN where one is needed.
    pub fn open(&self, passphrase: &Passphrase) -> anyhow::Result<SecretKey> {
        match self {
            Self::Uri(text) => Ok(SecretKey::Token(Token::open(&Pkcs11Uri::parse(text)?)?)),
            Self::File(path) if is_uri_file(path) => {
                let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                let uri = Pkcs11Uri::parse(&text).with_context(|| format!("cannot use {}", path.display()))?;
                Ok(SecretKey::Token(Token::open(&uri)?))
            }
            Self::File(path) => SecretKey::read(path, &mut || passphrase.ask()),
        }
    }
}

fn is_uri_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == URI_FILE)
}

/// A public key: 64 hexadecimal digits, a `.pub` file, or the private key that it belongs to.
pub fn public(text: &str, passphrase: &Passphrase) -> anyhow::Result<PublicKey> {
    if let Some(key) = PublicKey::from_hex(text) {
        return Ok(key);
    }
    if text.ends_with(".pub") {
        return PublicKey::read(Path::new(text));
    }
    let key: KeyRef = text.parse()?;
    if let KeyRef::File(path) = &key
        && !path.exists()
    {
        anyhow::bail!("{text} is neither a key file, nor a pkcs11: name, nor the 64 digits of a public key");
    }
    Ok(key.open(passphrase)?.public())
}
