//! The container: its init process from the start to the end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use isula_sys::files::Durability;
use isula_sys::process;
use isula_sys::signal::Signal;
use lcr::cgroup::{Cgroup, MemoryEvents};
use lcr::plan::Hooks;

use crate::built;
use crate::external::Runtime;
use crate::failure::failure;
use crate::log::Log;
use crate::poll::{EventFlags, Poll, Token};
use crate::protocol::{Ended, Failure, Start, Started, Time, record::ExitRecord, stream};
use crate::streams::{Manners, Streams};

/// The number of the init process among the processes of the container.
pub const INIT: u32 = 0;
/// How long output is read that other processes still hold open after the end of the init process.
const AFTERMATH: Duration = Duration::from_secs(2);

/// A container that was started.
#[derive(Debug)]
pub struct Container {
    /// The init process.
    pub started: Started,
    /// A descriptor of the init process.
    pub pidfd: OwnedFd,
    /// Its streams.
    pub streams: Streams,
    /// Its end.
    pub ended: Option<Ended>,
    /// Its runtime, unless that is the built-in one.
    pub external: Option<Runtime>,
    bundle: OwnedFd,
    /// `None` when it is taken away, or not known with an external runtime.
    cgroup: Option<Cgroup>,
    /// Where the group may go before it is looked at.
    memory: Option<MemoryEvents>,
    oom_killed: bool,
    hooks: Hooks,
    recorded: Option<Durability>,
    /// Until when output is read after the end.
    aftermath: Option<Instant>,
}

impl Container {
    /// Builds the container and starts its init process.
    ///
    /// # Errors
    /// Says what could not be done; nothing of it is left then.
    pub fn start(
        poll: &Poll,
        start: Start,
        plan: &[u8],
        session: Option<OwnedFd>,
    ) -> Result<Self, Failure> {
        let failed = |what: &'static str| move |error: io::Error| failure(what, &error);
        let bundle = isula_sys::files::open_directory(Path::new(&start.bundle))
            .map_err(failed("open the container's directory"))?;
        let log = match (start.cri_log, start.log) {
            (Some(log), _) => {
                let failed = failed("open the container's log");
                Some(Log::open_cri(log).map_err(failed)?)
            }
            (None, Some(rotation)) => {
                let directory =
                    process::duplicate(&bundle).map_err(failed("open the container's log"))?;
                Some(Log::open(directory, rotation).map_err(failed("open the container's log"))?)
            }
            (None, None) => None,
        };
        let external = start.external.map(|external| Runtime::new(external, start.id));
        let (built, sides) = match &external {
            None => {
                let size = start.attach.and_then(|wants| wants.size);
                built::build(plan, start.open_stdin, size, start.restore.as_deref())?
            }
            Some(external) => external.build(plan, start.open_stdin)?,
        };
        let at = Time::now();
        // Who leaves a terminal has detached from it: as Docker does, it stays open for the next.
        let stdin_once = start.stdin_once && built.console.is_none();
        let manners = Manners { waits: false, stdin_once };
        let ends = sides
            .ends(built.console, start.open_stdin)
            .map_err(failed("use the terminal of the container"))?;
        let mut streams = Streams::new(poll, INIT, ends, manners, log)
            .map_err(failed("watch the container's output"))?;
        if let (Some(socket), Some(wants)) = (session, start.attach) {
            // The first client is never one too many.
            let _ = streams.attach(poll, socket, wants);
        }
        poll.add(&built.pidfd, Token::Ended(INIT), EventFlags::IN)
            .map_err(failed("watch the init process"))?;
        let memory = built.cgroup.as_ref().and_then(Cgroup::memory_events);
        if let Some(memory) = &memory {
            poll.add(memory, Token::Memory, EventFlags::PRI)
                .map_err(failed("watch the container's memory"))?;
        }
        let pid_start = process::start_time(built.pid).unwrap_or(0);
        let started = Started { pid: built.pid, pid_start, at, warnings: built.warnings };
        Ok(Self {
            started,
            pidfd: built.pidfd,
            streams,
            ended: None,
            external,
            bundle,
            cgroup: built.cgroup,
            memory,
            oom_killed: false,
            hooks: built.hooks,
            recorded: None,
            aftermath: None,
        })
    }

