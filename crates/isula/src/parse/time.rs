//! Times for `--since` and `--until`.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::duration;

/// Nanoseconds since the epoch of: RFC 3339 (a missing part is zero, a missing zone is the one
/// given), seconds since the epoch with a fraction, or a duration before `now`.
///
/// # Errors
/// Anything else.
pub fn nanoseconds(text: &str, now: Timestamp, zone: &TimeZone) -> Result<i64, String> {
    let invalid = || format!("{text:?} is neither a time nor a duration");
    if let Ok(ago) = duration::nanoseconds(text)
        && text != "0"
    {
        let time = now.checked_sub(SignedDuration::from_nanos(ago)).map_err(|_| invalid())?;
        return in_range(time).ok_or_else(invalid);
    }
    if text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    {
        return seconds(text).ok_or_else(invalid);
    }
    date(text, zone).and_then(in_range).ok_or_else(invalid)
}

fn in_range(time: Timestamp) -> Option<i64> {
    i64::try_from(time.as_nanosecond()).ok()
}

fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<9}").parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction)
}

fn date(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let (text, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(text) => (text, &TimeZone::UTC),
        None => (text, zone),
    };
    let zoned = |time: DateTime| zone.to_timestamp(time).ok();
    // Docker takes times without seconds and without minutes too.
    let (day, clock) = text.split_once('T').unwrap_or((text, ""));
    let clock = match clock.len() {
        0 => "00:00:00".to_owned(),
        2 => format!("{clock}:00:00"),
        5 => format!("{clock}:00"),
        _ => clock.to_owned(),
    };
    format!("{day}T{clock}").parse().ok().and_then(zoned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_time_is_understood() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let table = [
            ("2026-11-23T10:00:00Z", Some("2026-11-23T10:00:00Z")),
            ("2026-11-23T10:00:00.123456789+01:00", Some("2026-11-23T09:00:00.123456789Z")),
            ("2026-11-23T10:00:00", Some("2026-11-23T08:00:00Z")),
            ("2026-11-23T10:00:00.5", Some("2026-11-23T08:00:00.5Z")),
            ("2026-11-23T10:00", Some("2026-11-23T08:00:00Z")),
            ("2026-11-23T10", Some("2026-11-23T08:00:00Z")),
            ("2026-11-23", Some("2026-11-22T22:00:00Z")),
            ("2026-11-23Z", Some("2026-11-23T00:00:00Z")),
            ("10m", Some("2026-11-23T11:50:00Z")),
            ("1h30m", Some("2026-11-23T10:30:00Z")),
            ("0", Some("1970-01-01T00:00:00Z")),
            ("1136073845", Some("2006-01-01T00:04:05Z")),
            ("1136073845.000000001", Some("2006-01-01T00:04:05.000000001Z")),
            ("1136073845.0000000001", None),
            ("yesterday", None),
            ("", None),
            ("2026-13-01", None),
            ("99999999999999999999", None),
            ("1.2.3", None),
        ];
        for (text, expected) in table {
            let expected = expected.map(|time| time.parse::<Timestamp>().unwrap().as_nanosecond());
            let found = nanoseconds(text, now, &zone).ok().map(i128::from);
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
