//! Sizes in bytes: `512m`, `1.5g`, `64KiB`. Units are powers of 1024, as in Docker.

/// The bytes that a text means, exactly: fractions are decimal, what is less than a byte is cut.
///
/// # Errors
/// What is no number with a unit of b, k, m, g, t or p (with `b`, `i` and `ib` after it), or does
/// not fit in 64 bits.
pub fn bytes(text: &str) -> Result<u64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = unit_shift(unit.strip_prefix(' ').unwrap_or(unit)).ok_or_else(invalid)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    // 18 digits after the point are finer than a byte of a petabyte.
    if !digits(whole) || !digits(fraction) || fraction.len() > 18 {
        return Err(invalid());
    }
    let too_large = || format!("size is too large: '{text}'");
    let whole: u128 = whole.parse().map_err(|_| too_large())?;
    let scale = 10_u128.pow(fraction.len() as u32);
    let fraction: u128 = fraction.parse().map_err(|_| invalid())?;
    let part = (fraction << shift) / scale;
    let total = whole.checked_mul(1 << shift).and_then(|total| total.checked_add(part));
    total.and_then(|total| u64::try_from(total).ok()).ok_or_else(too_large)
}

/// As [`bytes()`], but `-1` stands for no limit.
///
/// # Errors
/// As [`bytes()`].
pub fn bytes_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    i64::try_from(bytes(text)?).map_err(|_| format!("size is too large: '{text}'"))
}

fn unit_shift(unit: &str) -> Option<u32> {
    let unit = unit.to_ascii_lowercase();
    let shift = match unit.chars().next() {
        None => return Some(0),
        Some('b') => return (unit == "b").then_some(0),
        Some('k') => 10,
        Some('m') => 20,
        Some('g') => 30,
        Some('t') => 40,
        Some('p') => 50,
        Some(_) => return None,
    };
    matches!(unit.get(1..), Some("" | "b" | "i" | "ib")).then_some(shift)
}

#[cfg(test)]
mod tests {
    use super::{bytes, bytes_or_unlimited};

    #[test]
    fn sizes_are_exact() {
        let table = [
            ("0", Some(0)),
            ("32", Some(32)),
            ("32b", Some(32)),
            ("32B", Some(32)),
            ("512m", Some(512 << 20)),
            ("1.5g", Some(3 << 29)),
            ("1.5 G", Some(3 << 29)),
            ("64KiB", Some(64 << 10)),
            ("2kb", Some(2 << 10)),
            ("1t", Some(1 << 40)),
            ("16383p", Some(16383 << 50)),
            ("0.1k", Some(102)),
            ("16384p", None),
            ("99999999999999999999999999999999999999999", None),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1.2.3", None),
            ("1.", None),
            (".5", None),
            ("1x", None),
            ("1ki b", None),
            ("1bb", None),
            ("1  k", None),
            ("１", None),
            ("0.1234567890123456789k", None),
        ];
        for (text, expected) in table {
            assert_eq!(bytes(text).ok(), expected, "{text:?}");
        }
        assert_eq!(bytes("1x").unwrap_err(), "invalid size: '1x'");
        assert_eq!(bytes_or_unlimited("-1"), Ok(-1));
        assert!(bytes_or_unlimited("9000p").is_err());
    }
}
