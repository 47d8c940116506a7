//! A netlink socket: one request after the other, each with its answer.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind,
        netlink::SocketAddrNetlink, recv, send, socket_with, sockopt,
    },
};

use super::message::{ACK, DUMP, Message, Reply, replies};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The objects changed while they were listed.
const DUMP_INTERRUPTED: u16 = 0x10;
/// The kernel answers within the call that sends, but for what it does not answer at all.
const PATIENCE: Duration = Duration::from_secs(10);
/// The kernel makes datagrams of a dump this large at most.
const BUFFER: usize = 64 << 10;

/// A socket to a part of the kernel. It stays bound to the network namespace that it was made in.
#[derive(Debug)]
pub(crate) struct Socket {
    descriptor: OwnedFd,
    next: AtomicU32,
}

impl Socket {
    /// A socket for routing, links and addresses.
    pub(crate) fn route() -> io::Result<Self> {
        // NETLINK_ROUTE is 0.
        Self::open(None)
    }

    /// A socket that hears of every change of a link.
    pub(crate) fn link_changes() -> io::Result<Self> {
        const RTMGRP_LINK: u32 = 1;
        let socket = Self::route()?;
        bind(&socket.descriptor, &SocketAddrNetlink::new(0, RTMGRP_LINK))?;
        Ok(socket)
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let descriptor = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        sockopt::set_socket_timeout(&descriptor, sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { descriptor, next: AtomicU32::new(1) })
    }

    /// Does something; its error is the kernel's.
    pub(crate) fn change(&self, message: Message) -> io::Result<()> {
        let number = self.number();
        self.send(&message.finish(number)?)?;
        self.receive(number, |_| {})
    }

    /// Asks for one object; `None` when there is none.
    pub(crate) fn get<T>(
        &self,
        mut message: Message,
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let number = self.number();
        // Without it, nothing says that the answer is complete.
        message.set_flags(ACK);
        self.send(&message.finish(number)?)?;
        let mut found = None;
        match self.receive(number, |reply| found = found.take().or_else(|| read(reply.body))) {
            Ok(()) => Ok(found),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NODEV | Errno::NOENT) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Asks for all objects of a kind: `kind` and the fixed part of the request, and what else the
    /// request says. A list that changed under the kernel's hands is asked for again.
    pub(crate) fn list<T>(
        &self,
        (kind, fixed): (u16, &[u8]),
        refine: impl Fn(&mut Message),
        mut read: impl FnMut(&[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        const ATTEMPTS: usize = 50;
        for _ in 0..ATTEMPTS {
            let mut message = Message::new(kind, DUMP, fixed);
            refine(&mut message);
            let number = self.number();
            self.send(&message.finish(number)?)?;
            let (mut found, mut interrupted) = (Vec::new(), false);
            self.receive(number, |reply| {
                interrupted |= reply.flags & DUMP_INTERRUPTED != 0;
                if reply.kind != NLMSG_DONE {
                    found.extend(read(reply.body));
                }
            })?;
            if !interrupted {
                return Ok(found);
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Sends messages that only count together; the first error is that of all. The last but one
    /// is what the kernel must answer: the last one only closes the batch.
    pub(crate) fn batch(&self, messages: Vec<Message>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let (mut first, mut last) = (0, 0);
        let closing = messages.len().saturating_sub(1);
        for (index, message) in messages.into_iter().enumerate() {
            let number = self.number();
            if index == 0 {
                first = number;
            }
            if index < closing {
                last = number;
            }
            bytes.extend(message.finish(number)?);
        }
        self.send(&bytes)?;
        let mut failure = None;
        loop {
            let done = self.read(|reply| {
                if reply.kind != NLMSG_ERROR || !(first..=last).contains(&reply.number) {
                    return None;
                }
                let outcome = outcome(reply.body);
                if outcome.is_err() && failure.is_none() {
                    failure = Some(reply.number);
                    return Some((reply.number, outcome));
                }
                (reply.number == last).then_some((last, outcome))
            })?;
            if let Some((_, outcome)) = done {
                return outcome;
            }
        }
    }

    /// Waits until a message satisfies `wanted`.
    pub(crate) fn await_change(&self, wanted: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        while self.read(|reply| wanted(reply.body).then_some(()))?.is_none() {}
        Ok(())
    }

    /// Limits how long the next answers are waited for.
    pub(crate) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        sockopt::set_socket_timeout(&self.descriptor, sockopt::Timeout::Recv, Some(patience))?;
        Ok(())
    }

    fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match send(&self.descriptor, bytes, SendFlags::empty())? {
            sent if sent == bytes.len() => Ok(()),
            _ => Err(Errno::MSGSIZE.into()),
        }
    }

    /// Reads until the answer to a request is complete.
    fn receive(&self, number: u32, mut take: impl FnMut(Reply<'_>)) -> io::Result<()> {
        loop {
            let done = self.read(|reply| match reply {
                Reply { number: other, .. } if other != number => None,
                Reply { kind: NLMSG_ERROR, body, .. } => Some(outcome(body)),
                Reply { kind: NLMSG_DONE, .. } => {
                    take(reply);
                    Some(Ok(()))
                }
                other => {
                    take(other);
                    None
                }
            })?;
            if let Some(outcome) = done {
                return outcome;
            }
        }
    }

    /// Reads one datagram; gives back what `take` said last of one of its messages.
    fn read<T>(&self, mut take: impl FnMut(Reply<'_>) -> Option<T>) -> io::Result<Option<T>> {
        let mut buffer = vec![0; BUFFER];
        let length = loop {
            match recv(&self.descriptor, &mut buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => break length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
            }
        };
        let mut said = None;
        for reply in replies(buffer.get(..length).unwrap_or_default()) {
            said = said.or_else(|| take(reply));
        }
        Ok(said)
    }
}

/// The socket to netfilter, with the number of the network namespace that it is bound to.
///
/// It is kept, for closing one takes some ten milliseconds after a rule was removed: the kernel then
/// waits until nobody can see the rule any more (`nft_rcv_nl_event`, net/netfilter/nf_tables_api.c),
/// and lets no other transaction begin meanwhile.
static NETFILTER: Mutex<Option<(u64, Socket)>> = Mutex::new(None);

/// Talks to the netfilter of this thread's network namespace, one at a time: the kernel makes one
/// transaction at a time anyway, and lists are complete only between them.
pub(super) fn netfilter<T>(work: impl FnOnce(&Socket) -> io::Result<T>) -> io::Result<T> {
    let namespace = rustix::fs::stat("/proc/thread-self/ns/net")?.st_ino;
    let mut kept = NETFILTER.lock().unwrap_or_else(PoisonError::into_inner);
    let socket = match kept.take() {
        Some((number, socket)) if number == namespace => socket,
        _ => Socket::open(Some(rustix::net::netlink::NETFILTER))?,
    };
    let done = work(&socket);
    let lost = |error: &io::Error| {
        matches!(Errno::from_io_error(error), Some(Errno::NOBUFS))
            || error.kind() == io::ErrorKind::TimedOut
    };
    // After an answer that was lost, nobody knows what else is missing.
    if !done.as_ref().err().is_some_and(lost) {
        *kept = Some((namespace, socket));
    }
    done
}

/// What an error message says; 0 is an acknowledgement.
fn outcome(body: &[u8]) -> io::Result<()> {
    let code = super::message::u32_at(body, 0).map_or(-1, u32::cast_signed);
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.saturating_neg())) }
}

/// A message that asks for an acknowledgement.
pub(super) fn acknowledged(kind: u16, flags: u16, fixed: &[u8]) -> Message {
    Message::new(kind, flags | ACK, fixed)
}
