//! The local user name and password.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// Who may log in at the local servers.
pub struct Credentials {
    user: String,
    password: String,
    wrong: Mutex<Wrong>,
}

/// Wrong passwords of late, at all servers and connections; one is forgotten every [`FORGET`].
#[derive(Default)]
struct Wrong {
    number: u32,
    since: Option<Instant>,
}

/// How fast wrong passwords are forgotten.
const FORGET: Duration = Duration::from_secs(3);
/// The longest a wrong password is made to wait for its answer.
const LONGEST_PAUSE: u32 = 10;

impl Credentials {
    /// The user name as the mail program is set up with it, and the local password (not the mail server's).
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Credentials {
        Credentials { user: user.into(), password: password.into(), wrong: Mutex::default() }
    }

    /// Notes a wrong password and says how long its answer must wait: a second, and one more for each ten of late, whoever tried
    /// them. The right password never waits. A connection stays occupied while it waits, even if its client has gone, so the
    /// number of connections bounds the guesses.
    pub(crate) fn refused(&self, now: Instant) -> Duration {
        // The numbers are whole even if a holder of the lock panicked.
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = wrong.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let forgotten = u32::try_from(elapsed.as_secs() / FORGET.as_secs()).unwrap_or(u32::MAX);
        wrong.number = wrong.number.saturating_sub(forgotten).saturating_add(1);
        if forgotten > 0 || wrong.since.is_none() {
            wrong.since = Some(now);
        }
        Duration::from_secs(u64::from((1 + wrong.number / 10).min(LONGEST_PAUSE)))
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
    fn many_wrong_passwords_wait_longer_and_are_forgotten_in_time() {
        let (c, start) = (Credentials::new("alice", "secret"), Instant::now());
        assert_eq!(c.refused(start), Duration::from_secs(1));
        let last = (0..500).map(|_| c.refused(start)).last();
        assert_eq!(last, Some(Duration::from_secs(10)));
        assert_eq!(c.refused(start + FORGET * 600), Duration::from_secs(1));
    }

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
