//! When and how long to wait before asking again.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

/// How a failed request is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How often after the first try.
    pub attempts: u32,
    /// The first pause; each further one is twice as long.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// The longest pause that a server may ask for by `Retry-After`; one who asks for more is
    /// asked again after this time.
    pub retry_after: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            first: Duration::from_millis(250),
            longest: Duration::from_secs(8),
            retry_after: Duration::from_secs(60),
        }
    }
}

impl Retry {
    /// The pause before try number `attempt` (0 is the first repetition): between half and all of
    /// the doubled step, so that clients that failed together do not come back together; or what
    /// the server asked for.
    pub(super) fn pause(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        if let Some(asked) = asked {
            return asked.min(self.retry_after);
        }
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        let step = self.first.saturating_mul(factor).min(self.longest);
        // The keys of a RandomState come from the system's random numbers.
        let random = RandomState::new().hash_one(attempt);
        let half = step / 2;
        let part = u32::try_from(random % 1024).unwrap_or(0);
        half + half * part / 1023
    }
}

/// True for an answer that may be another one a little later.
pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// What `Retry-After` asks for: seconds, or a date counted from `Date` of the same answer, for our
/// clock may differ from the server's.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp());
    let then = date(text)?;
    let now = date(headers.get(http::header::DATE)?.to_str().ok()?)?;
    Some(Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::{Duration, HeaderMap, Retry, retry_after};

    #[test]
    fn pauses_grow_to_a_limit_and_are_never_more_than_it() {
        let retry = Retry::default();
        for (attempt, step) in [(0, 250), (1, 500), (4, 4000), (5, 8000), (31, 8000), (99, 8000)] {
            let pause = retry.pause(attempt, None).as_millis();
            assert!((step / 2..=step).contains(&pause), "{attempt}: {pause}");
        }
        assert_eq!(retry.pause(0, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(retry.pause(0, Some(Duration::from_secs(7000))), Duration::from_secs(60));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let headers = |value: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", value.parse().unwrap());
            if let Some(date) = date {
                headers.insert("date", date.parse().unwrap());
            }
            retry_after(&headers)
        };
        let noon = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(headers("5", None), Some(Duration::from_secs(5)));
        assert_eq!(headers("Sun, 06 Nov 1994 08:49:40 GMT", noon), Some(Duration::from_secs(3)));
        assert_eq!(headers("Sun, 06 Nov 1994 08:49:30 GMT", noon), Some(Duration::ZERO));
        for bad in ["", "-1", "x", "Sun, 06 Nov 1994 08:49:40 GMT", "99999999999999999999999"] {
            assert_eq!(headers(bad, None), None, "{bad}");
        }
    }
}
