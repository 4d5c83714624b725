//! Random tokens, and what is stored of them: a hash, so that a copy of the database opens nothing.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// 256 random bits in URL-safe base64.
pub fn random_token() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// What is stored of a token.
pub fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// A connector's token: its user, and 256 random bits. The client keeps the name for us, so that the server can
/// have it back without storing it while readiness reports are off; the whole token is what is hashed, so neither part
/// can be changed.
pub fn seat_token(user: &str) -> String {
    format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(user), random_token())
}

/// The user in a connector's token. Trust it only after the token's hash was found.
pub fn user_in_token(token: &str) -> Option<String> {
    let (user, _) = token.split_once('.')?;
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(user).ok()?).ok()
}

/// What a form of a console session must carry: only somebody who can read the session's pages knows it.
pub fn form_token(session: &str) -> String {
    let digest = Sha256::new().chain_update(b"lockstep form\0").chain_update(session).finalize();
    BASE64_URL_SAFE_NO_PAD.encode(digest)
}

/// Compares in a time that does not depend on where they differ.
pub fn same(a: &str, b: &str) -> bool {
    subtle::ConstantTimeEq::ct_eq(a.as_bytes(), b.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_token_keeps_the_user_and_never_repeats() {
        let token = seat_token("alice.a@example.test");
        assert_eq!(user_in_token(&token).as_deref(), Some("alice.a@example.test"));
        assert_ne!(token, seat_token("alice.a@example.test"));
        assert!(user_in_token("no-dot").is_none() && user_in_token("%%.x").is_none());
    }
}
