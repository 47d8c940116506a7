//! Namespaces: leaving, joining, comparing, and the little that is set up inside a new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Joins the namespace of an open `/proc/PID/ns/*` file, or the ones named by the bits of a pidfd
/// (Linux 5.8). `kinds` are `CLONE_NEW*` bits: what the descriptor must be, or which to join.
///
/// # Errors
/// `EINVAL` when it is of another kind; those of `setns(2)`.
pub fn join(descriptor: BorrowedFd<'_>, kinds: u32) -> io::Result<()> {
    let kinds = i32::from_ne_bytes(kinds.to_ne_bytes());
    // SAFETY: no memory is touched.
    let result = unsafe { libc::setns(descriptor.as_raw_fd(), kinds) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Leaves namespaces for new ones, named by `CLONE_NEW*` bits.
///
/// # Errors
/// `EINVAL` for other bits; those of `unshare(2)`.
pub fn unshare(kinds: u32) -> io::Result<()> {
    // CLONE_FILES and its like would let this thread's view of descriptors part from that of its
    // siblings.
    const NAMESPACES: u32 = 0x7e02_0080;
    if kinds & !NAMESPACES != 0 {
        return Err(Errno::INVAL.into());
    }
    let kinds = i32::from_ne_bytes(kinds.to_ne_bytes());
    // SAFETY: only namespace bits are set, which neither touch memory nor descriptors.
    let result = unsafe { libc::unshare(kinds) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Opens a namespace of this process: `name` is one below `/proc/self/ns`.
///
/// # Errors
/// `ENOENT` when the kernel has no such namespace.
pub fn own(name: &str) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/ns/{name}");
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Whether a process is in the same namespace as this one. A kind that the kernel does not have
/// is the same for all.
///
/// # Errors
/// When the process has gone.
pub fn shared_with(pid: i32, name: &str) -> io::Result<bool> {
    let own = match fs::metadata(format!("/proc/self/ns/{name}")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        own => own?,
    };
    let other = fs::metadata(format!("/proc/{pid}/ns/{name}"))?;
    Ok(own.ino() == other.ino() && own.dev() == other.dev())
}

/// Writes the mappings of a new user namespace, before its first process acts in it.
///
/// # Errors
/// Those of `user_namespaces(7)`.
pub fn map_ids(pid: i32, uid_map: &str, gid_map: &str) -> io::Result<()> {
    // One write call a map: the kernel takes it whole or not at all.
    let write = |file: &str, map: &str| {
        fs::OpenOptions::new()
            .write(true)
            .open(format!("/proc/{pid}/{file}"))
            .and_then(|mut file| file.write_all(map.as_bytes()))
    };
    write("gid_map", gid_map)?;
    write("uid_map", uid_map)
}

/// Sets the clocks of the time namespace that children of this process will be in.
///
/// # Errors
/// Those of `time_namespaces(7)`.
pub fn set_time_offsets(lines: &str) -> io::Result<()> {
    File::options().write(true).open("/proc/self/timens_offsets")?.write_all(lines.as_bytes())
}

/// `struct ifreq` with the member that is used here.
#[repr(C)]
struct InterfaceFlags {
    name: [u8; libc::IFNAMSIZ],
    flags: i16,
    rest: [u8; 22],
}

/// Brings the loopback interface of this network namespace up; its addresses come with it.
///
/// # Errors
/// Those of `netdevice(7)`.
pub fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    let mut request = InterfaceFlags { name: [0; libc::IFNAMSIZ], flags: 0, rest: [0; 22] };
    if let Some(name) = request.name.get_mut(..2) {
        name.copy_from_slice(b"lo");
    }
    let up = libc::IFF_UP | libc::IFF_RUNNING;
    request.flags = i16::try_from(up).map_err(|_| Errno::INVAL)?;
    // SAFETY: the request is an ifreq (40 bytes) with a null-terminated name, and is only read.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_can_be_left() {
        let error = unshare(libc::CLONE_FILES as u32).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn this_process_shares_its_namespaces_with_itself() {
        let pid = i32::try_from(std::process::id()).unwrap();
        for name in ["mnt", "net", "user", "no-such-kind"] {
            assert!(shared_with(pid, name).unwrap(), "{name}");
        }
    }

    #[test]
    fn the_request_has_the_size_that_the_kernel_reads() {
        assert_eq!(size_of::<InterfaceFlags>(), size_of::<libc::ifreq>());
    }
}
