//! Trust towards the mail server: the system's authorities, or the certificates in a PEM file.
//!
//! A PEM file may hold a CA or the mail server's own certificate. The latter is accepted when it is presented byte for
//! byte, whatever it says about being a CA: pinning the very certificate is the stronger statement.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;

/// Why TLS towards the mail server cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetup {
    /// The PEM text has no certificate, or a damaged one.
    #[error("the mail server's CA file has no usable certificate; it must be in PEM")]
    BadPem,
    /// The TLS library refuses.
    #[error("TLS towards the mail server cannot be set up")]
    Rustls(#[from] rustls::Error),
    /// The same, for the list of authorities.
    #[error("the mail server's CA file cannot be used")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// A client's configuration that trusts the certificates in `pem`, or without one the system's authorities.
///
/// # Errors
/// [`TlsSetup`].
pub fn client_config(pem: Option<&str>) -> Result<Arc<ClientConfig>, TlsSetup> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let Some(pem) = pem else {
        return Ok(Arc::new(builder.with_platform_verifier()?.with_no_client_auth()));
    };
    let pinned: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|_| TlsSetup::BadPem)?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(pinned.iter().cloned());
    if added == 0 {
        return Err(TlsSetup::BadPem);
    }
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let verifier = Arc::new(PinOrChain { pinned, chain, provider });
    Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

/// Accepts a pinned certificate, else whatever chains to one.
#[derive(Debug)]
struct PinOrChain {
    pinned: Vec<CertificateDer<'static>>,
    chain: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinOrChain {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.iter().any(|pin| pin == end_entity) {
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
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
