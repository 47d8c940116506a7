//! Wall clock and its text form (RFC 3339, UTC, nanoseconds), without a calendar library.

use std::io::Write;

pub use rustix::time::Timespec;

/// The time now, `CLOCK_REALTIME`.
#[must_use]
pub fn now() -> Timespec {
    rustix::time::clock_gettime(rustix::time::ClockId::Realtime)
}

/// The time since boot, with time asleep, `CLOCK_BOOTTIME`.
#[must_use]
pub fn since_boot() -> Timespec {
    rustix::time::clock_gettime(rustix::time::ClockId::Boottime)
}

/// Length of what [`write_rfc3339`] writes for the years 0 to 9999.
pub const RFC3339_LENGTH: usize = 30;

/// `2026-11-23T16:53:07.000000123Z`; years beyond 0 to 9999 are clamped to them.
#[must_use]
pub fn rfc3339(time: Timespec) -> String {
    String::from_utf8_lossy(&write_rfc3339(time)).into_owned()
}

/// As [`rfc3339`], into an array: nothing is allocated, for loggers.
#[must_use]
pub fn write_rfc3339(time: Timespec) -> [u8; RFC3339_LENGTH] {
    // 0000-01-01 and 9999-12-31T23:59:59.
    let seconds = time.tv_sec.clamp(-62_167_219_200, 253_402_300_799);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let nanoseconds = time.tv_nsec.clamp(0, 999_999_999);
    let mut text = [b'0'; RFC3339_LENGTH];
    let mut rest = text.as_mut_slice();
    // The array has room for exactly this form; a shorter write is impossible after the clamps.
    let _ = write!(
        rest,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z"
    );
    text
}

/// Year, month and day of a day counted from 1970-01-01 in the proleptic Gregorian calendar.
///
/// Counts in eras of 400 years (146,097 days) that begin on the first of March, so that the leap
/// day is the last of its year.
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_says() {
        let cases = [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399, 999_999_999, "2000-02-28T23:59:59.999999999Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000000001Z"),
            (1_078_099_199, 0, "2004-02-29T23:59:59.000000000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000000Z"),
            (1_795_452_787, 123, "2026-11-23T16:53:07.000000123Z"),
            (-1, 0, "1969-12-31T23:59:59.000000000Z"),
            (-62_135_596_800, 0, "0001-01-01T00:00:00.000000000Z"),
            (i64::MAX, 0, "9999-12-31T23:59:59.000000000Z"),
            (i64::MIN, 0, "0000-01-01T00:00:00.000000000Z"),
        ];
        for (tv_sec, tv_nsec, text) in cases {
            assert_eq!(rfc3339(Timespec { tv_sec, tv_nsec }), text);
        }
    }
}
