//! Whom a program of Lockstep's believes over TLS: every connection to the site's server and to the mail server is made
//! with [`client_config`].
//!
//! | attack | answer |
//! |---|---|
//! | another server in between, with a certificate of a public authority | where certificates are named, nothing else is believed |
//! | a stolen certificate without its key | the handshake's signature is always checked |
//! | a fallback to plain text or to an old TLS | TLS 1.2 or 1.3 only; no setting turns it off |

#![forbid(unsafe_code)]
// A panic ends the updater (docs/adr/0021).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsTrustError {
    /// The PEM text has no certificate, or no usable one.
    #[error("there is no usable certificate in the PEM text")]
    NoCertificate,
    /// The library refuses; without named certificates, the system's authorities cannot be read.
    #[error("TLS cannot be set up")]
    Rustls(#[from] rustls::Error),
    /// The library refuses the certificates as authorities.
    #[error("the certificates in the PEM text cannot be used")]
    Verifier(#[from] VerifierBuilderError),
}

/// TLS 1.2 or 1.3 towards a server. With `certificates` (PEM, one or more) the server's certificate must *be* one of
/// them or chain to one of them; without, it must satisfy the system's authorities.
///
/// # Errors
/// [`TlsTrustError`].
pub fn client_config(certificates: Option<&str>) -> Result<ClientConfig, TlsTrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match certificates {
        Some(pem) => Arc::new(NamedCertificates::new(pem, provider.clone(), None)?),
        None => Arc::new(rustls_platform_verifier::Verifier::new(provider.clone())?),
    };
    with_verifier(provider, verifier)
}

/// TLS towards places that hold nothing but what is verified in another way, such as a vendor's signed packages: the system's
/// authorities are believed, and so are `certificates` (PEM), as by [`client_config`].
///
/// # Errors
/// [`TlsTrustError`]. That the system's authorities cannot be read is one only without `certificates`.
pub fn system_and(certificates: Option<&str>) -> Result<ClientConfig, TlsTrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let Some(pem) = certificates else {
        return client_config(None);
    };
    let system = rustls_platform_verifier::Verifier::new(provider.clone()).ok();
    let verifier = NamedCertificates::new(pem, provider.clone(), system)?;
    with_verifier(provider, Arc::new(verifier))
}

/// Whether an error, its causes not looked at, is one of TLS: both sides were there, and the handshake or a record failed.
pub fn is_tls_error(error: &(dyn std::error::Error + 'static)) -> bool {
    let within = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || within.is_some_and(|error| error.is::<rustls::Error>())
}

fn with_verifier(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, TlsTrustError> {
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// Whether TLS can be set up at all; the system's authorities are left out, since a site with a certificate of its own
/// needs none.
///
/// # Errors
/// [`TlsTrustError::Rustls`].
pub fn check() -> Result<(), TlsTrustError> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(())
}

/// Believes the certificates that are named, what they have signed, and nothing else but what `system` believes.
///
/// The usual path check alone is not enough: it refuses a self-signed certificate that calls itself an authority, which
/// is what `openssl req -x509` makes and many small sites use. A named certificate is believed byte for byte, whatever
/// it says about itself: naming the very certificate is the stronger statement.
#[derive(Debug)]
struct NamedCertificates {
    named: Vec<CertificateDer<'static>>,
    chain: Arc<WebPkiServerVerifier>,
    system: Option<rustls_platform_verifier::Verifier>,
}

impl NamedCertificates {
    fn new(
        pem: &str,
        provider: Arc<CryptoProvider>,
        system: Option<rustls_platform_verifier::Verifier>,
    ) -> Result<Self, TlsTrustError> {
        let named: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| TlsTrustError::NoCertificate)?;
        let mut roots = RootCertStore::empty();
        // A bundle of authorities may hold one that the library does not understand; that one is not believed.
        let (usable, _) = roots.add_parsable_certificates(named.iter().cloned());
        if usable == 0 {
            return Err(TlsTrustError::NoCertificate);
        }
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Self { named, chain, system })
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
        let chained = self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match &self.system {
            Some(system) if chained.is_err() => {
                system.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            _ => chained,
        }
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
mod tests;
