//! Sending and receiving a packet together with open descriptors (`SCM_RIGHTS`, unix(7)).
//!
//! Everything here is for sockets that keep the bounds of packets and never blocks: a socket that
//! is full or empty says `WouldBlock`.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// How many descriptors one packet may carry.
pub const DESCRIPTORS_LIMIT: usize = 4;

/// Sends one packet, made of all parts, with descriptors.
///
/// # Errors
/// `WouldBlock` when the socket is full, `EMSGSIZE` when the packet is larger than its buffer,
/// `EINVAL` for more than [`DESCRIPTORS_LIMIT`] descriptors, `EPIPE` or `ECONNRESET` when the
/// peer has gone.
pub fn send(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_LIMIT))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if descriptors.len() > DESCRIPTORS_LIMIT
        || (!descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)))
    {
        return Err(Errno::INVAL.into());
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    loop {
        match rustix::net::sendmsg(socket, parts, &mut control, flags) {
            // A packet goes whole or not at all.
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives one packet into `buffer` and appends its descriptors, all close-on-exec. Returns its
/// length; 0 when the peer has closed the socket.
///
/// # Errors
/// `WouldBlock` when there is none; `EMSGSIZE` when it did not fit into `buffer` or carried more
/// descriptors than [`DESCRIPTORS_LIMIT`]: the packet is lost then, and what came of it closed.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_LIMIT))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = loop {
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Ok(message) => break message,
            // The peer closed with packets of ours unread. The kernel says so once, before the
            // packets that the peer had sent; what follows is those, and then the end.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(error) => return Err(error.into()),
        }
    };
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Errno::MSGSIZE.into());
    }
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    Ok(message.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::pair;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn a_packet_arrives_with_its_descriptors_and_its_bounds() {
        let (left, right) = pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let parts = [IoSlice::new(b"one"), IoSlice::new(b"two")];
        send(left.as_fd(), &parts, &[write.as_fd()]).unwrap();
        send(left.as_fd(), &[IoSlice::new(b"next")], &[]).unwrap();
        drop(write);

        let (mut buffer, mut descriptors) = ([0; 64], Vec::new());
        let length = receive(right.as_fd(), &mut buffer, &mut descriptors).unwrap();
        assert_eq!(&buffer[..length], b"onetwo");
        let flags = rustix::io::fcntl_getfd(&descriptors[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        File::from(descriptors.remove(0)).write_all(b"through").unwrap();
        let mut text = String::new();
        File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");

        let length = receive(right.as_fd(), &mut buffer, &mut descriptors).unwrap();
        assert_eq!((&buffer[..length], descriptors.len()), (b"next".as_slice(), 0));
        let empty = receive(right.as_fd(), &mut buffer, &mut descriptors).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        drop(left);
        assert_eq!(receive(right.as_fd(), &mut buffer, &mut descriptors).unwrap(), 0);
    }

    #[test]
    fn a_packet_that_does_not_fit_is_refused_and_the_next_one_is_whole() {
        let (left, right) = pair().unwrap();
        send(left.as_fd(), &[IoSlice::new(&[7; 100])], &[left.as_fd()]).unwrap();
        send(left.as_fd(), &[IoSlice::new(b"ok")], &[]).unwrap();
        let (mut buffer, mut descriptors) = ([0; 10], Vec::new());
        let error = receive(right.as_fd(), &mut buffer, &mut descriptors).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        assert_eq!(receive(right.as_fd(), &mut buffer, &mut descriptors).unwrap(), 2);
        assert!(descriptors.is_empty());
    }

    #[test]
    fn a_full_socket_says_so_and_a_lost_peer_too() {
        let (left, right) = pair().unwrap();
        let full = loop {
            if let Err(error) = send(left.as_fd(), &[IoSlice::new(&[0; 4096])], &[]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        send(right.as_fd(), &[IoSlice::new(b"last")], &[]).unwrap();
        drop(right);
        // The end, with packets unread at the other side, does not hide the last packet.
        let mut buffer = [0; 8];
        assert_eq!(receive(left.as_fd(), &mut buffer, &mut Vec::new()).unwrap(), 4);
        let lost = send(left.as_fd(), &[IoSlice::new(b"x")], &[]).unwrap_err();
        assert_eq!(lost.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(receive(left.as_fd(), &mut buffer, &mut Vec::new()).unwrap(), 0);
    }
}
