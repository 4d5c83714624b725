//! Administrators' passwords: Argon2id with the crate's recommended parameters (RFC 9106), on a thread that may take its time.

use std::sync::LazyLock;

use argon2::{
    Argon2, PasswordHash, PasswordHasher, PasswordVerifier,
    password_hash::{self, SaltString},
};

/// A password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("the password cannot be hashed: {0}")]
pub struct HashError(password_hash::Error);

/// Hashes a password for storage (PHC string format).
///
/// # Errors
/// [`HashError`].
pub fn hash(password: &str) -> Result<String, HashError> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(HashError)?;
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt).map_err(HashError)?.to_string())
}

/// Compares a password with a stored hash; without one it takes as long and says no.
pub async fn is_right(password: String, stored: Option<String>) -> bool {
    static NOBODY: LazyLock<String> = LazyLock::new(|| hash("nobody has this password").unwrap_or_default());
    let compared = tokio::task::spawn_blocking(move || {
        let phc = stored.as_deref().unwrap_or(&NOBODY);
        let right =
            PasswordHash::new(phc).is_ok_and(|h| Argon2::default().verify_password(password.as_bytes(), &h).is_ok());
        right && stored.is_some()
    });
    compared.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_somebody_is_right() {
        let stored = hash("correct horse").unwrap();
        assert!(is_right("correct horse".into(), Some(stored.clone())).await);
        assert!(!is_right("Correct horse".into(), Some(stored)).await);
        assert!(!is_right("nobody has this password".into(), None).await);
        assert!(!is_right("x".into(), Some("damaged".into())).await);
    }
}
