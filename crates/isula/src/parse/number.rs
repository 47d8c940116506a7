//! Numbers with a range, and decimal processors.

use std::fmt::Display;
use std::str::FromStr;

/// A number of the type's range.
///
/// # Errors
/// What is no such number.
pub fn number<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// `--cpus` in billionths of a processor, exactly: `1.5` is 1,500,000,000.
///
/// # Errors
/// What is no positive decimal, or has more than nine digits after the point.
pub fn nano_cpus(text: &str) -> Result<u64, String> {
    let invalid = || format!("{text:?} is no number of processors");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return Err(invalid());
    }
    if fraction.len() > 9 {
        return Err("value is too precise".to_owned());
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
    let fraction: u64 = format!("{fraction:0<9}").parse().map_err(|_| invalid())?;
    let nano = whole.checked_mul(1_000_000_000).and_then(|nano| nano.checked_add(fraction));
    nano.ok_or_else(invalid)
}

/// A weight of block input and output: 10 to 1000, or 0 for none.
///
/// # Errors
/// Other numbers.
pub fn blkio_weight(text: &str) -> Result<Option<u32>, String> {
    match number::<u32>(text)? {
        0 => Ok(None),
        weight @ 10..=1000 => Ok(Some(weight)),
        weight => Err(format!("the weight is 10 to 1000, not {weight}")),
    }
}

/// A tendency to swap: 0 to 100, or -1 for the system's.
///
/// # Errors
/// Other numbers.
pub fn swappiness(text: &str) -> Result<Option<u64>, String> {
    match number::<i64>(text)? {
        -1 => Ok(None),
        value @ 0..=100 => Ok(Some(value.unsigned_abs())),
        value => Err(format!("the swappiness is -1 to 100, not {value}")),
    }
}

/// An adjustment of the kernel's choice of victim: -1000 to 1000.
///
/// # Errors
/// Other numbers.
pub fn oom_score_adj(text: &str) -> Result<i32, String> {
    match number::<i32>(text)? {
        value @ -1000..=1000 => Ok(value),
        value => Err(format!("the adjustment is -1000 to 1000, not {value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_exact_decimals() {
        let table = [
            ("1", Some(1_000_000_000)),
            ("1.5", Some(1_500_000_000)),
            (".5", Some(500_000_000)),
            ("2.", Some(2_000_000_000)),
            ("0.1", Some(100_000_000)),
            ("0.000000001", Some(1)),
            ("0.0000000001", None),
            ("", None),
            (".", None),
            ("-1", None),
            ("1e3", None),
            ("1/2", None),
            ("99999999999", None),
        ];
        for (text, expected) in table {
            assert_eq!(nano_cpus(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn ranges_are_kept() {
        assert_eq!(blkio_weight("0"), Ok(None));
        assert_eq!(blkio_weight("10"), Ok(Some(10)));
        assert!(blkio_weight("9").is_err() && blkio_weight("1001").is_err());
        assert_eq!(swappiness("-1"), Ok(None));
        assert_eq!(swappiness("100"), Ok(Some(100)));
        assert!(swappiness("101").is_err() && swappiness("-2").is_err());
        assert_eq!(oom_score_adj("-1000"), Ok(-1000));
        assert!(oom_score_adj("1001").is_err());
        assert!(number::<u64>("-1").is_err());
    }
}
