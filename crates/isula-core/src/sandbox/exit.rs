//! Why a container ended, in CRI's words.

use crate::container::Exit;

/// The status of a run whose end nobody recorded ([`Exit::unknown`]).
const UNKNOWN: i32 = 255;

impl Exit {
    /// `Completed`, `Error`, `OOMKilled`, or `ContainerCannotRun` for one that never ran.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self { oom_killed: true, .. } => "OOMKilled",
            Self { error: Some(_), code, .. } if *code != UNKNOWN => "ContainerCannotRun",
            Self { code: 0, .. } => "Completed",
            Self { .. } => "Error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;
    use jiff::Timestamp;

    #[test]
    fn the_reason_tells_how_a_container_ended() {
        let at = Timestamp::UNIX_EPOCH;
        let exit = |code, oom_killed| Exit { code, oom_killed, at, error: None };
        assert_eq!(exit(0, false).reason(), "Completed");
        assert_eq!(exit(3, false).reason(), "Error");
        assert_eq!(exit(137, true).reason(), "OOMKilled");
        assert_eq!(Exit::unknown(at).reason(), "Error");
        assert_eq!(Exit::never_ran(127, "x".to_owned(), at).reason(), "ContainerCannotRun");
    }
}
