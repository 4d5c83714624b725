//! Keys of the three kinds that the TUF specification names.

use ed25519_dalek::Signer as _;
use ring::{
    rand::SystemRandom,
    rsa,
    signature::{self, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sigstore_tuf::canonical_json::to_canonical_bytes;

/// A private key, and how its public half stands in metadata.
#[derive(Debug)]
pub struct Signer {
    pair: Pair,
    pub public: Value,
}

#[derive(Debug)]
enum Pair {
    Ed25519(ed25519_dalek::SigningKey),
    Ecdsa(EcdsaKeyPair),
    Rsa(Box<rsa::KeyPair>),
}

impl Signer {
    /// What the suite uses where the kind does not matter.
    pub fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &signature::ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        // SubjectPublicKeyInfo of a point on P-256 (RFC 5480).
        let prefix = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
        let public = pem(&[&prefix, pair.public_key().as_ref()].concat());
        let public = json!({ "keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": { "public": public } });
        Self { pair: Pair::Ecdsa(pair), public }
    }

    pub fn ed25519() -> Self {
        let mut seed = [0; 32];
        ring::rand::SecureRandom::fill(&SystemRandom::new(), &mut seed).unwrap();
        let pair = ed25519_dalek::SigningKey::from_bytes(&seed);
        let public = hex::encode(pair.verifying_key().as_bytes());
        let public = json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": public } });
        Self { pair: Pair::Ed25519(pair), public }
    }

    pub fn rsa() -> Self {
        let pair = rsa::KeyPair::from_pkcs8(include_bytes!("rsa-2048.pk8")).unwrap();
        let public = json!({
            "keytype": "rsa",
            "scheme": "rsassa-pss-sha256",
            "keyval": { "public": pem(&rsa_public(pair.public().as_ref())) },
        });
        Self { pair: Pair::Rsa(Box::new(pair)), public }
    }

    pub fn of(kind: &str) -> Self {
        match kind {
            "ecdsa" => Self::new(),
            "ed25519" => Self::ed25519(),
            "rsa" => Self::rsa(),
            other => panic!("no keys of type {other}"),
        }
    }

    /// As python-tuf makes ids: over all that the key object says.
    pub fn id(&self) -> String {
        hex::encode(Sha256::digest(to_canonical_bytes(&self.public).unwrap()))
    }

    pub fn sign(&self, signed: &Value) -> Value {
        let bytes = to_canonical_bytes(signed).unwrap();
        let random = SystemRandom::new();
        let sig = match &self.pair {
            Pair::Ed25519(pair) => pair.sign(&bytes).to_bytes().to_vec(),
            Pair::Ecdsa(pair) => pair.sign(&random, &bytes).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut sig = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PSS_SHA256, &random, &bytes, &mut sig).unwrap();
                sig
            }
        };
        json!({ "keyid": self.id(), "sig": hex::encode(sig) })
    }
}

/// SubjectPublicKeyInfo of an RSA key (RFC 8017) of 2048 bits.
fn rsa_public(key: &[u8]) -> Vec<u8> {
    let algorithm = hex::decode("300d06092a864886f70d0101010500").unwrap();
    let long = |tag: u8, body: &[u8]| {
        let mut der = vec![tag, 0x82];
        der.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
        der.extend_from_slice(body);
        der
    };
    long(0x30, &[algorithm, long(0x03, &[&[0], key].concat())].concat())
}

fn pem(der: &[u8]) -> String {
    use std::fmt::Write as _;
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in der.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, b| (bits << 8) | u32::from(*b)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let filled = place <= three.len();
            text.push(if filled { char::from(ALPHABET[(bits >> (18 - 6 * place)) as usize & 63]) } else { '=' });
        }
    }
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        writeln!(pem, "{}", std::str::from_utf8(line).unwrap()).unwrap();
    }
    pem + "-----END PUBLIC KEY-----\n"
}
