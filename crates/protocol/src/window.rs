//! Maintenance windows: the weekly hours in which upgrades that are not urgent may be activated.
//!
//! A window begins at its local time and lasts as long as it says. So on the days on which clocks are put forward or back it is
//! neither skipped nor doubled: `Sun 02:00-03:00` lasts an hour on each Sunday of the year. The rules of time zones are those that
//! the program was built with, so that a device and its site's server read the same hours.

use std::{fmt, str::FromStr};

use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Time, Weekday},
    tz::{TimeZone, TimeZoneDatabase},
};
use serde::{Deserialize, Serialize};

/// Windows of one policy, at most; more would be a mistake, and each is looked at in every decision.
pub const MAX_WINDOWS: usize = 32;

const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// Hours that come back every week: `Sat 02:00-05:00`, `Mon-Fri 22:00-01:30`, `Sat,Sun 00:00-24:00`, `daily 03:00-04:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    /// Bit 0 is Monday: the days on which it begins.
    days: u8,
    /// Minutes after midnight, 0 to 1439.
    start: u16,
    /// Minutes, 1 to 1440.
    length: u16,
}

/// Text that is not a [`Window`].
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a maintenance window; write it as `Sat 02:00-05:00`, `Mon-Fri 22:00-01:30` or `daily 03:00-04:00`"
)]
pub struct BadWindow(String);

impl FromStr for Window {
    type Err = BadWindow;

    fn from_str(text: &str) -> Result<Self, BadWindow> {
        parse(text).ok_or_else(|| BadWindow(text.chars().take(64).collect()))
    }
}

fn parse(text: &str) -> Option<Window> {
    let (days, hours) = text.trim().split_once(' ')?;
    let (from, to) = hours.trim().split_once('-')?;
    let (start, end) = (minutes(from)?, minutes(to)?);
    if start == end || start == DAY {
        return None;
    }
    let length = if end > start { end - start } else { DAY - start + end };
    Some(Window { days: weekdays(days)?, start, length })
}

fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let two = |t: &str| (t.len() == 2).then(|| t.parse::<u8>().ok()).flatten().map(u16::from);
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= DAY).then_some(all)
}

fn weekdays(text: &str) -> Option<u8> {
    if text.eq_ignore_ascii_case("daily") {
        return Some(0x7f);
    }
    let day = |name: &str| DAYS.iter().position(|(d, _)| d.eq_ignore_ascii_case(name));
    let mut days = 0u8;
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(part)?, day(part)?),
        };
        let mut at = first;
        loop {
            days |= 1 << at;
            if at == last {
                break;
            }
            at = (at + 1) % 7;
        }
    }
    Some(days)
}

impl TryFrom<String> for Window {
    type Error = BadWindow;

    fn try_from(text: String) -> Result<Self, BadWindow> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days == 0x7f {
            f.write_str("daily")?;
        } else {
            let mut separator = "";
            let mut at = 0;
            while at < 7 {
                let run = (at..7).take_while(|d| self.days & (1 << d) != 0).count();
                if run > 0 {
                    write!(f, "{separator}{}", DAYS[at].0)?;
                    if run > 1 {
                        write!(f, "-{}", DAYS[at + run - 1].0)?;
                    }
                    separator = ",";
                }
                at += run.max(1);
            }
        }
        let end = self.start + self.length;
        let end = if end > DAY { end - DAY } else { end };
        write!(f, " {:02}:{:02}-{:02}:{:02}", self.start / 60, self.start % 60, end / 60, end % 60)
    }
}

/// A policy's maintenance windows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// When upgrades may be activated. None at all: at any time.
    #[serde(default)]
    pub weekly: Vec<Window>,
    /// The time zone of these hours, as an IANA name or a POSIX `TZ` rule. `None`, or one that is not known: the device's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Whether they bind required upgrades too, which then leave their users cut off until a window opens or the deadline
    /// has passed. Otherwise they bind only what the server can do without: recommended upgrades.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required_too: bool,
}

