//! The time of day, read in one place.

use jiff::{Timestamp, Unit};

/// Now, in whole milliseconds.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    // Rounding fails only at the end of time.
    now.round(Unit::Millisecond).unwrap_or(now)
}

/// Now, in Unix seconds.
pub fn unix() -> i64 {
    now().as_second()
}
