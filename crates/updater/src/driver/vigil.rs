//! Signs of life. They come from the driver's own loop, so a driver that hangs gives none, and is restarted.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// When the next sign of life is due.
#[derive(Debug)]
pub(super) struct Vigil {
    every: Option<Duration>,
    next: Instant,
}

impl Vigil {
    /// Signs `every` so often; never where nobody wants any.
    pub fn new(every: Option<Duration>, now: Instant) -> Self {
        Self { every, next: now }
    }

    /// Waits until the next one is due.
    pub async fn due(&self) {
        match self.every {
            Some(_) => sleep_until(self.next).await,
            None => std::future::pending().await,
        }
    }

    /// Whether one has to be given now; then the next one is due later.
    pub fn sign(&mut self, now: Instant) -> bool {
        let Some(every) = self.every.filter(|_| now >= self.next) else { return false };
        self.next = now + every;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_given_once_each_time_and_never_unasked() {
        let start = Instant::now();
        let minute = Duration::from_secs(60);
        let mut vigil = Vigil::new(Some(minute), start);
        assert_eq!([vigil.sign(start), vigil.sign(start)], [true, false]);
        assert_eq!([vigil.sign(start + minute / 2), vigil.sign(start + minute)], [false, true]);
        assert!(!Vigil::new(None, start).sign(start + minute));
    }
}
