//! What the daemon and a shim say to each other.
//!
//! Control goes in packets over a unix socket: [`Request`]s to the shim, [`Message`]s back. A
//! request has a serial number, which its answer repeats; what the shim says by itself has the
//! number 0, but for the end of an exec process, which repeats that of its request. [`packet`] is
//! the frame, [`stream`] the other socket, which a client's input and output go through.
//!
//! ```text
//!   daemon                                 shim
//!     │ Start (plan)  [session socket]      │  one clone3
//!     │◀───────────────────── Started/Failed│
//!     │ Exec (process plan) [session socket]│
//!     │◀────────────────────── ExecStarted  │
//!     │◀─────────────────────── ExecExited  │
//!     │◀─────────────────────────── Exited  │  recorded before
//!     │ Release                             │
//!     │◀───────────────────────────── Done  │  control group removed; the shim leaves
//! ```

pub mod packet;
pub mod record;
pub mod stream;

use lcr::checkpoint::{Dump, Restore};
use serde::{Deserialize, Serialize};

/// Name of the shim's socket in the run directory.
pub const SOCKET: &str = "shim.sock";
/// Name of the file in the run directory that says who the shim is: its pid and start time, and on
/// the second line those of the init process once it runs.
pub const FACTS: &str = "shim.pid";
/// Name of the exit record in the bundle directory.
pub const EXIT: &str = "exit.json";
/// Name of the current log file in the bundle directory; older ones have `.1`, `.2`, … added.
pub const LOG: &str = "console.log";

/// What the daemon asks of a shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Build the container and start its init process; the first request, and only once. The
    /// payload is the plan, unless an external runtime is used.
    Start(Box<Start>),
    /// Say how things are.
    Status,
    /// Start a further process. The payload is its plan, or its JSON for an external runtime. A
    /// session socket comes along when `attach` is there.
    Exec(Exec),
    /// Connect the session socket that comes along with the init process.
    Attach(Streams),
    /// Let the external runtime do this.
    Order(Order),
    /// Have CRIU write down the processes; the container is frozen, and stays so.
    Checkpoint(Box<Dump>),
    /// The exit is known and kept: take away the control group and leave.
    Release,
    /// Kill everything, record the end, take away the control group and leave.
    Stop,
    /// Open the file of the log again: it was put aside.
    ReopenLog,
}

/// What only an external runtime does by itself; for our own the daemon goes to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Send a signal to the init process or to all processes.
    Kill {
        /// Its number.
        signal: i32,
        /// Whether all processes get it.
        all: bool,
    },
    /// Freeze.
    Pause,
    /// Thaw.
    Resume,
}

/// How to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The container's id.
    pub id: String,
    /// The run directory, absolute.
    pub directory: String,
    /// The container's directory, absolute: log and exit record go there.
    pub bundle: String,
    /// Used instead of the built-in runtime.
    pub external: Option<External>,
    /// Standard input stays open for clients.
    pub open_stdin: bool,
    /// It closes when the first client leaves that has it.
    pub stdin_once: bool,
    /// Keep the output in files.
    pub log: Option<Rotation>,
    /// Keep it in this file instead, in CRI's format.
    pub cri_log: Option<CriLog>,
    /// The first client, whose session socket comes along.
    pub attach: Option<Streams>,
    /// Have CRIU bring back processes that were written down, instead of running a program.
    pub restore: Option<Box<Restore>>,
}

/// An OCI runtime of somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct External {
    /// Its program.
    pub program: String,
    /// Arguments before the command.
    pub arguments: Vec<String>,
    /// Where it keeps its state (`--root`).
    pub root: String,
    /// The overlay to mount at `rootfs` in the run directory; `None` when the bundle's
    /// `config.json` names a directory.
    pub overlay: Option<Overlay>,
    /// The init process has a terminal.
    pub terminal: bool,
}

/// An overlay, as [`lcr::plan::Rootfs::Overlay`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Read-only layers, the topmost first.
    pub lower: Vec<String>,
    /// The writable layer.
    pub upper: String,
    /// Overlayfs' work directory.
    pub work: String,
    /// Without any sync.
    pub volatile: bool,
}

/// A log in CRI's format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CriLog {
    /// The log directory, absolute; made if it is missing.
    pub directory: String,
    /// The file beneath it; no link on the way is followed.
    pub path: String,
}

/// When a log file is put aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Bytes that a file may have; 0 for no limit.
    pub max_size: u64,
    /// How many files there may be, the current one among them.
    pub max_files: u32,
}

/// What a client takes part in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// It sends input.
    pub stdin: bool,
    /// It gets standard output, or all that a terminal shows.
    pub stdout: bool,
    /// It gets standard error.
    pub stderr: bool,
    /// Rows and columns of its terminal.
    pub size: Option<(u16, u16)>,
}

/// A further process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Its name among those of the container, for an external runtime.
    pub id: String,
    /// It has a terminal.
    pub terminal: bool,
    /// What the client takes part in; without one, input is empty and output is discarded.
    pub attach: Option<Streams>,
}

/// What a shim says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The init process runs.
    Started(Started),
    /// What was asked could not be done; nothing of it is left.
    Failed(Failure),
    /// How things are.
    Status {
        /// The init process, if it was started.
        started: Option<Started>,
        /// Its end, if it has come.
        ended: Option<Ended>,
    },
    /// An exec process runs.
    ExecStarted {
        /// Its pid on the host.
        pid: i32,
    },
    /// An exec process has ended.
    ExecExited {
        /// Its exit status, 128+n when signal n ended it.
        code: i32,
    },
    /// It was done.
    Done,
    /// The init process has ended, and that is recorded.
    Exited(Ended),
    /// The shim is there. Said once and before anything else, to whoever started it.
    Hello {
        /// Its pid.
        pid: i32,
        /// Its start time, proc_pid_stat(5) field 22.
        start: u64,
    },
}

/// The init process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its pid on the host.
    pub pid: i32,
    /// Its start time, proc_pid_stat(5) field 22.
    pub pid_start: u64,
    /// When it was started.
    pub at: Time,
    /// What could not be given in full.
    pub warnings: Vec<String>,
}

/// The end of the init process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its exit status, 128+n when signal n ended it.
    pub code: i32,
    /// The kernel killed a process of the container for lack of memory.
    pub oom_killed: bool,
    /// When it ended.
    pub at: Time,
}

/// A time of the wall clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanoseconds: u32,
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// A sentence for the user, lower case and without full stop.
    pub text: String,
}

/// Kinds of failure that the caller tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The program does not exist in the container.
    CommandNotFound,
    /// The program can't be executed.
    NotExecutable,
    /// The request does not fit the state of the container.
    WrongState,
    /// A limit was reached.
    Exhausted,
    /// An external runtime failed: the text is the end of its log, lines of JSON.
    Runtime,
    /// Anything else.
    Other,
}

impl Time {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self::from(isula_sys::clock::now())
    }
}

impl From<isula_sys::clock::Timespec> for Time {
    fn from(time: isula_sys::clock::Timespec) -> Self {
        Self { seconds: time.tv_sec, nanoseconds: u32::try_from(time.tv_nsec).unwrap_or_default() }
    }
}

impl From<Time> for isula_sys::clock::Timespec {
    fn from(time: Time) -> Self {
        Self { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() }
    }
}
