//! Handing the terminal of a container to the engine.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};

use super::report::Failure;

/// Connects to the socket that `--console-socket` names.
pub(super) fn connect(path: &Path) -> Result<OwnedFd, Failure> {
    let connect = || {
        let flags = SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok::<_, rustix::io::Errno>(socket)
    };
    connect().map_err(|error| Failure::file("connect to", path, error))
}

/// Sends the master, as runc does: one message with one descriptor.
pub(super) fn send(socket: &OwnedFd, master: &OwnedFd) -> Result<(), Failure> {
    let descriptors = [master.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let name = [IoSlice::new(b"/dev/ptmx")];
    rustix::net::sendmsg(socket, &name, &mut control, SendFlags::NOSIGNAL)
        .map_err(|error| Failure::io("send the terminal", error))?;
    Ok(())
}
