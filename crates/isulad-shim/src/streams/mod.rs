//! The streams of one process: its outputs to the log and to clients, clients' input to it.
//!
//! The log comes first, then the clients. A client that does not read makes the process wait, as a
//! pipe would, but a client of the init process only for a bounded time: then it is cut off. What
//! is kept in memory is one piece of output for each client, and one packet of its input.

mod client;
mod input;
mod serve;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use isula_sys::pty::WindowSize;
use rustix::io::Errno;

use crate::log::Log;
use crate::poll::{EventFlags, Part, Poll, Token};
use crate::protocol::{self, stream::Output};
use client::{Client, Lost};
use input::Input;

/// Clients that one process may have.
const CLIENTS_LIMIT: usize = 64;
/// Pieces of output that are read before somebody else has a turn.
const TURN: usize = 8;

/// The ends of a process' streams that the shim holds.
#[derive(Debug, Default)]
pub struct Ends {
    /// Where its input is written.
    pub stdin: Option<OwnedFd>,
    /// Where its output, or its terminal, is read.
    pub stdout: Option<OwnedFd>,
    /// Where its standard error is read.
    pub stderr: Option<OwnedFd>,
    /// `stdin` and `stdout` are its terminal.
    pub terminal: bool,
}

/// What becomes of the streams when clients are slow or leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manners {
    /// The process has to wait for a slow client for as long as it takes: an exec process, which
    /// has no client but the one that asked for it.
    pub waits: bool,
    /// Standard input is closed when the first client leaves that has it.
    pub stdin_once: bool,
}

/// The streams of one process.
#[derive(Debug)]
pub struct Streams {
    process: u32,
    outputs: [Option<OwnedFd>; 2],
    /// Outputs are read. Not while a client lags.
    flowing: bool,
    input: Option<Input>,
    terminal: bool,
    manners: Manners,
    clients: Vec<Client>,
    next_client: u16,
    log: Option<Log>,
    /// The last packet of every session, once there is one.
    last: Option<([u8; 5], usize)>,
}

/// No more clients can be served.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

