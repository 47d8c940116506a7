//! Durations as Go writes them: `10s`, `1m30s`, `1.5h`, `100ms`.

/// The nanoseconds of a duration, exactly.
///
/// # Errors
/// What Go's `time.ParseDuration` refuses, and what does not fit in 63 bits.
pub fn nanoseconds(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0_i128;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err(format!("missing unit in duration {text:?}")),
            other => return Err(format!("unknown unit {other:?} in duration {text:?}")),
        };
        total += amount(number, unit).ok_or_else(invalid)?;
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}

fn amount(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // What is beyond 18 digits is less than a nanosecond of an hour.
    let fraction = fraction.get(..fraction.len().min(18))?;
    let scale = 10_i128.pow(fraction.len() as u32);
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    Some(i128::from(whole) * unit + part * unit / scale)
}

/// A time between checks of health: at least a millisecond, or 0 for the default.
///
/// # Errors
/// As [`nanoseconds`], and shorter or negative durations.
pub fn health(text: &str) -> Result<u64, String> {
    match nanoseconds(text)? {
        0 => Ok(0),
        time if time >= 1_000_000 => Ok(time.unsigned_abs()),
        _ => Err("cannot be less than 1ms".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{health, nanoseconds};

    #[test]
    fn durations_are_those_of_go() {
        let table = [
            ("0", Some(0)),
            ("10s", Some(10_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("100ms", Some(100_000_000)),
            ("-1m", Some(-60_000_000_000)),
            ("1us2µs", Some(3_000)),
            (".5s", Some(500_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("0.3333333333333333333333h", Some(1_199_999_999_999)),
            ("", None),
            ("-", None),
            (".s", None),
            ("10", None),
            ("10x", None),
            ("1d", None),
            ("1.2.3s", None),
            ("9999999999999999999h", None),
            ("2562048h", None),
            ("s", None),
        ];
        for (text, expected) in table {
            assert_eq!(nanoseconds(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_check_of_health_is_not_more_often_than_each_millisecond() {
        assert_eq!(health("1ms"), Ok(1_000_000));
        assert_eq!(health("0"), Ok(0));
        assert!(health("1us").is_err() && health("-1s").is_err());
    }
}
