//! The runtime: shims, the processes in containers, their terminals and their logs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use oci_spec::runtime::{LinuxResources, LinuxSeccomp, Process, Spec};

use super::{ItemStream, Result, Rootfs};
use crate::{
    container::{Exit, LogConfig, Run},
    error::{ErrorKind, PortError},
    id::ContainerId,
    sandbox::CriLog,
    signal::Signal,
};

/// Everything the runtime needs for one start.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The container.
    pub id: ContainerId,
    /// OCI runtime: `lcr` or a configured name.
    pub runtime: String,
    /// The container's directory; `config.json` in it says the same as `spec`.
    pub bundle: PathBuf,
    /// Its root file system.
    pub rootfs: Rootfs,
    /// What to run and how.
    pub spec: Arc<Spec>,
    /// The profile of its filter, in place of what `spec` says of it.
    pub seccomp: Option<Arc<LinuxSeccomp>>,
    /// Where output goes (files in `bundle`).
    pub log: LogConfig,
    /// Output goes here, in CRI's format, whatever `log` says.
    pub cri_log: Option<CriLog>,
    /// Standard input stays open for clients.
    pub open_stdin: bool,
    /// It closes when the first attached client leaves.
    pub stdin_once: bool,
    /// A tiny init of ours runs the command.
    pub init: bool,
    /// A client that must miss no byte.
    pub attach: Option<Attach>,
    /// The processes come from the checkpoint in this directory ([`Runtime::checkpoint`]).
    pub restore: Option<PathBuf>,
}

/// Which streams a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attach {
    /// It sends input.
    pub stdin: bool,
    /// It reads output.
    pub stdout: bool,
    /// It reads errors.
    pub stderr: bool,
    /// Size of its terminal.
    pub size: Option<TerminalSize>,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// A client's side of a process: what it reads and how it writes.
pub struct Session {
    /// To the process.
    pub input: Box<dyn SessionInput>,
    /// From the process. Ends after [`Chunk::Exited`] of an exec, or when the init process's
    /// streams are closed (its exit comes by [`Runtime::wait`]).
    pub output: ItemStream<Chunk>,
}

/// What a client sends to a process. Dropping it detaches.
#[async_trait]
pub trait SessionInput: Send {
    /// Writes to standard input; waits while the process does not read.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;
    /// Closes standard input.
    async fn close(&mut self) -> Result<()>;
    /// Resizes the terminal.
    async fn resize(&mut self, size: TerminalSize) -> Result<()>;
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// From a stream.
    Output(Output, Bytes),
    /// The exec process ended.
    Exited(i32),
}

/// An output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output, and everything a terminal shows.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Names an exec process within its container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId(pub String);

/// An exec process that runs.
pub struct ExecStarted {
    /// Its pid on the host.
    pub pid: i32,
    /// Its streams, if any were asked for.
    pub session: Option<Session>,
    /// Its end.
    pub exit: ExecExit,
}

/// Completes with the exit status of an exec process (128+n when signal n ended it).
pub type ExecExit = std::pin::Pin<Box<dyn Future<Output = Result<i32>> + Send>>;

/// What recovery found of a container that was starting or running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The shim lives and the init process runs; the runtime watches it again.
    Running {
        /// The run.
        run: Run,
        /// All processes are frozen.
        paused: bool,
    },
    /// It ended while nobody looked; this is what the shim recorded.
    Exited(Exit),
    /// No trace: it never ran, or the machine restarted.
    Nothing,
}

/// What a container, or a control group, uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Nanoseconds of processor time.
    pub cpu: u64,
    /// Of them, in user mode.
    pub cpu_user: u64,
    /// Of them, in the kernel.
    pub cpu_system: u64,
    /// Enforcement periods of the processor limit that passed.
    pub cpu_periods: u64,
    /// Of them, those in which it was throttled.
    pub cpu_throttled_periods: u64,
    /// Nanoseconds for which it was throttled.
    pub cpu_throttled: u64,
    /// Bytes of memory without reclaimable cache.
    pub memory: u64,
    /// Limit of memory in bytes, if any.
    pub memory_limit: Option<u64>,
    /// Bytes of memory with all cache.
    pub memory_total: u64,
    /// The most that `memory_total` ever was, where the kernel keeps it.
    pub memory_peak: Option<u64>,
    /// Bytes without inactive file cache: CRI's working set.
    pub working_set: u64,
    /// Bytes of anonymous memory.
    pub rss: u64,
    /// Bytes of file cache.
    pub cache: u64,
    /// Bytes of mapped files.
    pub mapped_file: u64,
    /// Bytes of kernel memory.
    pub kernel: u64,
    /// How often the limit of memory was hit.
    pub memory_failures: u64,
    /// How often a process was killed for lack of memory.
    pub oom_kills: u64,
    /// Page faults.
    pub page_faults: u64,
    /// Of them, those that had to read a disk.
    pub major_page_faults: u64,
    /// Bytes of swap, where the kernel counts it.
    pub swap: Option<u64>,
    /// Limit of swap in bytes, if any.
    pub swap_limit: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// Limit of them, if any.
    pub pids_limit: Option<u64>,
    /// Bytes read from block devices.
    pub read: u64,
    /// Bytes written to them.
    pub written: u64,
    /// Operations of reading from them.
    pub reads: u64,
    /// Operations of writing to them.
    pub writes: u64,
    /// Stalls for processor, memory and block devices, where the kernel counts them.
    pub pressure: Option<[Pressure; 3]>,
}