impl Streams {
    /// Takes the streams of a process and waits for their events.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn new(
        poll: &Poll,
        process: u32,
        ends: Ends,
        manners: Manners,
        log: Option<Log>,
    ) -> io::Result<Self> {
        for end in [&ends.stdin, &ends.stdout, &ends.stderr].into_iter().flatten() {
            rustix::io::ioctl_fionbio(end, true)?;
        }
        let streams = Self {
            process,
            outputs: [ends.stdout, ends.stderr],
            flowing: true,
            input: ends.stdin.map(|file| Input::new(process, file, ends.terminal)),
            terminal: ends.terminal,
            manners,
            clients: Vec::new(),
            next_client: 0,
            log,
            last: None,
        };
        streams.watch_outputs(poll)?;
        Ok(streams)
    }

    /// Adds a client.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn attach(
        &mut self,
        poll: &Poll,
        socket: OwnedFd,
        wants: protocol::Streams,
    ) -> Result<(), TooMany> {
        if self.clients.len() >= CLIENTS_LIMIT {
            return Err(TooMany);
        }
        let number = self.next_client;
        self.next_client = number.wrapping_add(1);
        let mut client = Client::new(number, socket, wants);
        client.watch(poll, self.process).map_err(|_| TooMany)?;
        if let Some((rows, columns)) = wants.size {
            self.resize(rows, columns);
        }
        // One that comes too late hears at once that it is over.
        let kept = match self.last {
            Some((last, length)) => send_last(&mut client, last, length),
            None => Ok(()),
        };
        match kept {
            Ok(()) => self.clients.push(client),
            Err(Lost) => client.forget(poll),
        }
        Ok(())
    }

    /// Deals with an event.
    pub fn handle(&mut self, poll: &Poll, part: Part, flags: EventFlags, buffer: &mut Vec<u8>) {
        match part {
            Part::Stdout => self.read_output(poll, Output::Stdout, buffer),
            Part::Stderr => self.read_output(poll, Output::Stderr, buffer),
            Part::Stdin => self.flush_input(poll),
            Part::Client(number) => self.serve(poll, number, flags),
        }
        self.settle(poll);
    }

    /// Cuts off the clients whose time is over.
    pub fn expire(&mut self, poll: &Poll, now: Instant) {
        if !self.manners.waits {
            let late = |client: &Client| client.deadline().is_some_and(|until| until <= now);
            self.cut(poll, |client| late(client));
            self.settle(poll);
        }
    }

    /// When [`Streams::expire`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        if self.manners.waits {
            return None;
        }
        self.clients.iter().filter_map(Client::deadline).min()
    }

    /// Whether output may still come.
    pub fn open(&self) -> bool {
        self.outputs.iter().any(Option::is_some)
    }

    /// Whether a client has not taken all yet.
    pub fn lags(&self) -> bool {
        self.clients.iter().any(Client::lags)
    }

    /// Reads what the process has left behind, without waiting for anybody. It has ended, so what
    /// is there now is all that it wrote; the rest of it that other processes may hold is read on.
    pub fn drain(&mut self, poll: &Poll, buffer: &mut Vec<u8>) {
        for output in [Output::Stdout, Output::Stderr] {
            while self.read_piece(poll, output, buffer) {}
        }
        self.settle(poll);
    }

    /// Ends all: outputs are closed, unfinished lines are written, and every client hears `last`
    /// after all that it has not taken yet.
    pub fn finish(&mut self, poll: &Poll, last: &[u8]) {
        self.close_input(poll);
        for output in [Output::Stdout, Output::Stderr] {
            self.close_output(poll, output);
        }
        let mut packet = [0; 5];
        for (to, from) in packet.iter_mut().zip(last) {
            *to = *from;
        }
        self.last = Some((packet, last.len()));
        let mut lost = Vec::new();
        for client in &mut self.clients {
            if send_last(client, packet, last.len()).is_err() {
                lost.push(client.number);
            }
        }
        self.cut(poll, |client| lost.contains(&client.number));
        self.settle(poll);
    }

    /// Whether [`Streams::finish`] was called.
    pub fn finished(&self) -> bool {
        self.last.is_some()
    }

    /// Sets the size of the terminal, if there is one.
    pub fn resize(&self, rows: u16, columns: u16) {
        if let (true, [Some(terminal), _]) = (self.terminal, &self.outputs) {
            // It may have lost its last process just now.
            let _ = isula_sys::pty::resize(terminal.as_fd(), WindowSize { rows, columns });
        }
    }

    fn output(&self, output: Output) -> Option<&OwnedFd> {
        let [stdout, stderr] = &self.outputs;
        match output {
            Output::Stdout => stdout.as_ref(),
            Output::Stderr => stderr.as_ref(),
        }
    }

    fn read_output(&mut self, poll: &Poll, output: Output, buffer: &mut Vec<u8>) {
        for _ in 0..TURN {
            if !self.read_piece(poll, output, buffer) || self.lags() {
                return;
            }
        }
    }

    /// Reads one piece of output. False when there is nothing more now.
    fn read_piece(&mut self, poll: &Poll, output: Output, buffer: &mut Vec<u8>) -> bool {
        let Some(file) = self.output(output) else { return false };
        buffer.clear();
        match rustix::io::read(file, rustix::buffer::spare_capacity(buffer)) {
            Ok(0) => {}
            Ok(_) => {
                self.deliver(poll, output, buffer);
                return true;
            }
            Err(Errno::AGAIN) => return false,
            Err(Errno::INTR) => return true,
            // A terminal without processes says EIO instead of an end.
            Err(_) => {}
        }
        self.close_output(poll, output);
        false
    }

    /// Opens the file of the log again.
    pub fn reopen_log(&mut self) -> io::Result<()> {
        self.log.as_mut().map_or(Ok(()), Log::reopen)
    }

    fn deliver(&mut self, poll: &Poll, output: Output, bytes: &[u8]) {
        if let Some(log) = &mut self.log {
            log.write(output, bytes, isula_sys::clock::now());
        }
        let mut lost = Vec::new();
        for client in &mut self.clients {
            let wants = match output {
                Output::Stdout => client.wants.stdout,
                Output::Stderr => client.wants.stderr,
            };
            if wants && client.send(output.tag(), bytes).is_err() {
                lost.push(client.number);
            }
        }
        if !lost.is_empty() {
            self.cut(poll, |client| lost.contains(&client.number));
        }
    }

    fn close_output(&mut self, poll: &Poll, output: Output) {
        let [stdout, stderr] = &mut self.outputs;
        let slot = match output {
            Output::Stdout => stdout,
            Output::Stderr => stderr,
        };
        if let Some(file) = slot.take() {
            poll.remove(&file);
            if let Some(log) = &mut self.log {
                log.finish(output, isula_sys::clock::now());
            }
        }
    }

    fn watch_outputs(&self, poll: &Poll) -> io::Result<()> {
        let tokens = [Part::Stdout, Part::Stderr];
        for (output, part) in self.outputs.iter().zip(tokens) {
            if let Some(file) = output {
                poll.add(file, Token::Stream(self.process, part), EventFlags::IN)?;
            }
        }
        Ok(())
    }

    /// Makes the outputs flow or stop as the clients ask for it, and waits for the right events.
    fn settle(&mut self, poll: &Poll) {
        for client in &mut self.clients {
            client.rewatch(poll, self.process);
        }
        let flowing = !self.lags();
        if flowing != self.flowing {
            self.flowing = flowing;
            if !flowing {
                // Not only without events: the end of a pipe is told for ever.
                self.outputs.iter().flatten().for_each(|file| poll.remove(file));
            } else if self.watch_outputs(poll).is_err() {
                // The watches were there a moment ago; without them nobody would drain the process.
                self.outputs = [None, None];
            }
        }
    }
}

fn send_last(client: &mut Client, packet: [u8; 5], length: usize) -> Result<(), Lost> {
    match packet.get(..length).and_then(<[u8]>::split_first) {
        Some((tag, rest)) => client.send(*tag, rest),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