impl Windows {
    /// Whether upgrades may be activated now. `device` is the device's own time zone.
    pub fn is_open(&self, now: Timestamp, device: &TimeZone) -> bool {
        self.weekly.is_empty() || self.spans(now, device).iter().any(|(from, to)| *from <= now && now < *to)
    }

    /// When the next window begins. `None`: there are no windows, so there is nothing to wait for.
    pub fn opens(&self, now: Timestamp, device: &TimeZone) -> Option<Timestamp> {
        self.spans(now, device).into_iter().map(|(from, _)| from).filter(|from| *from > now).min()
    }

    /// The next moment at which [`Self::is_open`] may change.
    pub fn next_edge(&self, now: Timestamp, device: &TimeZone) -> Option<Timestamp> {
        self.spans(now, device).into_iter().flat_map(|(from, to)| [from, to]).filter(|at| *at > now).min()
    }

    /// The windows from the day before yesterday to this day next week, in no order.
    fn spans(&self, now: Timestamp, device: &TimeZone) -> Vec<(Timestamp, Timestamp)> {
        let named = self.zone.as_deref().and_then(zone);
        let zone = named.as_ref().unwrap_or(device);
        let today = zone.to_datetime(now).date();
        let mut spans = Vec::new();
        for offset in -2..=8 {
            let Ok(date) = today.checked_add(offset.days()) else { continue };
            let day = DAYS.iter().position(|(_, d)| *d == date.weekday()).unwrap_or_default();
            for window in self.weekly.iter().take(MAX_WINDOWS).filter(|w| w.days & (1 << day) != 0) {
                let (hour, minute) = ((window.start / 60) as i8, (window.start % 60) as i8);
                let Ok(time) = Time::new(hour, minute, 0, 0) else { continue };
                // A time that does not exist on that day is as much later as clocks are put forward; of one that comes
                // twice it is the first (RFC 5545, 3.3.5).
                let Ok(from) = zone.to_ambiguous_timestamp(date.to_datetime(time)).compatible() else { continue };
                let Ok(to) = from.checked_add(SignedDuration::from_mins(i64::from(window.length))) else { continue };
                spans.push((from, to));
            }
        }
        spans
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weekly: Vec<_> = self.weekly.iter().map(ToString::to_string).collect();
        let weekly = if weekly.is_empty() { "at any time".to_owned() } else { weekly.join("; ") };
        f.write_str(&weekly)?;
        if let Some(zone) = &self.zone {
            write!(f, " {zone}")?;
        }
        if self.required_too { f.write_str(", required upgrades too") } else { Ok(()) }
    }
}

/// A time zone by its IANA name (`Europe/Prague`) or a POSIX rule (`CET-1CEST,M3.5.0,M10.5.0/3`). `None`: not known.
pub fn zone(text: &str) -> Option<TimeZone> {
    // Slash first: every POSIX rule ends its name with a digit or a sign, and "UTC" is both.
    TimeZoneDatabase::bundled().get(text).ok().or_else(|| TimeZone::posix(text).ok())
}

