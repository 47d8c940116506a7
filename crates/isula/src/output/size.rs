//! Sizes as people read them, in powers of 1000, as Docker shows those of images.

/// Four significant digits at most: `1.23MB`, `980kB`, `12B`.
#[must_use]
pub fn human(bytes: u64) -> String {
    significant(bytes, 3)
}

fn significant(bytes: u64, digits: usize) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut size = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        unit = next;
        if size < 1000.0 || next == "EB" {
            break;
        }
        size /= 1000.0;
    }
    // `%.3g`: 999.9 becomes 1e+03 there; here it is the next unit's 1.
    let decimals = match size {
        size if size >= 100.0 => digits.saturating_sub(3),
        size if size >= 10.0 => digits.saturating_sub(2),
        _ => digits.saturating_sub(1),
    };
    let text = format!("{size:.decimals$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_have_three_digits_that_count() {
        let table = [
            (0, "0B"),
            (12, "12B"),
            (999, "999B"),
            (1000, "1kB"),
            (1234, "1.23kB"),
            (12_345, "12.3kB"),
            (123_456, "123kB"),
            (4_270_000, "4.27MB"),
            (1_500_000_000, "1.5GB"),
            (u64::MAX, "18.4EB"),
        ];
        for (bytes, expected) in table {
            assert_eq!(human(bytes), expected);
        }
    }
}
