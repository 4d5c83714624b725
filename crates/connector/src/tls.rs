//! Whom the connector believes to be the site's server and the mail server.
//!
//! | attack | answer |
//! |---|---|
//! | another server in between, with a certificate of a public authority | where the profile or the site's server names a certificate, nothing else is believed |
//! | a stolen certificate name without its key | the handshake's signature is always checked |
//! | a fallback to plain text or to an old TLS | TLS 1.2 or 1.3 only; no setting turns it off |

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM text holds no certificate, or a damaged one.
    #[error("the certificate that the site names cannot be read; ask the administrator for a new site.json")]
    BadCertificate,
    /// The library refuses.
    #[error("TLS cannot be set up")]
    Rustls(#[from] rustls::Error),
    /// The library refuses the certificates as authorities.
    #[error("the certificate that the site names cannot be used")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// TLS towards a server. With `certificates` (PEM, one or more) the server's certificate must *be* one of them or
/// chain to one of them; without, it must satisfy the system's authorities.
///
/// # Errors
/// [`TlsError`] when the PEM text holds no usable certificate.
pub fn client_config(certificates: Option<&str>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match certificates {
        Some(pem) => Arc::new(NamedCertificates::new(pem, provider.clone())?),
        None => Arc::new(rustls_platform_verifier::Verifier::new(provider.clone())?),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

/// Whether TLS can be set up at all; the system's authorities are left out, since a site with a certificate of its own
/// needs none.
///
/// # Errors
/// [`TlsError`].
pub fn check_without_authorities() -> Result<(), TlsError> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(())
}

/// Believes exactly the certificates that the site names, and what they have signed.
///
/// The usual path check alone is not enough: it refuses a self-signed certificate that calls itself an authority,
/// which is what `openssl req -x509` makes and many small sites use. Such a certificate is believed byte for byte.
#[derive(Debug)]
struct NamedCertificates {
    named: Vec<CertificateDer<'static>>,
    chain: Arc<WebPkiServerVerifier>,
}

impl NamedCertificates {
    fn new(pem: &str, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let named: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::BadCertificate)?;
        let mut roots = RootCertStore::empty();
        for certificate in &named {
            roots.add(certificate.clone())?;
        }
        if roots.is_empty() {
            return Err(TlsError::BadCertificate);
        }
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Self { named, chain })
    }
}

impl ServerCertVerifier for NamedCertificates {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.named.iter().any(|named| named == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_a_certificate_is_refused() {
        for bad in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(client_config(Some(bad)).is_err(), "{bad:?}");
        }
    }
}
