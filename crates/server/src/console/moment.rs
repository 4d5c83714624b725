//! Points in time, as a page shows them.

use jiff::{Timestamp, tz::TimeZone};

/// A time, for people and for programs.
#[derive(Debug)]
pub struct Moment {
    pub people: String,
    pub machine: String,
}

/// In the site's own zone.
pub fn moment(at: Timestamp, zone: &TimeZone) -> Moment {
    let people = at.to_zoned(zone.clone()).strftime("%-d %b %Y, %H:%M").to_string();
    Moment { people, machine: at.to_string() }
}
