//! Dates as IMAP writes them: `17-Jul-1996 02:44:25 -0700` (RFC 9051, `date-time`).

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads a date into Unix seconds. `None` when it is not one.
pub fn parse(text: &str) -> Option<i64> {
    let mut words = text.split_ascii_whitespace();
    let (date, time, zone) = (words.next()?, words.next()?, words.next()?);
    let mut date = date.split('-');
    let (day, month, year) = (date.next()?, date.next()?, date.next()?);
    let month = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(month))? + 1;
    let mut time = time.split(':').map(|n| n.parse::<i8>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let local =
        jiff::civil::DateTime::new(year.parse().ok()?, month as i8, day.parse().ok()?, hour, minute, second.min(59), 0)
            .ok()?;
    let (sign, digits) = zone.split_at_checked(1)?;
    let digits: i32 = Some(digits).filter(|d| d.len() == 4)?.parse().ok()?;
    let east = (digits / 100 * 60 + digits % 100) * 60 * if sign == "-" { -1 } else { 1 };
    let offset = jiff::tz::Offset::from_seconds(east).ok()?;
    Some(offset.to_timestamp(local).ok()?.as_second())
}

/// Writes Unix seconds as a date in UTC; what no calendar holds becomes 1970.
pub fn format(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    let civil = jiff::tz::Offset::UTC.to_datetime(time);
    format!(
        "{:02}-{}-{:04} {:02}:{:02}:{:02} +0000",
        civil.day(),
        MONTHS[usize::from(civil.month().unsigned_abs()) - 1],
        civil.year().max(0),
        civil.hour(),
        civil.minute(),
        civil.second(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_zone_counts() {
        assert_eq!(parse("17-Jul-1996 02:44:25 -0700"), Some(837_596_665));
        assert_eq!(parse(" 7-Jul-1996 02:44:25 +0000"), Some(836_707_465), "a day may be padded with a blank");
        for bad in
            ["", "17-Jul-1996", "17-Xyz-1996 02:44:25 +0000", "40-Jul-1996 02:44:25 +0000", "1-Jul-1996 02:44:25 0000"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn dates_are_read_back(seconds in 0i64..4_000_000_000) {
            prop_assert_eq!(parse(&format(seconds)), Some(seconds));
        }
    }
}
