//! The life of a container as one enum and one pure function.
//!
//! ```text
//!   created ──Start──▶ starting ──Started──▶ running ◀──Resumed/Paused──▶ paused
//!      │                  │                     │                            │
//!      │                  └───────Exited────────┴──────────Exited────────────┘
//!      │                                        ▼
//!      └──────Remove──────▶ removing ◀─Remove─ stopped ──Start──▶ starting
//! ```

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where a container is in its life, with the facts of that place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Accepted, durable, never started.
    Created,
    /// An init process is being made. On disk before the work begins.
    Starting,
    /// The init process runs.
    Running(Run),
    /// All processes are frozen.
    Paused(Run),
    /// The init process has ended, or never ran.
    Stopped(Exit),
    /// The container is being taken apart. On disk before the work begins.
    Removing,
}

/// One run of the init process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The init process, in the host's pid namespace.
    pub pid: i32,
    /// Start time of `pid` in clock ticks since boot (proc_pid_stat(5), field 22): with the pid it
    /// names one process for ever.
    pub pid_start: u64,
    /// The shim, parent of the init process.
    pub shim_pid: i32,
    /// Start time of the shim, as `pid_start`.
    pub shim_start: u64,
    /// When the init process started.
    pub started: Timestamp,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit status, 128+n when signal n ended it.
    pub code: i32,
    /// The kernel killed a process of the container for lack of memory.
    pub oom_killed: bool,
    /// When it ended.
    pub at: Timestamp,
    /// Why it never ran, or why its end is not known, in a sentence for the user.
    pub error: Option<String>,
}

impl Exit {
    /// The exit of a container whose init process could not be started.
    #[must_use]
    pub fn never_ran(code: i32, error: String, at: Timestamp) -> Self {
        Self { code, oom_killed: false, at, error: Some(error) }
    }

    /// The exit of a container whose shim vanished without a record of how it ended.
    #[must_use]
    pub fn unknown(at: Timestamp) -> Self {
        let error = "the shim ended without recording the exit status".to_owned();
        Self { code: 255, oom_killed: false, at, error: Some(error) }
    }
}

/// What can happen to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A start begins.
    Start,
    /// The init process runs.
    Started(Run),
    /// All processes were frozen.
    Paused,
    /// All processes were thawed.
    Resumed,
    /// The init process ended or never ran.
    Exited(Exit),
    /// The removal begins.
    Remove,
}

/// The state does not allow the event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("container is {}: cannot {}", state.name(), event.verb())]
pub struct TransitionError {
    /// The state it is in.
    pub state: State,
    /// What was tried.
    pub event: Event,
}

impl State {
    /// The state after `event`.
    ///
    /// # Errors
    /// [`TransitionError`] where the state does not allow the event.
    pub fn after(self, event: Event) -> Result<Self, TransitionError> {
        match (self, event) {
            (Self::Created | Self::Stopped(_), Event::Start) => Ok(Self::Starting),
            (Self::Created | Self::Stopped(_), Event::Remove) => Ok(Self::Removing),
            (Self::Starting, Event::Started(run)) => Ok(Self::Running(run)),
            (Self::Running(run), Event::Paused) => Ok(Self::Paused(run)),
            (Self::Paused(run), Event::Resumed) => Ok(Self::Running(run)),
            // From Starting: recovery finds a start that a crash cut short.
            (Self::Starting | Self::Running(_) | Self::Paused(_), Event::Exited(exit)) => {
                Ok(Self::Stopped(exit))
            }
            (state, event) => Err(TransitionError { state, event }),
        }
    }

    /// Docker's name of the state.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Running(_) => "running",
            Self::Paused(_) => "paused",
            Self::Stopped(_) => "exited",
            Self::Removing => "removing",
        }
    }

    /// The run, while there is one.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        match self {
            Self::Running(run) | Self::Paused(run) => Some(run),
            Self::Created | Self::Starting | Self::Stopped(_) | Self::Removing => None,
        }
    }

    /// The exit of the last run, if the container is stopped.
    #[must_use]
    pub fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Stopped(exit) => Some(exit),
            _ => None,
        }
    }
}

impl Event {
    fn verb(&self) -> &'static str {
        match self {
            Self::Start => "start it",
            Self::Started(_) => "mark it as started",
            Self::Paused => "pause it",
            Self::Resumed => "resume it",
            Self::Exited(_) => "mark it as exited",
            Self::Remove => "remove it",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Exit, Run, State};
    use jiff::Timestamp;

    const TRANSITIONS: &str = "
                  Start     Started  Paused  Resumed  Exited   Remove
        created   starting  -        -       -        -        removing
        starting  -         running  -       -        exited   -
        running   -         -        paused  -        exited   -
        paused    -         -        -       running  exited   -
        exited    starting  -        -       -        -        removing
        removing  -         -        -       -        -        -
    ";

    fn run() -> Run {
        let started = Timestamp::UNIX_EPOCH;
        Run { pid: 7, pid_start: 1, shim_pid: 6, shim_start: 1, started }
    }

    fn state(name: &str) -> State {
        match name {
            "created" => State::Created,
            "starting" => State::Starting,
            "running" => State::Running(run()),
            "paused" => State::Paused(run()),
            "exited" => State::Stopped(Exit::unknown(Timestamp::UNIX_EPOCH)),
            "removing" => State::Removing,
            other => panic!("no state {other}"),
        }
    }

    fn event(name: &str) -> Event {
        match name {
            "Start" => Event::Start,
            "Started" => Event::Started(run()),
            "Paused" => Event::Paused,
            "Resumed" => Event::Resumed,
            "Exited" => Event::Exited(Exit::unknown(Timestamp::UNIX_EPOCH)),
            "Remove" => Event::Remove,
            other => panic!("no event {other}"),
        }
    }

    #[test]
    fn every_transition_is_the_one_in_the_grid() {
        let mut lines = TRANSITIONS.lines().filter(|line| !line.trim().is_empty());
        let events: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        let mut cells = 0;
        for line in lines {
            let mut words = line.split_whitespace();
            let from = words.next().unwrap();
            for (name, wanted) in events.iter().zip(words) {
                let found = state(from).after(event(name));
                let found = found.as_ref().map_or("-", State::name);
                assert_eq!(found, wanted, "{from} after {name}");
                cells += 1;
            }
        }
        assert_eq!(cells, 36);
    }
}
