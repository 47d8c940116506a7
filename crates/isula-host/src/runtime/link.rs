//! The connection to a shim: requests, and the answers to them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isula_core::error::{ErrorKind, PortError};
use isulad_shim::protocol::{
    Message, Request,
    packet::{self, Incoming, Outgoing, PacketError},
};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::ready;

/// The connection to a shim.
#[derive(Debug)]
pub struct Link {
    socket: AsyncFd<OwnedFd>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The shim has gone: nothing will be answered any more.
    closed: bool,
    serial: u32,
    answers: Vec<(u32, oneshot::Sender<Message>)>,
    /// Who wants the exit status of the exec process that a request started.
    exits: Vec<(u32, oneshot::Sender<i32>)>,
}

/// An exec process that was asked for.
pub type Exec = (Message, oneshot::Receiver<i32>);

impl Link {
    /// A connection through this socket.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: ready::watch(socket)?, waiting: Mutex::default() })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks before anybody else does, and without anybody who [`Link::deliver`]s: the next message
    /// is the answer.
    pub async fn ask_first(&self, request: &Request) -> Result<Message, PortError> {
        self.send(0, request, &[], &[]).await?;
        self.next().await
    }

    /// The next message, where there is nobody yet who [`Link::deliver`]s.
    pub async fn next(&self) -> Result<Message, PortError> {
        match self.receive().await {
            Ok(Some(answer)) => Ok(answer.message),
            Ok(None) => Err(gone()),
            Err(error) => Err(unusable(error)),
        }
    }

    /// Asks, and waits for the answer as long as `patience` lasts.
    pub async fn ask(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
        patience: Duration,
    ) -> Result<Message, PortError> {
        let (serial, answer) = self.expect(None)?;
        self.conclude(serial, answer, self.send(serial, request, &[], descriptors), patience).await
    }

    /// As [`Link::ask`], for a process whose end is wanted, too.
    pub async fn ask_exec(
        &self,
        request: &Request,
        payload: &[u8],
        descriptors: &[BorrowedFd<'_>],
        patience: Duration,
    ) -> Result<Exec, PortError> {
        let (sender, exit) = oneshot::channel();
        let (serial, answer) = self.expect(Some(sender))?;
        let sending = self.send(serial, request, payload, descriptors);
        let result = self.conclude(serial, answer, sending, patience).await;
        if !matches!(result, Ok(Message::ExecStarted { .. })) {
            self.waiting().exits.retain(|(other, _)| *other != serial);
        }
        result.map(|message| (message, exit))
    }

    fn expect(
        &self,
        exit: Option<oneshot::Sender<i32>>,
    ) -> Result<(u32, oneshot::Receiver<Message>), PortError> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(gone());
        }
        // 0 is for what the shim says by itself.
        waiting.serial = waiting.serial.checked_add(1).unwrap_or(1);
        let serial = waiting.serial;
        let (sender, answer) = oneshot::channel();
        waiting.answers.push((serial, sender));
        if let Some(exit) = exit {
            waiting.exits.push((serial, exit));
        }
        Ok((serial, answer))
    }

    async fn conclude(
        &self,
        serial: u32,
        answer: oneshot::Receiver<Message>,
        sending: impl Future<Output = Result<(), PortError>>,
        patience: Duration,
    ) -> Result<Message, PortError> {
        let asked = async {
            sending.await?;
            answer.await.map_err(|_| gone())
        };
        let result = tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| Err(late()));
        if result.is_err() {
            self.waiting().answers.retain(|(other, _)| *other != serial);
        }
        result
    }

    async fn send(
        &self,
        serial: u32,
        request: &Request,
        payload: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), PortError> {
        let packet = Outgoing::new(serial, request, payload).map_err(unusable)?;
        self.send_packet(&packet, descriptors).await.map_err(unusable)
    }

    /// Sends a packet.
    pub async fn send_packet(
        &self,
        packet: &Outgoing,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), PacketError> {
        loop {
            // A socket that was just made can be written: only a full one is waited for.
            match packet.send(self.socket.get_ref().as_fd(), descriptors) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result.map_err(PacketError::Socket),
            }
            self.socket.writable().await?.clear_ready();
        }
    }

    /// The next message; `None` when the shim has gone.
    pub async fn receive(&self) -> Result<Option<Incoming<Message>>, PacketError> {
        loop {
            let mut ready = self.socket.readable().await?;
            match packet::receive(self.socket.get_ref().as_fd()) {
                Err(error) if error.would_block() => ready.clear_ready(),
                result => return result,
            }
        }
    }

    /// Gives a message to whoever waits for it.
    pub fn deliver(&self, serial: u32, message: Message) {
        let mut waiting = self.waiting();
        if let Message::ExecExited { code } = message {
            if let Some(index) = waiting.exits.iter().position(|(other, _)| *other == serial) {
                // Nobody may want to know any more.
                let _ = waiting.exits.swap_remove(index).1.send(code);
            }
        } else if let Some(index) = waiting.answers.iter().position(|(other, _)| *other == serial) {
            let _ = waiting.answers.swap_remove(index).1.send(message);
        }
    }

    /// The shim has gone: whoever waits learns that now.
    pub fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        (waiting.answers, waiting.exits) = (Vec::new(), Vec::new());
    }
}

/// The shim is not there any more.
pub fn gone() -> PortError {
    PortError::new(ErrorKind::Unavailable, "the shim has gone")
}

/// The shim did not answer.
pub fn late() -> PortError {
    PortError::new(ErrorKind::DeadlineExceeded, "the shim did not answer in time")
}

/// What an error of the connection is to others.
pub fn unusable(error: PacketError) -> PortError {
    match error {
        PacketError::Socket(error) => PortError::io("cannot talk to the shim", error),
        PacketError::TooLong(_) => {
            PortError::with_source(ErrorKind::InvalidInput, "cannot ask the shim", error)
        }
        _ => PortError::with_source(ErrorKind::Internal, "cannot talk to the shim", error),
    }
}