    /// Kills everything in the container.
    pub fn kill(&self) {
        // Whatever has ended already is no concern here.
        let _ = process::send_signal(self.pidfd.as_fd(), Signal::KILL.number());
        if let Some(cgroup) = &self.cgroup {
            let _ = cgroup.kill();
        }
    }

    /// Notes whether a process was killed for lack of memory.
    pub fn look_at_memory(&mut self, poll: &Poll) {
        match self.memory.as_ref().map(MemoryEvents::oom_kills) {
            Some(Ok(kills)) => self.oom_killed |= kills > 0,
            // The group has gone: that would be told for ever.
            Some(Err(_)) => {
                if let Some(memory) = self.memory.take() {
                    poll.remove(memory);
                }
            }
            None => {}
        }
    }

    /// The init process has ended with this status: reads what it left, and records its end.
    pub fn end(&mut self, poll: &Poll, code: i32, buffer: &mut Vec<u8>, durability: Durability) {
        poll.remove(&self.pidfd);
        let at = Time::now();
        self.look_at_memory(poll);
        self.streams.drain(poll, buffer);
        self.streams.close_input(poll);
        let kills = self.cgroup.as_ref().and_then(|cgroup| cgroup.oom_kills().ok());
        let oom_killed = self.oom_killed || kills.is_some_and(|kills| kills > 0);
        let ended = Ended { code, oom_killed, at };
        self.ended = Some(ended);
        self.record(durability);
        self.aftermath = Some(Instant::now() + AFTERMATH);
    }

    /// Records the end, again if it was not durable before.
    pub fn record(&mut self, durability: Durability) {
        let Some(ended) = &self.ended else { return };
        if self.recorded.is_some_and(|done| done == Durability::Synced || done == durability) {
            return;
        }
        let record = ExitRecord::new(&self.started, ended);
        if record.write(self.bundle.as_fd(), durability).is_ok() {
            self.recorded = Some(durability);
        }
    }

    /// Whether the end survives this process and a loss of power.
    pub fn is_kept(&self) -> bool {
        self.recorded == Some(Durability::Synced)
    }

    /// Takes away what the end of the init process leaves: other processes, where the pid namespace
    /// is not the container's own, and the control group; then tells the hooks.
    pub fn take_apart(&mut self) {
        if let Some(runtime) = &self.external {
            runtime.remove();
        }
        if let Some(cgroup) = self.cgroup.take() {
            // Empty as a rule: the kernel kills a pid namespace with its init process.
            if cgroup.pids().is_ok_and(|pids| !pids.is_empty()) {
                let _ = cgroup.kill();
            }
            let _ = cgroup.remove();
        }
        let hooks = std::mem::take(&mut self.hooks);
        let state = lcr::hooks::state(&hooks, "stopped", 0);
        for hook in &hooks.poststop {
            // The spec wants the others called, and the container is gone either way.
            let _ = lcr::hooks::run(std::slice::from_ref(hook), &state);
        }
    }

    /// Ends the streams, if it is time or nothing more can come.
    pub fn wind_up(&mut self, poll: &Poll, now: Instant) {
        let due = self.aftermath.is_some_and(|until| until <= now);
        if self.ended.is_some() && !self.streams.finished() && (due || !self.streams.open()) {
            self.streams.finish(poll, &stream::end());
            self.aftermath = None;
        }
    }

    /// When [`Container::wind_up`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.aftermath
    }

    /// Does not wait for the rest of the output.
    pub fn hurry(&mut self, poll: &Poll, buffer: &mut Vec<u8>) {
        if !self.streams.finished() {
            self.streams.drain(poll, buffer);
            self.streams.finish(poll, &stream::end());
        }
        self.aftermath = None;
    }
}
