//! How long ago something was, in Docker's words, and the status of a container made of them.

use isula_api::v1::ContainerSummary;

/// A length of time in words.
#[must_use]
pub fn words(nanoseconds: i128) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    let minutes = seconds / 60;
    // Hours are rounded to the nearest.
    let hours = (nanoseconds + 1_800_000_000_000).div_euclid(3_600_000_000_000);
    match (seconds, minutes, hours) {
        (..1, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, ..48) => format!("{hours} hours"),
        (_, _, ..336) => format!("{} days", hours / 24),
        (_, _, ..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// `8 seconds ago`; nothing for a time that never was.
#[must_use]
pub fn ago(then_ns: i64, now_ns: i64) -> String {
    if then_ns <= 0 {
        return "N/A".to_owned();
    }
    format!("{} ago", words(i128::from(now_ns) - i128::from(then_ns)))
}

/// The STATUS column.
#[must_use]
pub fn status(container: &ContainerSummary, now_ns: i64) -> String {
    let since = |then: i64| words(i128::from(now_ns) - i128::from(then));
    match container.state.as_str() {
        "running" => format!("Up {}", since(container.started_ns)),
        "paused" => format!("Up {} (Paused)", since(container.started_ns)),
        "restarting" => {
            format!("Restarting ({}) {} ago", container.exit_code, since(container.finished_ns))
        }
        // A container whose start failed never ran: it has no time of an end.
        "exited" if container.finished_ns <= 0 => format!("Exited ({})", container.exit_code),
        "exited" => {
            format!("Exited ({}) {} ago", container.exit_code, since(container.finished_ns))
        }
        "removing" => "Removal In Progress".to_owned(),
        "created" => "Created".to_owned(),
        "starting" => "Starting".to_owned(),
        "dead" => "Dead".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn times_are_dockers_words() {
        let (minute, hour, day) = (60, 3600, 86_400);
        let table = [
            (0, "Less than a second"),
            (-5, "Less than a second"),
            (1, "1 second"),
            (8, "8 seconds"),
            (59, "59 seconds"),
            (minute, "About a minute"),
            (119, "About a minute"),
            (2 * minute, "2 minutes"),
            (59 * minute, "59 minutes"),
            (hour, "About an hour"),
            (hour + 29 * minute, "About an hour"),
            (hour + 31 * minute, "2 hours"),
            (47 * hour, "47 hours"),
            (2 * day, "2 days"),
            (13 * day, "13 days"),
            (14 * day, "2 weeks"),
            (59 * day, "8 weeks"),
            (60 * day, "2 months"),
            (729 * day, "24 months"),
            (730 * day, "2 years"),
        ];
        for (seconds, expected) in table {
            assert_eq!(words(i128::from(seconds * SECOND)), expected, "{seconds}");
        }
        assert_eq!(ago(0, 5 * SECOND), "N/A");
        assert_eq!(ago(i64::MIN, i64::MAX), "N/A");
        assert_eq!(ago(1, i64::MAX), "292 years ago");
    }

    #[test]
    fn a_status_tells_the_state_and_since_when() {
        let table = [
            ("created", "Created"),
            ("running", "Up 4 seconds"),
            ("paused", "Up 4 seconds (Paused)"),
            ("restarting", "Restarting (3) 2 seconds ago"),
            ("exited", "Exited (3) 2 seconds ago"),
            ("removing", "Removal In Progress"),
            ("dead", "Dead"),
        ];
        for (state, expected) in table {
            let container = ContainerSummary {
                state: state.to_owned(),
                exit_code: 3,
                started_ns: 6 * SECOND,
                finished_ns: 8 * SECOND,
                ..ContainerSummary::default()
            };
            assert_eq!(status(&container, 10 * SECOND), expected);
        }
        let failed = ContainerSummary {
            state: "exited".to_owned(),
            exit_code: 127,
            ..ContainerSummary::default()
        };
        assert_eq!(status(&failed, SECOND), "Exited (127)");
    }
}