/// Pressure stall information of one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// At least one task stalled.
    pub some: Stall,
    /// All tasks stalled.
    pub full: Stall,
}

/// How long tasks stalled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stall {
    /// Microseconds in all.
    pub total: u64,
    /// Hundredths of a percent of the last 10, 60 and 300 seconds.
    pub averages: [u32; 3],
}

/// One line (or part of a line longer than 16 KiB) of a container's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// When it was read from the process.
    pub at: Timestamp,
    /// From which stream.
    pub stream: Output,
    /// Its bytes, with the line end if there was one.
    pub bytes: Bytes,
}

/// Which part of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Wait for more until the container ends.
    pub follow: bool,
    /// Only the last records.
    pub tail: Option<u64>,
    /// Only what is not older.
    pub since: Option<Timestamp>,
    /// Only what is not younger.
    pub until: Option<Timestamp>,
}

/// The runtime of containers.
///
/// A failed [`Runtime::start`] leaves no process, cgroup, mount or file in the run directory.
/// Errors of a command that is missing or can't be executed have the kinds `CommandNotFound` and
/// `NotExecutable`.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Names of the runtimes that can be asked for.
    fn runtimes(&self) -> Vec<String>;

    /// Checks that the spec can be honoured, before anything is made.
    ///
    /// # Errors
    /// `Unsupported` or `InvalidInput` with the name of the field; unknown runtime.
    fn verify(&self, launch: &Launch) -> Result<()>;

    /// Starts the init process. With `launch.attach` the session misses no byte.
    async fn start(&self, launch: &Launch) -> Result<(Run, Option<Session>)>;

    /// Completes when the init process of a started or recovered container has ended and its exit
    /// is recorded. May be called by many at once, and after the end.
    async fn wait(&self, id: &ContainerId) -> Result<Exit>;

    /// Sends a signal to the init process, or with `all` to every process of the container.
    /// A process that is gone is no error.
    async fn kill(&self, id: &ContainerId, signal: Signal, all: bool) -> Result<()>;

    /// Freezes all processes.
    async fn pause(&self, id: &ContainerId) -> Result<()>;

    /// Thaws them.
    async fn resume(&self, id: &ContainerId) -> Result<()>;

    /// Starts a further process.
    async fn exec(
        &self,
        id: &ContainerId,
        exec: &ProcessId,
        process: &Process,
        attach: Option<Attach>,
    ) -> Result<ExecStarted>;

    /// Attaches a client to the init process.
    async fn attach(&self, id: &ContainerId, attach: Attach) -> Result<Session>;

    /// Reads regular files beneath the root of a running container, symbolic links resolved within
    /// it; `None` as in [`super::Snapshots::read`].
    async fn read(
        &self,
        id: &ContainerId,
        paths: &[&'static str],
        limit: u64,
    ) -> Result<Vec<Option<Vec<u8>>>>;

    /// What it uses now.
    async fn usage(&self, id: &ContainerId) -> Result<Usage>;

    /// Sets limits of a running container: all of them, or none.
    ///
    /// # Errors
    /// A limit is refused; those that were set before it are as they were.
    async fn update(&self, id: &ContainerId, resources: &LinuxResources) -> Result<()> {
        let _ = (id, resources);
        Err(PortError::new(ErrorKind::Unsupported, "this runtime cannot change limits"))
    }

    /// Closes the log file of a running container and opens it again by its name.
    async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        let _ = id;
        Err(PortError::new(ErrorKind::Unsupported, "this runtime cannot reopen a log"))
    }

    /// Checks that processes can be written down here.
    ///
    /// # Errors
    /// `Unsupported`, with what is missing.
    fn can_checkpoint(&self) -> Result<()> {
        Err(PortError::new(ErrorKind::Unsupported, "this runtime cannot make checkpoints"))
    }

    /// Writes down the processes of a container that is frozen, into an empty directory. It stays
    /// frozen, and runs on when it is thawed.
    ///
    /// # Errors
    /// What a process has open or mapped can't be written down. `Unsupported` for what never can.
    async fn checkpoint(&self, launch: &Launch, directory: &Path) -> Result<()> {
        let _ = (launch, directory);
        self.can_checkpoint()
    }

    /// Kills an exec process (by its pid on the host) and everything it has started.
    async fn kill_tree(&self, id: &ContainerId, pid: i32) -> Result<()> {
        let _ = (id, pid);
        Err(PortError::new(ErrorKind::Unsupported, "this runtime cannot kill a tree"))
    }

    /// Pids of all its processes on the host.
    async fn pids(&self, id: &ContainerId) -> Result<Vec<i32>>;

    /// Its log.
    async fn logs(&self, launch: LogSource, options: LogOptions) -> Result<ItemStream<LogRecord>>;

    /// Looks for a container that a former daemon left starting or running.
    async fn recover(&self, id: &ContainerId, runtime: &str, bundle: PathBuf) -> Result<Found>;

    /// Takes away whatever a run left: shim, processes, cgroup, run directory. Idempotent; called
    /// after every end and before a removal.
    async fn clean(&self, id: &ContainerId, runtime: &str) -> Result<()>;

    /// Takes away the run directories, shims and cgroups of containers that nobody knows, at start.
    async fn sweep(&self, known: &[ContainerId]) -> Result<Vec<ContainerId>>;
}

/// Where the log of a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSource {
    /// The container.
    pub id: ContainerId,
    /// Its directory.
    pub bundle: PathBuf,
    /// How it is written.
    pub log: LogConfig,
    /// It is here, in CRI's format, whatever `log` says.
    pub cri_log: Option<CriLog>,
}
