//! Exec processes: further processes in the container, each with streams of its own.

use std::io;
use std::os::fd::OwnedFd;

use lcr::{ProcessPlan, Stdio};

use crate::failure::{failure, other, refused};
use crate::poll::{EventFlags, Poll, Token};
use crate::protocol::{Exec, Failure, stream};
use crate::stdio::{self, Sides};
use crate::streams::{Manners, Streams};

/// An exec process.
#[derive(Debug)]
pub struct Process {
    /// Its number among the processes of the container, never used again.
    pub number: u32,
    /// The request that asked for it.
    pub serial: u32,
    /// Its pid.
    pub pid: i32,
    /// Its streams; none when all of them are `/dev/null`.
    pub streams: Option<Streams>,
    /// Its exit status.
    pub code: Option<i32>,
    /// A descriptor of it, for as long as it is not reaped.
    pub pidfd: OwnedFd,
}

/// A process that a runtime has started, before it is watched.
#[derive(Debug)]
pub struct Fresh {
    /// Its pid; it is a child of ours.
    pub pid: i32,
    /// A descriptor of it.
    pub pidfd: OwnedFd,
    /// The master of its terminal.
    pub console: Option<OwnedFd>,
    /// Our sides of its pipes.
    pub sides: Sides,
}

/// Starts a process with the built-in runtime.
///
/// # Errors
/// Says what could not be done; no process is left then.
pub fn start((init, pidfd): (i32, &OwnedFd), exec: &Exec, plan: &[u8]) -> Result<Fresh, Failure> {
    let plan = ProcessPlan::decode(plan).map_err(|error| other(error.to_string()))?;
    let streams = |error| failure("make the streams of the process", &error);
    let (stdio, sides) = if plan.terminal {
        let size = exec.attach.and_then(|wants| wants.size);
        (Stdio::Terminal(size.map(stdio::window)), Sides::terminal())
    } else {
        let ([stdin, stdout, stderr], sides) = streams_of(exec).map_err(streams)?;
        (Stdio::Streams { stdin, stdout, stderr }, sides)
    };
    let init = lcr::exec::exec(pidfd, init, &plan, stdio).map_err(|error| refused(&error))?;
    Ok(Fresh { pid: init.pid, pidfd: init.pidfd, console: init.console, sides })
}

/// The streams of an exec process without a terminal.
///
/// # Errors
/// `EMFILE`.
pub fn streams_of(exec: &Exec) -> io::Result<([OwnedFd; 3], Sides)> {
    match exec.attach {
        Some(wants) => stdio::pipes(wants.stdin),
        None => Ok((stdio::nothing()?, Sides::default())),
    }
}

impl Process {
    /// Watches a process, and connects its client.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn watch(
        poll: &Poll,
        (number, serial): (u32, u32),
        fresh: Fresh,
        exec: &Exec,
        session: Option<OwnedFd>,
    ) -> io::Result<Self> {
        let wants_input = exec.attach.is_some_and(|wants| wants.stdin);
        let ends = fresh.sides.ends(fresh.console, wants_input)?;
        let streams = if ends.stdout.is_some() {
            // Its client is the only one it will ever have: it waits for that one, and its input
            // ends when that one leaves.
            let manners = Manners { waits: true, stdin_once: true };
            let mut streams = Streams::new(poll, number, ends, manners, None)?;
            if let (Some(socket), Some(wants)) = (session, exec.attach) {
                // The first client is never one too many.
                let _ = streams.attach(poll, socket, wants);
            }
            Some(streams)
        } else {
            None
        };
        poll.add(&fresh.pidfd, Token::Ended(number), EventFlags::IN)?;
        Ok(Self { number, serial, pid: fresh.pid, streams, code: None, pidfd: fresh.pidfd })
    }

    /// It has ended with this status: its client gets what it left and then the status.
    pub fn end(&mut self, poll: &Poll, code: i32, buffer: &mut Vec<u8>) {
        poll.remove(&self.pidfd);
        self.code = Some(code);
        if let Some(streams) = &mut self.streams {
            streams.drain(poll, buffer);
            // What processes that it started write later has no reader any more.
            streams.finish(poll, &stream::exited(code));
        }
    }

    /// Whether nothing is left to do for it.
    pub fn is_over(&self) -> bool {
        self.code.is_some() && !self.streams.as_ref().is_some_and(Streams::lags)
    }
}