/// The time zone that a device reports; UTC where it reports none that is known.
pub fn device_zone(reported: Option<&str>) -> TimeZone {
    reported.and_then(zone).unwrap_or(TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn windows(weekly: &str, zone: &str) -> Windows {
        Windows { weekly: vec![weekly.parse().unwrap()], zone: Some(zone.into()), required_too: false }
    }

    #[test]
    fn windows_are_read_and_written_as_people_write_them() {
        for (text, written) in [
            ("Sat 02:00-05:00", "Sat 02:00-05:00"),
            ("mon-fri 22:00-01:30", "Mon-Fri 22:00-01:30"),
            ("Fri-Mon 00:00-24:00", "Mon,Fri-Sun 00:00-24:00"),
            ("daily 03:00-04:00", "daily 03:00-04:00"),
            ("Mon,Wed  03:00 - 04:00", "Mon,Wed 03:00-04:00"),
        ] {
            assert_eq!(text.parse::<Window>().unwrap().to_string(), written);
        }
        for bad in
            ["", "Sat", "Sat 2:00-5:00", "Sat 02:00-02:00", "Sat 24:00-25:00", "Son 02:00-03:00", "Sat 02:60-03:00"]
        {
            assert!(bad.parse::<Window>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_window_is_in_the_local_time_and_crosses_midnight() {
        let w = windows("Fri 22:00-01:30", "Europe/Prague");
        let utc = TimeZone::UTC;
        // Friday 6 March 2026, 22:00 in Prague is 21:00 UTC.
        for (now, open) in [
            ("2026-03-06T20:59:59Z", false),
            ("2026-03-06T21:00:00Z", true),
            ("2026-03-07T00:29:59Z", true),
            ("2026-03-07T00:30:00Z", false),
        ] {
            assert_eq!(w.is_open(at(now), &utc), open, "{now}");
        }
        assert_eq!(w.opens(at("2026-03-06T22:00:00Z"), &utc), Some(at("2026-03-13T21:00:00Z")));
        assert_eq!(w.next_edge(at("2026-03-06T22:00:00Z"), &utc), Some(at("2026-03-07T00:30:00Z")));
    }

    #[test]
    fn a_window_is_neither_skipped_nor_doubled_when_clocks_change() {
        // In Prague 02:00-03:00 does not exist on 29 March 2026, and comes twice on 25 October.
        let w = windows("Sun 02:00-03:00", "Europe/Prague");
        let utc = TimeZone::UTC;
        assert_eq!(w.opens(at("2026-03-28T12:00:00Z"), &utc), Some(at("2026-03-29T01:00:00Z")));
        assert!(w.is_open(at("2026-03-29T01:59:59Z"), &utc) && !w.is_open(at("2026-03-29T02:00:00Z"), &utc));
        assert_eq!(w.opens(at("2026-10-24T12:00:00Z"), &utc), Some(at("2026-10-25T00:00:00Z")));
        assert!(w.is_open(at("2026-10-25T00:59:59Z"), &utc) && !w.is_open(at("2026-10-25T01:00:00Z"), &utc));
    }

    #[test]
    fn without_a_zone_or_with_one_that_is_not_known_the_devices_own_counts() {
        let mut w = windows("Sat 02:00-05:00", "Mars/Olympus");
        let device = device_zone(Some("CET-1CEST,M3.5.0,M10.5.0/3"));
        assert!(w.is_open(at("2026-03-07T01:00:00Z"), &device));
        w.zone = None;
        assert!(w.is_open(at("2026-03-07T01:00:00Z"), &device) && !w.is_open(at("2026-03-07T04:00:00Z"), &device));
        assert!(Windows::default().is_open(at("2026-03-07T01:00:00Z"), &device), "no windows: at any time");
    }

    proptest! {
        #[test]
        fn every_window_opens_within_eight_days_and_lasts_as_long_as_it_says(
            days in 1u8..128, (start, length) in prop_oneof![(0u16..1440, 1u16..1440), Just((0, 1440))],
            now in 1_700_000_000i64..1_900_000_000, zone in prop::sample::select(vec!["UTC", "Europe/Prague", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
        ) {
            let w = Window { days, start, length };
            prop_assert_eq!(w.to_string().parse::<Window>().unwrap(), w);
            let ws = Windows { weekly: vec![w], zone: Some(zone.into()), required_too: false };
            let now = Timestamp::from_second(now).unwrap();
            let opens = ws.opens(now, &TimeZone::UTC).unwrap();
            prop_assert!(opens.duration_since(now).as_secs() <= 8 * 24 * 3600);
            prop_assert!(ws.is_open(opens, &TimeZone::UTC));
            let last = opens.checked_add(SignedDuration::from_secs(i64::from(length) * 60 - 1)).unwrap();
            prop_assert!(ws.is_open(last, &TimeZone::UTC));
        }

        #[test]
        fn no_text_crashes_the_reader(text in ".{0,40}") {
            drop(text.parse::<Window>());
        }
    }
}
