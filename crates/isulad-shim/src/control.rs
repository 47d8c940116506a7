//! The connection to the daemon.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::poll::{EventFlags, Poll, Token};
use crate::protocol::{
    Message, Request,
    packet::{self, Incoming, Outgoing, PacketError},
};

/// Answers that are kept for a daemon that does not read.
const QUEUE_LIMIT: usize = 256;

/// The connection to the daemon.
#[derive(Debug)]
pub struct Control {
    socket: OwnedFd,
    queue: VecDeque<Outgoing>,
}

/// The daemon has gone, or speaks another language.
#[derive(Debug, PartialEq, Eq)]
pub struct Lost;

impl Control {
    /// Takes the connection and waits for its events.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub fn new(poll: &Poll, socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        poll.add(&socket, Token::Control, EventFlags::IN)?;
        Ok(Self { socket, queue: VecDeque::new() })
    }

    /// The next request, if one is there.
    pub fn receive(&self) -> Result<Option<Incoming<Request>>, Lost> {
        match packet::receive(self.socket.as_fd()) {
            Ok(Some(request)) => Ok(Some(request)),
            Err(error) if error.would_block() => Ok(None),
            Ok(None) | Err(_) => Err(Lost),
        }
    }

    /// Sends a message, or keeps it until the socket takes it.
    pub fn send(&mut self, poll: &Poll, serial: u32, message: &Message) -> Result<(), Lost> {
        let packet = Outgoing::new(serial, message, &[]).map_err(|_: PacketError| Lost)?;
        if self.queue.len() >= QUEUE_LIMIT {
            return Err(Lost);
        }
        self.queue.push_back(packet);
        self.flush(poll)
    }

    /// Sends what was kept.
    pub fn flush(&mut self, poll: &Poll) -> Result<(), Lost> {
        while let Some(packet) = self.queue.front() {
            match packet.send(self.socket.as_fd(), &[]) {
                Ok(()) => drop(self.queue.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll.change(&self.socket, Token::Control, EventFlags::IN | EventFlags::OUT);
                    return Ok(());
                }
                Err(_) => return Err(Lost),
            }
        }
        if self.queue.capacity() > 0 {
            self.queue = VecDeque::new();
            poll.change(&self.socket, Token::Control, EventFlags::IN);
        }
        Ok(())
    }

    /// Closes it.
    pub fn close(self, poll: &Poll) {
        poll.remove(&self.socket);
    }
}
