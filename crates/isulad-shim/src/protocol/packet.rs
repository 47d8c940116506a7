//! The frame of control: one packet, or memory that a packet passes on.
//!
//! ```text
//!   version u8 │ serial u32 LE │ where u8 │ length of the message u32 LE │ message │ payload
//! ```
//! The message is encoded by postcard. When `where` is 1, message and payload are in sealed memory,
//! whose descriptor comes first: a plan with a large filter or environment does not fit into the
//! buffer of a socket (212,992 bytes by default, with the kernel's own overhead), and from
//! [`INLINE_LIMIT`] on the copy through a memfd costs less than the pages it would keep there.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use isula_sys::{fd_passing, packet};
use serde::{Serialize, de::DeserializeOwned};

/// Changes with every change of the messages: another version is refused.
pub const VERSION: u8 = 2;
/// Bytes of message and payload that go in the packet itself.
pub const INLINE_LIMIT: usize = 32 << 10;
/// Bytes of message and payload at most. A plan is bounded by what an exec takes (`ARG_MAX`, 2 MiB
/// and a half with the kernel's default stack limit), and the filter by 4096 instructions.
pub const LIMIT: usize = 16 << 20;

const HEADER: usize = 10;

/// A packet that can't be sent or understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// The socket failed; `WouldBlock` when it is full or empty.
    #[error("the socket to the other side failed: {}", isula_sys::errno::describe(.0))]
    Socket(#[from] io::Error),
    /// Another version of the program is at the other side.
    #[error("the other side speaks version {0} of the shim protocol, this one {VERSION}")]
    Version(u8),
    /// The bytes are no message of this protocol.
    #[error("a packet of the shim protocol is malformed")]
    Malformed,
    /// There are more than [`LIMIT`] of them.
    #[error("a message of {0} bytes is too long for the shim protocol")]
    TooLong(usize),
}

