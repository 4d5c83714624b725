//! The server's own certificate: the administrator's, or a self-signed one made at the first start, which every
//! installer of the site carries and every PC pins.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use release::durable::{self, Access};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// Why there is no usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} holds no usable {what} in PEM")]
    Pem {
        /// Which one.
        path: PathBuf,
        /// Certificate or private key.
        what: &'static str,
    },
    /// Certificate and key do not fit, or are of a kind that is not supported.
    #[error("the certificate and its key cannot be used")]
    Unfit(#[from] rustls::Error),
    /// A certificate could not be made.
    #[error("a certificate cannot be made")]
    Make(#[from] rcgen::Error),
}

/// Chooses the cryptography for all TLS in this process. May be called again.
pub fn install_provider() {
    // An error means that it was chosen before, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Makes a self-signed certificate for `host`, `localhost` and the loopback addresses, good for ten years from `year`.
///
/// # Errors
/// [`TlsError::Make`], [`TlsError::File`].
pub fn make_self_signed(host: &str, year: i32, certificate: &Path, key: &Path) -> Result<(), TlsError> {
    let mut names = vec![host.trim_matches(['[', ']']).to_owned()];
    for name in ["localhost", "127.0.0.1", "::1"] {
        if !names.iter().any(|n| n == name) {
            names.push(name.into());
        }
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("lockstep-server on {host}"));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + 10, 1, 1);
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let signed = params.self_signed(&pair)?;
    let write = |path: &Path, text: String, access| {
        let failed = |source| TlsError::File { path: path.to_owned(), source };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        durable::replace(path, text.as_bytes(), access).map_err(failed)
    };
    write(key, pair.serialize_pem(), Access::Private)?;
    write(certificate, signed.pem(), Access::Public)
}

/// What the server shows, and what its clients pin.
#[derive(Debug)]
pub struct Identity {
    /// For the listener.
    pub config: Arc<ServerConfig>,
    /// The certificate in PEM, when it is self-signed; `None` when it chains to somebody that clients know.
    pub pin: Option<String>,
}

/// Reads certificate and key.
///
/// # Errors
/// [`TlsError`].
pub fn load(certificate: &Path, key: &Path) -> Result<Identity, TlsError> {
    let read = |path: &Path| fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source });
    let bad = |path: &Path, what| TlsError::Pem { path: path.to_owned(), what };
    let pem = read(certificate)?;
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| bad(certificate, "certificate"))?;
    let Some(own) = chain.first().cloned() else {
        return Err(bad(certificate, "certificate"));
    };
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| bad(key, "private key"))?;
    let pin = (chain.len() == 1 && is_self_signed(&own)).then(|| String::from_utf8_lossy(&pem).into_owned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Identity { config: Arc::new(config), pin })
}

/// Whether it names itself as its issuer, as only a certificate that nobody else signed does.
fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    webpki::EndEntityCert::try_from(certificate).is_ok_and(|c| c.issuer() == c.subject())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_made_is_pinned_and_its_key_is_private() {
        install_provider();
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("tls/cert.pem"), dir.path().join("tls/key.pem"));
        make_self_signed("mail.example.test", 2030, &certificate, &key).unwrap();
        let identity = load(&certificate, &key).unwrap();
        assert_eq!(identity.pin, Some(fs::read_to_string(&certificate).unwrap()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cert.pem");
        fs::write(&file, "nothing").unwrap();
        let error = load(&file, &file).unwrap_err();
        assert!(error.to_string().contains("cert.pem"), "{error}");
    }
}
