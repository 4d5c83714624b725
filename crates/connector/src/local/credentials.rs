//! The local user name and password.

use std::fmt;
use subtle::ConstantTimeEq;

/// Who may log in at the local servers.
pub struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// The user name as the mail program is set up with it, and the local password (not the mail server's).
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Credentials {
        Credentials { user: user.into(), password: password.into() }
    }

    /// Whether both are right. Takes the same time for every wrong pair of the same lengths; an empty password is never right.
    pub(crate) fn accept(&self, user: &[u8], password: &[u8]) -> bool {
        let same_user = self.user.as_bytes().ct_eq(user);
        let same_password = self.password.as_bytes().ct_eq(password);
        bool::from(same_user & same_password) && !self.password.is_empty()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).field("password", &"…").finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_pair_is_accepted_and_the_password_is_never_shown() {
        let c = Credentials::new("alice", "secret");
        assert!(c.accept(b"alice", b"secret"));
        assert!(
            !c.accept(b"alice", b"Secret")
                && !c.accept(b"bob", b"secret")
                && !c.accept(b"alice", b"")
                && !c.accept(b"", b"")
        );
        assert!(!Credentials::new("alice", "").accept(b"alice", b""));
        assert!(!format!("{c:?}").contains("secret"));
    }
}
