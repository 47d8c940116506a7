//! One client of a process: its socket, and what it has not taken yet.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use isula_sys::{fd_passing, packet};

use crate::poll::{EventFlags, Part, Poll, Token};
use crate::protocol::{self, stream::LIMIT};

/// How long a container waits for a client that takes less than [`PATIENCE_BYTES`] in that time.
const PATIENCE: Duration = Duration::from_secs(5);
/// See [`PATIENCE`].
const PATIENCE_BYTES: usize = 256 << 10;
/// Bytes that may be kept for a client, over its socket's buffer. Reached only when the last output
/// of a process is read, which does not wait: the pipes hold less (`pipe-max-size` is 1 MiB).
const KEPT_LIMIT: usize = 4 << 20;

/// One client of a process.
#[derive(Debug)]
pub struct Client {
    /// Its number among those of the process.
    pub number: u16,
    /// What it takes part in.
    pub wants: protocol::Streams,
    /// Input that the process has not taken yet, with a mark of how much of it it has.
    pub input: Option<(Vec<u8>, usize)>,
    /// Close standard input once `input` is taken.
    pub closes_input: bool,
    /// It may send more.
    sends: bool,
    socket: OwnedFd,
    kept: VecDeque<Vec<u8>>,
    kept_bytes: usize,
    patience: Option<(Instant, usize)>,
    /// The events that are waited for.
    watched: EventFlags,
}

/// A client can't be served any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Lost;

/// What a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// A packet.
    Packet(Vec<u8>),
    /// Nothing now.
    Nothing,
    /// It sends no more.
    NoMore,
}

impl Client {
    /// A client with a session socket.
    pub fn new(number: u16, socket: OwnedFd, wants: protocol::Streams) -> Self {
        Self {
            number,
            wants,
            input: None,
            closes_input: false,
            sends: true,
            socket,
            kept: VecDeque::new(),
            kept_bytes: 0,
            patience: None,
            watched: EventFlags::IN,
        }
    }

    /// Waits for its events.
    pub fn watch(&self, poll: &Poll, process: u32) -> io::Result<()> {
        poll.add(&self.socket, self.token(process), self.watched)
    }

    /// Waits for what can go on now.
    pub fn rewatch(&mut self, poll: &Poll, process: u32) {
        let interest = self.interest();
        if interest != self.watched {
            self.watched = interest;
            poll.change(&self.socket, self.token(process), interest);
        }
    }

    /// Waits no more.
    pub fn forget(&self, poll: &Poll) {
        poll.remove(&self.socket);
    }

    fn token(&self, process: u32) -> Token {
        Token::Stream(process, Part::Client(self.number))
    }

    fn interest(&self) -> EventFlags {
        let mut flags = EventFlags::empty();
        // While the process does not take its input, it has to wait: the pressure goes back.
        flags.set(EventFlags::IN, self.sends && self.input.is_none());
        flags.set(EventFlags::OUT, !self.kept.is_empty());
        flags
    }

    /// Whether it has to take something before there is more.
    pub fn lags(&self) -> bool {
        !self.kept.is_empty()
    }

    /// When it is given up, if it does not take enough until then.
    pub fn deadline(&self) -> Option<Instant> {
        self.patience.map(|(until, _)| until)
    }