impl PacketError {
    /// Whether the socket has only to become ready.
    #[must_use]
    pub fn would_block(&self) -> bool {
        matches!(self, Self::Socket(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// A packet to send, as often as it takes.
#[derive(Debug)]
pub struct Outgoing {
    bytes: Vec<u8>,
    memory: Option<OwnedFd>,
}

impl Outgoing {
    /// Encodes a message.
    ///
    /// # Errors
    /// [`PacketError::TooLong`]; [`PacketError::Socket`] when memory can't be had.
    pub fn new<M: Serialize>(
        serial: u32,
        message: &M,
        payload: &[u8],
    ) -> Result<Self, PacketError> {
        let mut bytes = vec![0; HEADER];
        bytes = postcard::to_extend(message, bytes).map_err(|_| PacketError::Malformed)?;
        let message_length = bytes.len().saturating_sub(HEADER);
        let length = message_length + payload.len();
        if length > LIMIT {
            return Err(PacketError::TooLong(length));
        }
        bytes.extend_from_slice(payload);
        let message_length = u32::try_from(message_length).map_err(|_| PacketError::Malformed)?;
        let outside = length > INLINE_LIMIT;
        let fields = [VERSION]
            .into_iter()
            .chain(serial.to_le_bytes())
            .chain([u8::from(outside)])
            .chain(message_length.to_le_bytes());
        for (byte, field) in bytes.iter_mut().zip(fields) {
            *byte = field;
        }
        let memory = if outside {
            let (_, body) = bytes.split_at_checked(HEADER).ok_or(PacketError::Malformed)?;
            let memory = packet::seal_bytes(body)?;
            bytes.truncate(HEADER);
            Some(memory)
        } else {
            None
        };
        Ok(Self { bytes, memory })
    }

    /// Sends it, with descriptors.
    ///
    /// # Errors
    /// `WouldBlock` when the socket is full: send it again later.
    pub fn send(&self, socket: BorrowedFd<'_>, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let parts = [IoSlice::new(&self.bytes)];
        match &self.memory {
            None => fd_passing::send(socket, &parts, descriptors),
            Some(memory) => {
                let mut all = vec![memory.as_fd()];
                all.extend_from_slice(descriptors);
                fd_passing::send(socket, &parts, &all)
            }
        }
    }
}

/// A packet that came.
#[derive(Debug)]
pub struct Incoming<M> {
    /// Ties an answer to its request.
    pub serial: u32,
    /// What it says.
    pub message: M,
    /// What came with it.
    pub descriptors: Vec<OwnedFd>,
    body: Vec<u8>,
    payload: usize,
}

impl<M> Incoming<M> {
    /// The bytes after the message.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.body.get(self.payload..).unwrap_or_default()
    }
}

/// Receives the next packet; `None` when the other side has closed the socket.
///
/// # Errors
/// [`PacketError`]; the packet is consumed, unless the socket would block.
pub fn receive<M: DeserializeOwned>(
    socket: BorrowedFd<'_>,
) -> Result<Option<Incoming<M>>, PacketError> {
    // The buffer is made for the packet, so that an idle process keeps none.
    let length = packet::next_length(socket)?.min(HEADER + INLINE_LIMIT);
    let mut bytes = vec![0; length.max(1)];
    let mut descriptors = Vec::new();
    match fd_passing::receive(socket, &mut bytes, &mut descriptors)? {
        0 => Ok(None),
        length => {
            bytes.truncate(length);
            parse(bytes, descriptors).map(Some)
        }
    }
}

fn parse<M: DeserializeOwned>(
    bytes: Vec<u8>,
    mut descriptors: Vec<OwnedFd>,
) -> Result<Incoming<M>, PacketError> {
    let (header, _) = bytes.split_first_chunk::<HEADER>().ok_or(PacketError::Malformed)?;
    let [version, s0, s1, s2, s3, place, l0, l1, l2, l3] = *header;
    if version != VERSION {
        return Err(PacketError::Version(version));
    }
    let (body, start) = match place {
        0 => (bytes, HEADER),
        1 if descriptors.is_empty() => return Err(PacketError::Malformed),
        1 => (packet::read_sealed(descriptors.remove(0), LIMIT)?, 0),
        _ => return Err(PacketError::Malformed),
    };
    let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
    let payload = start.saturating_add(length);
    let encoded = body.get(start..payload).ok_or(PacketError::Malformed)?;
    let message = match postcard::take_from_bytes(encoded) {
        Ok((message, [])) => message,
        _ => return Err(PacketError::Malformed),
    };
    let serial = u32::from_le_bytes([s0, s1, s2, s3]);
    Ok(Incoming { serial, message, descriptors, body, payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Message, Request, Streams};

    fn round_trip(payload: &[u8]) -> Incoming<Request> {
        let (left, right) = packet::pair().unwrap();
        let (other, _) = packet::pair().unwrap();
        let request =
            Request::Attach(Streams { stdin: true, size: Some((1, 2)), ..Streams::default() });
        let outgoing = Outgoing::new(77, &request, payload).unwrap();
        outgoing.send(left.as_fd(), &[other.as_fd()]).unwrap();
        let incoming = receive::<Request>(right.as_fd()).unwrap().unwrap();
        assert_eq!((incoming.serial, &incoming.message), (77, &request));
        assert_eq!(incoming.descriptors.len(), 1);
        drop(left);
        assert!(receive::<Request>(right.as_fd()).unwrap().is_none());
        incoming
    }

    #[test]
    fn a_message_arrives_with_a_payload_of_any_size() {
        for length in [0, 1, 1000, INLINE_LIMIT - 100, INLINE_LIMIT, INLINE_LIMIT + 1, 3_000_000] {
            let payload = vec![0xa5; length];
            assert_eq!(round_trip(&payload).payload(), payload, "{length}");
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_before_it_is_sent() {
        let error = Outgoing::new(1, &Message::Done, &vec![0; LIMIT + 1]).unwrap_err();
        assert!(matches!(error, PacketError::TooLong(_)));
    }

    #[test]
    fn every_damaged_packet_is_refused() {
        let good =
            Outgoing::new(5, &Request::Order(crate::protocol::Order::Pause), b"pay").unwrap();
        let bytes = good.bytes;
        assert!(parse::<Request>(bytes.clone(), Vec::new()).is_ok());
        // Cut anywhere before the payload.
        for length in 0..bytes.len() - 3 {
            let cut = bytes[..length].to_vec();
            assert!(parse::<Request>(cut, Vec::new()).is_err(), "{length}");
        }
        for (position, value) in
            [(0, 9), (5, 1), (5, 2), (6, 255), (9, 255), (6, 0), (6, 3), (10, 99)]
        {
            let mut damaged = bytes.clone();
            damaged[position] = value;
            assert!(parse::<Request>(damaged, Vec::new()).is_err(), "{position}={value}");
        }
    }

    #[test]
    fn a_length_inside_a_message_cannot_make_it_allocate() {
        // A string of 2^60 bytes in the id of an exec.
        let mut bytes = vec![VERSION, 0, 0, 0, 0, 0, 11, 0, 0, 0, 2];
        bytes.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, b'x']);
        assert!(matches!(parse::<Request>(bytes, Vec::new()), Err(PacketError::Malformed)));
    }
}
