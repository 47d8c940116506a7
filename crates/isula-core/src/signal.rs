//! Signals by name and number (signal(7), Linux numbering of x86-64 and aarch64).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A signal number from 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "i32", into = "i32")]
pub struct Signal(u8);

/// The text or number is no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid signal: {0}")]
pub struct SignalError(String);

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

impl Signal {
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGTERM.
    pub const TERM: Self = Self(15);

    /// The number.
    #[must_use]
    pub fn number(self) -> i32 {
        i32::from(self.0)
    }
}

impl TryFrom<i32> for Signal {
    type Error = SignalError;

    fn try_from(number: i32) -> Result<Self, SignalError> {
        match u8::try_from(number) {
            Ok(valid @ 1..=64) => Ok(Self(valid)),
            _ => Err(SignalError(number.to_string())),
        }
    }
}

impl From<Signal> for i32 {
    fn from(signal: Signal) -> Self {
        signal.number()
    }
}

impl std::str::FromStr for Signal {
    type Err = SignalError;

    /// Reads `9`, `KILL`, `SIGKILL`, `kill`, `RTMIN+3`, `RTMAX-1`.
    fn from_str(text: &str) -> Result<Self, SignalError> {
        let error = || SignalError(text.to_owned());
        if let Ok(number) = text.parse::<i32>() {
            return Self::try_from(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = match name {
            "CLD" => 17,
            "POLL" => 29,
            "IOT" => 6,
            _ => match NAMES.iter().zip(1..).find(|(known, _)| **known == name) {
                Some((_, number)) => number,
                None => realtime(name).ok_or_else(error)?,
            },
        };
        Self::try_from(number).map_err(|_| error())
    }
}

fn realtime(name: &str) -> Option<i32> {
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        if rest.is_empty() {
            RTMIN
        } else {
            RTMIN.checked_add(rest.strip_prefix('+')?.parse().ok()?)?
        }
    } else {
        let rest = name.strip_prefix("RTMAX")?;
        if rest.is_empty() {
            RTMAX
        } else {
            RTMAX.checked_sub(rest.strip_prefix('-')?.parse().ok()?)?
        }
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = usize::from(self.0).checked_sub(1);
        match index.and_then(|index| NAMES.get(index)) {
            Some(name) => write!(formatter, "SIG{name}"),
            None => write!(formatter, "SIGRTMIN+{}", self.number() - RTMIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Signal;

    #[test]
    fn signals_are_read_by_name_and_number() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("sigkill", 9),
            ("TERM", 15),
            ("SIGWINCH", 28),
            ("SYS", 31),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("CLD", 17),
        ] {
            assert_eq!(text.parse::<Signal>().map(Signal::number), Ok(number), "{text}");
        }
        for text in ["", "0", "65", "-1", "FOO", "SIG", "RTMIN+31", "RTMAX-99", "RTMIN-1"] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
    }
}
