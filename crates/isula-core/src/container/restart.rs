//! Whether and when a container that ended is started again (Docker's rules).

use std::time::Duration;

use super::{Exit, RestartPolicy};

/// The first pause before a restart.
const FIRST: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST: Duration = Duration::from_mins(1);
/// A run that lasted so long was a success: the pauses begin anew.
const STABLE: Duration = Duration::from_secs(10);

impl RestartPolicy {
    /// Whether a container that has just ended is to be started again. `restarts` counts how often
    /// that was done since a user started it; `stopped` says that a user wanted this end.
    #[must_use]
    pub fn after_exit(self, exit: &Exit, restarts: u32, stopped: bool) -> bool {
        match self {
            _ if stopped => false,
            Self::No => false,
            Self::Always | Self::UnlessStopped => true,
            Self::OnFailure(limit) => exit.code != 0 && (limit == 0 || restarts < limit),
        }
    }

    /// Whether a container that does not run is to be started when the daemon starts. `exit` is
    /// absent when it never ran; `stopped` says that a user stopped it.
    #[must_use]
    pub fn at_boot(self, exit: Option<&Exit>, restarts: u32, stopped: bool) -> bool {
        match (self, exit) {
            // Never started: that is the user's to do.
            (_, None) | (Self::No, _) => false,
            (Self::Always, _) => true,
            (Self::UnlessStopped, _) => !stopped,
            (Self::OnFailure(_), Some(exit)) => self.after_exit(exit, restarts, stopped),
        }
    }
}

/// The pause before the next restart: it doubles from 100 ms to a minute, and begins anew after a
/// run of 10 s.
#[must_use]
pub fn pause(former: Option<Duration>, ran: Duration) -> Duration {
    match former {
        Some(former) if ran < STABLE => former.saturating_mul(2).min(LONGEST),
        _ => FIRST,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::{
        super::{Exit, RestartPolicy},
        pause,
    };

    #[test]
    fn each_policy_decides_as_docker_does() {
        use RestartPolicy::{Always, No, OnFailure, UnlessStopped};
        // policy, exit code, restarts so far, stopped by the user; after the exit, at boot
        for (policy, code, restarts, stopped, after, boot) in [
            (No, 1, 0, false, false, false),
            (Always, 0, 99, false, true, true),
            (Always, 0, 0, true, false, true),
            (UnlessStopped, 0, 0, false, true, true),
            (UnlessStopped, 137, 0, true, false, false),
            (OnFailure(0), 1, 1000, false, true, true),
            (OnFailure(0), 0, 0, false, false, false),
            (OnFailure(3), 1, 2, false, true, true),
            (OnFailure(3), 1, 3, false, false, false),
            (OnFailure(3), 1, 0, true, false, false),
        ] {
            let at = Timestamp::UNIX_EPOCH;
            let exit = Exit { code, oom_killed: false, at, error: None };
            let case = (policy, code, restarts, stopped);
            assert_eq!(policy.after_exit(&exit, restarts, stopped), after, "{case:?}");
            assert_eq!(policy.at_boot(Some(&exit), restarts, stopped), boot, "{case:?}");
            assert!(!policy.at_boot(None, restarts, stopped), "{case:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_anew_after_a_stable_run() {
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(10));
        let mut last = None;
        let mut millis = Vec::new();
        for _ in 0..12 {
            let next = pause(last, short);
            millis.push(next.as_millis());
            last = Some(next);
        }
        assert_eq!(
            millis,
            [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]
        );
        assert_eq!(pause(last, long), Duration::from_millis(100));
    }
}
