//! Authenticode, with osslsigncode: what Windows says of a program or package before anything of ours runs.
//!
//! In addition to TUF, never instead: a signature here names the publisher in Windows' prompts and satisfies application control; what
//! the service installs is decided by TUF metadata alone (docs/vendor.md, "Authenticode").

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use crate::process::must;

/// Whose signature, and from where.
#[derive(Debug, Clone)]
pub struct Signer {
    /// The key.
    pub key: Key,
    /// The certificate and those above it, in PEM, its own first.
    pub certificates: PathBuf,
    /// An RFC 3161 time-stamping authority's address. `None`: the signature ends with the certificate.
    pub timestamp: Option<String>,
}

/// A key.
#[derive(Debug, Clone)]
pub enum Key {
    /// In a file, PEM or PKCS#12.
    File(PathBuf),
    /// In a token, by its PKCS#11 URI (RFC 7512), with the module that speaks to it.
    Token {
        /// `pkcs11:token=…;object=…;type=private`; its PIN comes from the file that the URI's `pin-source` names.
        uri: String,
        /// A shared library.
        module: PathBuf,
    },
}

impl Key {
    /// From the command line: a file, or a PKCS#11 URI.
    ///
    /// # Errors
    /// When a token is named without its module.
    pub fn new(text: &str, module: Option<&Path>) -> Result<Self> {
        if !text.starts_with("pkcs11:") {
            return Ok(Self::File(text.into()));
        }
        let Some(module) = module else {
            anyhow::bail!("a key in a token needs --pkcs11-module, such as /usr/lib/softhsm/libsofthsm2.so");
        };
        Ok(Self::Token { uri: text.into(), module: module.into() })
    }
}

/// What is said in Windows' prompt, beside the publisher.
const WHAT: &str = "Lockstep";

impl Signer {
    /// Signs a program or package in its place.
    ///
    /// # Errors
    /// When osslsigncode refuses, or the time-stamping authority cannot be reached; the file is as it was then.
    pub fn sign(&self, file: &Path) -> Result<()> {
        self.sign_with(file, |_| ())
    }

    /// As [`Signer::sign`], with what the token's library wants to find in its environment.
    ///
    /// # Errors
    /// As [`Signer::sign`].
    pub fn sign_with(&self, file: &Path, environment: impl FnOnce(&mut Command)) -> Result<()> {
        let fresh = beside(file);
        if fresh.exists() {
            fs::remove_file(&fresh)?;
        }
        let mut command = Command::new("osslsigncode");
        command.args(["sign", "-h", "sha256", "-n", WHAT, "-i", env!("CARGO_PKG_REPOSITORY")]);
        command.arg("-certs").arg(&self.certificates);
        match &self.key {
            Key::File(file) if file.extension().is_some_and(|e| e == "p12" || e == "pfx") => {
                command.arg("-pkcs12").arg(file)
            }
            Key::File(file) => command.arg("-key").arg(file),
            Key::Token { uri, module } => command.arg("-pkcs11module").arg(module).arg("-key").arg(uri),
        };
        if let Some(address) = &self.timestamp {
            command.args(["-ts", address]);
        }
        environment(&mut command);
        let signed = must(command.arg("-in").arg(file).arg("-out").arg(&fresh));
        if signed.is_err() && fresh.exists() {
            fs::remove_file(&fresh)?;
        }
        signed?;
        Ok(fs::rename(&fresh, file)?)
    }
}

/// What a look at a signature shows.
///
/// # Errors
/// When it is not one that leads to `authorities` (PEM), or the file was changed after it was signed.
pub fn verify(file: &Path, authorities: &Path, time_stamps: Option<&Path>) -> Result<()> {
    let mut command = Command::new("osslsigncode");
    command.arg("verify").arg("-CAfile").arg(authorities);
    if let Some(time_stamps) = time_stamps {
        command.arg("-TSA-CAfile").arg(time_stamps);
    }
    let said = must(command.arg("-in").arg(file))?;
    ensure!(said.contains("Succeeded"), "{}: {said}", file.display());
    Ok(())
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".signing");
    name.into()
}