    /// Sends a packet, or keeps it when the socket is full.
    pub fn send(&mut self, tag: u8, bytes: &[u8]) -> Result<(), Lost> {
        if self.kept.is_empty() {
            let parts = [IoSlice::new(std::slice::from_ref(&tag)), IoSlice::new(bytes)];
            match fd_passing::send(self.socket.as_fd(), &parts, &[]) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Lost),
            }
            self.patience = Some((Instant::now() + PATIENCE, 0));
        }
        self.kept_bytes += bytes.len() + 1;
        if self.kept_bytes > KEPT_LIMIT {
            return Err(Lost);
        }
        let mut packet = Vec::with_capacity(bytes.len() + 1);
        packet.push(tag);
        packet.extend_from_slice(bytes);
        self.kept.push_back(packet);
        Ok(())
    }

    /// Sends what was kept, as far as it goes.
    pub fn flush(&mut self) -> Result<(), Lost> {
        while let Some(packet) = self.kept.front() {
            match fd_passing::send(self.socket.as_fd(), &[IoSlice::new(packet)], &[]) {
                Ok(()) => {
                    let taken = packet.len();
                    self.kept_bytes = self.kept_bytes.saturating_sub(taken);
                    self.kept.pop_front();
                    self.took(taken);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Lost),
            }
        }
        self.patience = None;
        self.kept = VecDeque::new();
        Ok(())
    }

    /// A client that takes its share in time gets as much time again.
    fn took(&mut self, bytes: usize) {
        if let Some((until, taken)) = &mut self.patience {
            *taken += bytes;
            if *taken >= PATIENCE_BYTES {
                (*until, *taken) = (Instant::now() + PATIENCE, 0);
            }
        }
    }

    /// Reads its next packet.
    pub fn receive(&mut self) -> Result<Received, Lost> {
        // A buffer of the packet's size: most are a few keys.
        let length = match packet::next_length(self.socket.as_fd()) {
            Ok(length) => length.clamp(1, LIMIT + 1),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Received::Nothing);
            }
            Err(_) => return Err(Lost),
        };
        let mut packet = vec![0; length];
        match fd_passing::receive(self.socket.as_fd(), &mut packet, &mut Vec::new()) {
            Ok(0) => {
                self.sends = false;
                Ok(Received::NoMore)
            }
            Ok(length) => {
                packet.truncate(length);
                Ok(Received::Packet(packet))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Received::Nothing),
            Err(_) => Err(Lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isula_sys::packet::pair;

    fn receive(socket: &OwnedFd) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 20_000];
        let length = fd_passing::receive(socket.as_fd(), &mut buffer, &mut Vec::new()).ok()?;
        buffer.truncate(length);
        Some(buffer)
    }

    #[test]
    fn what_a_full_socket_does_not_take_is_kept_in_order() {
        let (here, there) = pair().unwrap();
        let mut client = Client::new(0, here, protocol::Streams::default());
        let mut sent = 0u32;
        while !client.lags() {
            client.send(1, &sent.to_le_bytes()).unwrap();
            sent += 1;
        }
        for _ in 0..10 {
            client.send(1, &sent.to_le_bytes()).unwrap();
            sent += 1;
        }
        assert!(client.deadline().is_some());
        assert!(client.interest().contains(EventFlags::OUT));
        let mut next = 0u32;
        while client.lags() {
            let packet = receive(&there).unwrap();
            assert_eq!(packet[1..], next.to_le_bytes());
            next += 1;
            client.flush().unwrap();
        }
        assert!(client.deadline().is_none());
        while let Some(packet) = receive(&there) {
            assert_eq!(packet[1..], next.to_le_bytes());
            next += 1;
        }
        assert_eq!(next, sent);
    }

    #[test]
    fn a_client_that_takes_enough_gets_more_time_and_one_that_takes_little_does_not() {
        let (here, there) = pair().unwrap();
        let mut client = Client::new(0, here, protocol::Streams::default());
        let block = [0; 16 << 10];
        for _ in 0..60 {
            client.send(1, &block).unwrap();
        }
        let first = client.deadline();
        assert!(first.is_some());
        let mut rounds = 0;
        while client.deadline() == first {
            receive(&there).unwrap();
            client.flush().unwrap();
            rounds += 1;
        }
        assert!(client.lags());
        assert!(rounds >= PATIENCE_BYTES / (block.len() + 1), "{rounds}");
    }

    #[test]
    fn a_client_can_keep_only_so_much_and_a_lost_one_is_noticed() {
        let (here, there) = pair().unwrap();
        let mut client = Client::new(0, here, protocol::Streams::default());
        let block = [0; 16 << 10];
        let mut count = 0;
        while client.send(1, &block).is_ok() {
            count += 1;
        }
        assert!((256..300).contains(&count), "{count}");
        drop(there);
        assert_eq!(client.flush(), Err(Lost));
    }
}
