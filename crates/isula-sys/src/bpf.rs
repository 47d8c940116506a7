//! bpf(2) as far as the device controller of cgroup v2 needs it: load a program of type
//! `BPF_PROG_TYPE_CGROUP_DEVICE`, attach it to a cgroup, find and detach others.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_PROG_QUERY: libc::c_int = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_F_REPLACE: u32 = 4;

/// The size of one `struct bpf_insn` in bytes.
pub const INSTRUCTION_SIZE: usize = 8;
/// More programs than this on one cgroup are not looked at (the kernel allows 64).
const MOST_PROGRAMS: usize = 64;

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The beginning of `union bpf_attr` for `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
struct Attach {
    target_fd: RawFd,
    attach_bpf_fd: RawFd,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: RawFd,
}

/// The beginning of `union bpf_attr` for `BPF_PROG_QUERY`.
#[repr(C)]
struct Query {
    target_fd: RawFd,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// The beginning of `union bpf_attr` for `BPF_PROG_GET_FD_BY_ID`.
#[repr(C)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// One call of bpf(2). `attr` is the `repr(C)` beginning of `union bpf_attr` for `command`.
fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<RawFd> {
    // SAFETY: the private structures above are the only types passed; their layout is that of the
    // kernel's union for the command, they are as long as the size says and outlive the call, and
    // the addresses inside them are of live buffers with the lengths given beside them.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(answer).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us (BPF_PROG_LOAD and
    // BPF_PROG_GET_FD_BY_ID return one, close-on-exec), and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn address<T>(pointer: *const T) -> u64 {
    // An address fits 64 bits on every architecture that Linux has.
    pointer.addr() as u64
}

/// Loads a device program: an array of `struct bpf_insn`. The result is close-on-exec.
///
/// # Errors
/// `EINVAL` when the length is no positive multiple of [`INSTRUCTION_SIZE`] or the verifier rejects
/// the program, `EPERM` without `CAP_BPF` and `CAP_NET_ADMIN` (or `CAP_SYS_ADMIN`).
pub fn load_device_program(program: &[u8]) -> io::Result<OwnedFd> {
    let count = u32::try_from(program.len() / INSTRUCTION_SIZE).unwrap_or(u32::MAX);
    if count == 0 || !program.len().is_multiple_of(INSTRUCTION_SIZE) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut attr = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: count,
        insns: address(program.as_ptr()),
        license: address(c"Apache-2.0".as_ptr()),
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    bpf(BPF_PROG_LOAD, &mut attr).map(own)
}

/// Attaches `program` beside those that are on `cgroup` already: all must allow an access.
///
/// # Errors
/// Those of `BPF_PROG_ATTACH`; `EPERM` when the cgroup or one above it holds a program that does
/// not let others be added.
pub fn attach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    change(BPF_PROG_ATTACH, cgroup, program, BPF_F_ALLOW_MULTI, 0)
}

/// Puts `program` in the place of `old` on `cgroup`, in one step (Linux 5.6).
///
/// # Errors
/// Those of `BPF_PROG_ATTACH`; `ENOENT` when `old` is not attached.
pub fn replace(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    old: BorrowedFd<'_>,
) -> io::Result<()> {
    let flags = BPF_F_ALLOW_MULTI | BPF_F_REPLACE;
    change(BPF_PROG_ATTACH, cgroup, program, flags, old.as_raw_fd())
}

/// Takes `program` off `cgroup`.
///
/// # Errors
/// `ENOENT` when it is not attached there.
pub fn detach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    change(BPF_PROG_DETACH, cgroup, program, 0, 0)
}

fn change(
    command: libc::c_int,
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    attach_flags: u32,
    replace_bpf_fd: RawFd,
) -> io::Result<()> {
    let mut attr = Attach {
        target_fd: cgroup.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags,
        replace_bpf_fd,
    };
    bpf(command, &mut attr).map(drop)
}

/// The device programs attached to `cgroup` itself, in the order of the kernel.
///
/// # Errors
/// Those of `BPF_PROG_QUERY` and `BPF_PROG_GET_FD_BY_ID`.
pub fn attached(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; MOST_PROGRAMS];
    let mut attr = Query {
        target_fd: cgroup.as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: address(ids.as_mut_ptr()),
        prog_cnt: u32::try_from(MOST_PROGRAMS).unwrap_or(0),
        padding: 0,
    };
    bpf(BPF_PROG_QUERY, &mut attr)?;
    let count = usize::try_from(attr.prog_cnt).unwrap_or(0).min(MOST_PROGRAMS);
    let open = |id: &u32| {
        let mut attr = ById { id: *id, next_id: 0, open_flags: 0 };
        bpf(BPF_PROG_GET_FD_BY_ID, &mut attr).map(own)
    };
    ids.iter().take(count).map(open).collect()
}
