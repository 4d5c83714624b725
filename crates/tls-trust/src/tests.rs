//! Whole handshakes, in memory.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConnection, ServerConfig, ServerConnection,
    crypto::ring::sign::any_supported_type,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::*;

/// A certificate for `localhost` and its key; `issuer` none means signed by itself.
struct Made {
    params: CertificateParams,
    key: KeyPair,
    der: CertificateDer<'static>,
    pem: String,
}

fn make(authority: bool, issuer: Option<&Made>) -> Made {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    if authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(made) => params.signed_by(&key, &Issuer::from_params(&made.params, &made.key)).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Made { params, key, der: certificate.der().clone(), pem: certificate.pem() }
}

/// Shows one certificate and signs with a key that need not be its own.
#[derive(Debug)]
struct Server(Arc<CertifiedKey>);

impl ResolvesServerCert for Server {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Whether a client that believes `named` comes to terms with a server for `name` that shows `shown` and has `key`.
fn meets(
    named: &str,
    name: &str,
    shown: &Made,
    key: &KeyPair,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<(), rustls::Error> {
    meets_with(client_config(Some(named)).unwrap(), name, shown, key, versions)
}

fn meets_with(
    client: ClientConfig,
    name: &str,
    shown: &Made,
    key: &KeyPair,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = CertifiedKey::new(vec![shown.der.clone()], any_supported_type(&key).unwrap());
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let config = config.with_no_client_auth().with_cert_resolver(Arc::new(Server(Arc::new(key))));
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

const BOTH: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

#[test]
fn the_named_certificate_is_believed_whatever_it_calls_itself() {
    for authority in [false, true] {
        let server = make(authority, None);
        for version in BOTH {
            meets(&server.pem, "localhost", &server, &server.key, &[version]).unwrap();
        }
        // The very certificate: under whichever name or address the server is reached.
        meets(&server.pem, "mail.example.test", &server, &server.key, BOTH).unwrap();
    }
}

#[test]
fn what_a_named_authority_has_signed_is_believed_for_its_own_name_only() {
    let authority = make(true, None);
    let server = make(false, Some(&authority));
    meets(&authority.pem, "localhost", &server, &server.key, BOTH).unwrap();
    assert!(meets(&authority.pem, "mail.example.test", &server, &server.key, BOTH).is_err());
}

#[test]
fn beside_the_systems_authorities_only_what_is_named_is_believed() {
    let (named, other) = (make(true, None), make(true, None));
    meets_with(system_and(Some(&named.pem)).unwrap(), "localhost", &named, &named.key, BOTH).unwrap();
    let signed = make(false, Some(&named));
    meets_with(system_and(Some(&named.pem)).unwrap(), "localhost", &signed, &signed.key, BOTH).unwrap();
    let refused = meets_with(system_and(Some(&named.pem)).unwrap(), "localhost", &other, &other.key, BOTH).unwrap_err();
    assert!(matches!(refused, rustls::Error::InvalidCertificate(_)), "{refused}");
    assert!(meets_with(system_and(Some(&named.pem)).unwrap(), "localhost", &named, &other.key, BOTH).is_err());
}

#[test]
fn another_certificate_is_refused() {
    let (named, other) = (make(true, None), make(true, None));
    let signed_by_other = make(false, Some(&other));
    for shown in [&other, &signed_by_other] {
        let refused = meets(&named.pem, "localhost", shown, &shown.key, BOTH).unwrap_err();
        assert!(matches!(refused, rustls::Error::InvalidCertificate(_)), "{refused}");
    }
}

#[test]
fn the_named_certificate_without_its_key_is_refused() {
    let (named, thief) = (make(true, None), make(false, None));
    for version in BOTH {
        assert!(meets(&named.pem, "localhost", &named, &thief.key, &[version]).is_err());
    }
}

#[test]
fn of_several_named_certificates_each_is_believed() {
    let (one, two) = (make(true, None), make(false, None));
    let bundle = format!("{}{}", one.pem, two.pem);
    for server in [&one, &two] {
        meets(&bundle, "localhost", server, &server.key, BOTH).unwrap();
    }
}

#[test]
fn text_without_a_certificate_is_refused() {
    for bad in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(matches!(client_config(Some(bad)), Err(TlsTrustError::NoCertificate)), "{bad:?}");
    }
}
