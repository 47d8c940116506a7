//! Unix sockets that keep the bounds of packets (`SOCK_SEQPACKET`, unix(7)), none of which blocks.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, MemfdFlags, Mode, SealFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType};

/// Two connected sockets.
///
/// # Errors
/// Those of `socketpair(2)`.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags(), None)?)
}

/// Listens at a name in the current directory, for its owner alone. A relative name is not bound
/// by the 108 bytes of an address; what was there before is removed.
///
/// # Errors
/// Those of `bind(2)` and `listen(2)`.
pub fn listen(name: &Path) -> io::Result<OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags(), None)?;
    match rustix::fs::unlink(name) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    rustix::net::bind(&socket, &SocketAddrUnix::new(name)?)?;
    // Nobody can connect before listen(2).
    let owner = Mode::RUSR | Mode::WUSR;
    rustix::fs::chmodat(rustix::fs::CWD, name, owner, AtFlags::empty())?;
    rustix::net::listen(&socket, 4)?;
    Ok(socket)
}

/// Connects to the socket at `path`.
///
/// # Errors
/// `ECONNREFUSED` when nobody listens there any more, `WouldBlock` when its queue is full, those of
/// `connect(2)`.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags(), None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// The next connection, if somebody has connected.
///
/// # Errors
/// Those of `accept(2)` that are not about one connection alone.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    loop {
        match rustix::net::accept_with(listener, flags()) {
            Ok(socket) => return Ok(Some(socket)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The user id of the process that made the other end.
///
/// # Errors
/// Those of `getsockopt(2)`.
pub fn peer_uid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(socket)?.uid.as_raw())
}

/// Length of the next packet, which stays where it is; 0 when the peer has closed the socket.
///
/// # Errors
/// `WouldBlock` when there is none.
pub fn next_length(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let flags = RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::DONTWAIT;
    let mut byte = [0u8; 1];
    loop {
        match rustix::net::recv(socket, &mut byte, flags) {
            // With TRUNC the second number is the packet's, the first what was copied.
            Ok((_, length)) => return Ok(length),
            // As in `fd_passing::receive`: told once, and then what is there.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Puts bytes that are too many for a packet into memory that can be sent as a descriptor, and that
/// nobody can change any more.
///
/// # Errors
/// Those of `memfd_create(2)` and `write(2)`.
pub fn seal_bytes(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match rustix::fs::memfd_create("packet", flags | MemfdFlags::NOEXEC_SEAL) {
        // The kernel is older than 6.3.
        Err(Errno::INVAL) => rustix::fs::memfd_create("packet", flags)?,
        memory => memory?,
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&memory, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    rustix::fs::fcntl_add_seals(&memory, seals())?;
    Ok(memory)
}

/// Reads what [`seal_bytes`] made.
///
/// # Errors
/// `EPERM` when it could still be changed, `EMSGSIZE` when it is longer than `limit` bytes.
pub fn read_sealed(memory: impl AsFd, limit: usize) -> io::Result<Vec<u8>> {
    if !rustix::fs::fcntl_get_seals(&memory)?.contains(seals()) {
        return Err(Errno::PERM.into());
    }
    let length = usize::try_from(rustix::fs::fstat(&memory)?.st_size).unwrap_or(usize::MAX);
    if length > limit {
        return Err(Errno::MSGSIZE.into());
    }
    let mut bytes = vec![0; length];
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(&memory, rest, done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => done += count,
        }
    }
    Ok(bytes)
}

fn flags() -> SocketFlags {
    SocketFlags::CLOEXEC | SocketFlags::NONBLOCK
}

fn seals() -> SealFlags {
    SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd_passing::{receive, send};
    use std::io::IoSlice;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_socket_at_a_path_is_for_its_owner_alone_and_knows_its_peer() {
        let directory =
            std::env::temp_dir().join(format!("isula-sys-packet-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("socket");
        std::fs::write(&path, "left by a former process").unwrap();
        let listener = listen(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(accept(listener.as_fd()).unwrap().is_none());
        let client = connect(&path).unwrap();
        let server = accept(listener.as_fd()).unwrap().unwrap();
        assert_eq!(peer_uid(server.as_fd()).unwrap(), rustix::process::getuid().as_raw());
        assert_eq!(next_length(server.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        send(client.as_fd(), &[IoSlice::new(&[1; 5000])], &[]).unwrap();
        assert_eq!(next_length(server.as_fd()).unwrap(), 5000);
        assert_eq!(receive(server.as_fd(), &mut [0; 6000], &mut Vec::new()).unwrap(), 5000);
        drop((listener, client));
        assert_eq!(next_length(server.as_fd()).unwrap(), 0);
        assert!(connect(&path).is_err());
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn sealed_bytes_are_read_back_within_the_limit_and_only_if_sealed() {
        let bytes = vec![9; 100_000];
        let memory = seal_bytes(&bytes).unwrap();
        assert_eq!(read_sealed(&memory, 100_000).unwrap(), bytes);
        let error = read_sealed(&memory, 99_999).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        let open = rustix::fs::memfd_create("open", MemfdFlags::ALLOW_SEALING).unwrap();
        let error = read_sealed(&open, 10).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
}
