//! What the process that is being set up and its parent tell each other.
//!
//! One seqpacket pair, close-on-exec: a message is one packet, a descriptor rides on its packet,
//! and the exec of the program closes the child's end, which is how the parent learns of it.
//!
//! ```text
//!   child                            parent
//!     │ (user namespace) ── waits      │ maps ids, raises limits
//!     │ ◄────────────── go ─────────── │
//!     │ ── hooks ────────────────────► │ runs prestart and createRuntime
//!     │ ◄────────────── go ─────────── │
//!     │ ── console + descriptor ─────► │
//!     │ ── warning … ────────────────► │
//!     │ ── held (create) ────────────► │ is done
//!     │ ── executing, exec closes ───► │ is done
//!     │ ── failed: step, errno, what ► │ gives up
//! ```

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::error::{StartError, Step};

/// No text that is sent is longer than this; longer ones are cut.
const LONGEST: usize = 2048;

/// One message of the child.
#[derive(Debug)]
pub(crate) enum Message {
    /// The setup has failed; nothing follows.
    Failed(StartError),
    /// Something was clamped.
    Warning(String),
    /// The master of the container's terminal.
    Console(OwnedFd),
    /// The id of the init, from the process that made it in the parent's stead.
    Pid(i32),
    /// The parent shall run the hooks that are its, and say go.
    Hooks,
    /// Everything is set up, and the init waits for the order to start.
    Held,
    /// The exec follows: when the channel closes now, it has succeeded.
    Executing,
}

/// One end.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// The two ends.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let flags = SocketFlags::CLOEXEC;
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self(one), Self(other)))
    }

    /// The same end once more.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        isula_sys::process::duplicate(&self.0).map(Self)
    }

    /// Sends a message; it is an error that the other end is gone.
    pub(crate) fn send(&self, message: &Message) -> io::Result<()> {
        let mut packet = Vec::with_capacity(64);
        let text = |packet: &mut Vec<u8>, text: &str| {
            packet.extend_from_slice(text.as_bytes().get(..LONGEST).unwrap_or(text.as_bytes()));
        };
        match message {
            Message::Failed(error) => {
                packet.extend_from_slice(&[b'F', error.step as u8]);
                packet.extend_from_slice(&error.errno.to_ne_bytes());
                text(&mut packet, &error.detail);
            }
            Message::Warning(warning) => {
                packet.push(b'W');
                text(&mut packet, warning);
            }
            Message::Console(master) => return self.send_descriptor(b"C", master),
            Message::Pid(pid) => {
                packet.push(b'P');
                packet.extend_from_slice(&pid.to_ne_bytes());
            }
            Message::Hooks => packet.push(b'H'),
            Message::Held => packet.push(b'D'),
            Message::Executing => packet.push(b'X'),
        }
        self.write(&packet)
    }

    /// `write` alone: a seccomp filter that is in force by then is likeliest to allow it.
    fn write(&self, packet: &[u8]) -> io::Result<()> {
        retry(|| rustix::io::write(&self.0, packet)).map(drop)
    }

    fn send_descriptor(&self, packet: &[u8], descriptor: &OwnedFd) -> io::Result<()> {
        let descriptors = [descriptor.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(Errno::NOBUFS.into());
        }
        let packet = [IoSlice::new(packet)];
        rustix::net::sendmsg(&self.0, &packet, &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next message; none when the other end is closed.
    pub(crate) fn receive(&self) -> io::Result<Option<Message>> {
        let mut packet = [0u8; LONGEST + 16];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = retry(|| {
            let mut slices = [IoSliceMut::new(&mut packet)];
            rustix::net::recvmsg(&self.0, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)
        })?;
        if received.bytes == 0 {
            return Ok(None);
        }
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let packet = packet.get(..received.bytes).unwrap_or_default();
        parse(packet, descriptor).map(Some).ok_or_else(|| Errno::PROTO.into())
    }

    /// Tells the child to go on.
    pub(crate) fn go(&self) -> io::Result<()> {
        self.write(b"g")
    }

    /// Waits for [`Channel::go`].
    pub(crate) fn wait(&self) -> io::Result<()> {
        let mut packet = [0u8; 1];
        match retry(|| rustix::io::read(&self.0, &mut packet))? {
            // The parent is gone or has given up.
            0 => Err(Errno::PIPE.into()),
            _ => Ok(()),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

fn parse(packet: &[u8], descriptor: Option<OwnedFd>) -> Option<Message> {
    let (tag, rest) = packet.split_first()?;
    Some(match tag {
        b'F' => {
            let (step, rest) = rest.split_first()?;
            let (errno, detail) = rest.split_first_chunk()?;
            Message::Failed(StartError {
                step: Step::from_number(*step)?,
                errno: i32::from_ne_bytes(*errno),
                detail: String::from_utf8_lossy(detail).into_owned(),
            })
        }
        b'W' => Message::Warning(String::from_utf8_lossy(rest).into_owned()),
        b'C' => Message::Console(descriptor?),
        b'P' => Message::Pid(i32::from_ne_bytes(rest.try_into().ok()?)),
        b'H' => Message::Hooks,
        b'D' => Message::Held,
        b'X' => Message::Executing,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_is_received() {
        let (child, parent) = Channel::pair().unwrap();
        let failed = StartError { step: Step::Mount, errno: 22, detail: "/data".into() };
        child.send(&Message::Failed(failed.clone())).unwrap();
        child.send(&Message::Pid(4711)).unwrap();
        child.send(&Message::Console(rustix::io::dup(&child.0).unwrap())).unwrap();
        child.send(&Message::Warning("x".repeat(2 * LONGEST))).unwrap();
        child.send(&Message::Executing).unwrap();
        drop(child);
        let next = || parent.receive().unwrap();
        assert!(matches!(next(), Some(Message::Failed(error)) if error == failed));
        assert!(matches!(next(), Some(Message::Pid(4711))));
        assert!(matches!(next(), Some(Message::Console(_))));
        assert!(matches!(next(), Some(Message::Warning(text)) if text.len() == LONGEST));
        assert!(matches!(next(), Some(Message::Executing)));
        assert!(next().is_none());
    }

    #[test]
    fn a_packet_that_is_no_message_is_an_error() {
        for packet in [b"".as_slice(), b"?", b"F", b"F\x01\x02", b"F\xff\0\0\0\0", b"P12", b"C"] {
            assert!(parse(packet, None).is_none(), "{packet:?}");
        }
    }

    #[test]
    fn waiting_ends_when_the_parent_is_gone() {
        let (child, parent) = Channel::pair().unwrap();
        parent.go().unwrap();
        child.wait().unwrap();
        drop(parent);
        child.wait().unwrap_err();
    }
}
