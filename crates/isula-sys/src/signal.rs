//! Signals: their names and numbers, what a new program inherits, and reading them from a file.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::str::FromStr;

/// A signal, 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(u8);

impl Signal {
    /// Hang up.
    pub const HUP: Self = Self(1);
    /// Interrupt from the keyboard.
    pub const INT: Self = Self(2);
    /// Quit from the keyboard.
    pub const QUIT: Self = Self(3);
    /// Kill; it cannot be caught.
    pub const KILL: Self = Self(9);
    /// Write to a pipe without readers.
    pub const PIPE: Self = Self(13);
    /// Terminate.
    pub const TERM: Self = Self(15);
    /// A child has changed.
    pub const CHLD: Self = Self(17);
    /// Continue.
    pub const CONT: Self = Self(18);
    /// Stop; it cannot be caught.
    pub const STOP: Self = Self(19);
    /// The size of the terminal has changed.
    pub const WINCH: Self = Self(28);

    /// First of the real-time signals that programs may use (glibc and musl keep two or three).
    const RTMIN: u8 = 34;
    const RTMAX: u8 = 64;

    /// The signal with this number; none outside 1 to 64.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Self> {
        if number >= 1 && number <= Self::RTMAX as i32 { Some(Self(number as u8)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0 as i32
    }
}

/// A text that names no signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSignal(pub String);

impl fmt::Display for UnknownSignal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "no such signal: {}", self.0)
    }
}

impl std::error::Error for UnknownSignal {}

/// Names in the order of their numbers from 1 on, `signal(7)` for x86 and ARM.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Other names of the same signals.
const ALIASES: [(&str, u8); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

impl FromStr for Signal {
    type Err = UnknownSignal;

    /// A name with or without `SIG` in any case, a number, or `RTMIN+n` or `RTMAX-n`.
    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        parse(text).ok_or_else(|| UnknownSignal(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Signal> {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return text.parse().ok().and_then(Signal::from_number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(index) = NAMES.iter().position(|known| *known == name) {
        return Signal::from_number(i32::try_from(index).ok()? + 1);
    }
    if let Some((_, number)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Some(Signal(*number));
    }
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        rest => rest.strip_prefix(sign)?.parse::<u8>().ok(),
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        Signal::RTMIN.checked_add(offset(rest, '+')?)?
    } else {
        Signal::RTMAX.checked_sub(offset(name.strip_prefix("RTMAX")?, '-')?)?
    };
    (Signal::RTMIN..=Signal::RTMAX).contains(&number).then_some(Signal(number))
}

impl fmt::Display for Signal {
    /// `SIGTERM`, `SIGRTMIN+3`, or the number of one that has no name.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = usize::from(self.0).wrapping_sub(1);
        match (NAMES.get(index), self.0.checked_sub(Self::RTMIN)) {
            (Some(name), _) => write!(out, "SIG{name}"),
            (None, Some(0)) => write!(out, "SIGRTMIN"),
            (None, Some(_)) if self.0 == Self::RTMAX => write!(out, "SIGRTMAX"),
            (None, Some(above)) => write!(out, "SIGRTMIN+{above}"),
            (None, None) => write!(out, "{}", self.0),
        }
    }
}

fn set_of(signals: impl IntoIterator<Item = i32>) -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the line above has initialised it.
    let mut set = unsafe { set.assume_init() };
    for signal in signals {
        // SAFETY: the set is initialised; a number out of range changes nothing.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

fn set_mask(how: i32, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the set is initialised; a null pointer means that the old one is not wanted.
    let errno = unsafe { libc::pthread_sigmask(how, set, std::ptr::null_mut()) };
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

/// Blocks signals in this thread, so that they can be read with [`SignalFile`].
///
/// # Errors
/// None is known.
pub fn block(signals: &[Signal]) -> io::Result<()> {
    set_mask(libc::SIG_BLOCK, &set_of(signals.iter().map(|signal| signal.number())))
}

/// Lets signals through to this thread, and to the threads and programs it starts from now on.
///
/// # Errors
/// None is known.
pub fn unblock(signals: &[Signal]) -> io::Result<()> {
    set_mask(libc::SIG_UNBLOCK, &set_of(signals.iter().map(|signal| signal.number())))
}

/// Blocks every signal that can be blocked, in this thread.
///
/// # Errors
/// None is known.
pub fn block_all() -> io::Result<()> {
    set_mask(libc::SIG_SETMASK, &set_of(1..=64))
}

/// Gives every signal its default action and blocks none: what a new program has to find.
///
/// An exec resets handlers, but ignored signals stay ignored (Rust ignores `SIGPIPE`).
///
/// # Errors
/// None is known.
pub fn reset_all() -> io::Result<()> {
    // An all-zero `struct sigaction` of the kernel: default action, no flags, empty mask. The C
    // library's call would leave out the signals that it keeps for itself, which may be ignored.
    let default = [0u64; 4];
    for signal in 1..=i32::from(Signal::RTMAX) {
        // SAFETY: the structure is valid, and the default action runs no code of ours. KILL and
        // STOP are refused, which is what they need.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
    set_mask(libc::SIG_SETMASK, &set_of([]))
}

/// A file that blocked signals are read from.
#[derive(Debug)]
pub struct SignalFile(OwnedFd);

impl SignalFile {
    /// Blocks the signals and opens a file to read them from; it never blocks.
    ///
    /// # Errors
    /// Those of `signalfd(2)`.
    pub fn open(signals: &[Signal]) -> io::Result<Self> {
        let set = set_of(signals.iter().map(|signal| signal.number()));
        set_mask(libc::SIG_BLOCK, &set)?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set is initialised; -1 asks for a new descriptor.
        let descriptor = unsafe { libc::signalfd(-1, &raw const set, flags) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd has just made it, and nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// The next signal that has come, if any.
    ///
    /// # Errors
    /// Those of `read(2)`.
    pub fn next(&self) -> io::Result<Option<Signal>> {
        let mut record = [0u8; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.0, &mut record) {
            // `ssi_signo` is the first member.
            Ok(_) => Ok(record
                .first_chunk::<4>()
                .and_then(|number| i32::try_from(u32::from_ne_bytes(*number)).ok())
                .and_then(Signal::from_number)),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for SignalFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for SignalFile {
    fn as_raw_fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_found_by_every_name_it_has() {
        let cases = [
            ("SIGTERM", 15),
            ("term", 15),
            ("sigKill", 9),
            ("15", 15),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("rtmax", 64),
            ("IOT", 6),
            ("CLD", 17),
            ("SYS", 31),
            ("64", 64),
        ];
        for (text, number) in cases {
            assert_eq!(text.parse::<Signal>().map(Signal::number), Ok(number), "{text}");
        }
        for text in ["", "0", "65", "SIG", "TERMX", "RTMIN+31", "RTMIN-1", "-9", "9x", "RTMAX-40"] {
            assert_eq!(text.parse::<Signal>(), Err(UnknownSignal(text.to_owned())));
        }
    }

    #[test]
    fn a_name_that_is_shown_is_understood() {
        for number in (1..=31).chain(34..=64) {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(signal.to_string().parse(), Ok(signal));
        }
    }

    #[test]
    fn a_blocked_signal_is_read_from_the_file() {
        let file = SignalFile::open(&[Signal::WINCH]).unwrap();
        assert_eq!(file.next().unwrap(), None);
        // SAFETY: raise has no precondition; the signal is blocked in this thread.
        unsafe { libc::raise(Signal::WINCH.number()) };
        assert_eq!(file.next().unwrap(), Some(Signal::WINCH));
    }
}
