//! Installing a seccomp filter: seccomp(2), with prctl(2) where an outer sandbox hides it.

use std::io;

/// `SECCOMP_FILTER_FLAG_LOG` (Linux 4.14): log what the filter answers, except allow.
pub const FLAG_LOG: u32 = 1 << 1;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW` (Linux 4.17): leave speculative store bypass as it is.
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// The most instructions the kernel takes in one program (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;
/// The size of one `struct sock_filter` in bytes.
pub const INSTRUCTION_SIZE: usize = 8;

const SECCOMP_SET_MODE_FILTER: libc::c_uint = 1;

/// Installs `program`, an array of `struct sock_filter`, for the calling thread and what it will
/// start. It cannot be taken back.
///
/// The caller has `CAP_SYS_ADMIN` in its user namespace or has set no_new_privs. Allocates
/// nothing, so that it may be called between fork and exec.
///
/// # Errors
/// `EINVAL` when the length is no positive multiple of [`INSTRUCTION_SIZE`] or more than
/// [`MAX_INSTRUCTIONS`], when the kernel rejects the program or does not know a flag; `EACCES`
/// without the privilege.
pub fn install_filter(program: &[u8], flags: u32) -> io::Result<()> {
    let length = program.len() / INSTRUCTION_SIZE;
    let whole = program.len().is_multiple_of(INSTRUCTION_SIZE);
    let Ok(len) = u16::try_from(length) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if length == 0 || length > MAX_INSTRUCTIONS || !whole {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // The kernel copies the array byte by byte, so its alignment does not matter; it only reads.
    let fprog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `fprog` points to `len` whole instructions that outlive the call; the kernel copies
    // them and writes to neither.
    let answer = unsafe {
        libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const fprog)
    };
    if answer == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::ENOSYS) || flags != 0 {
        return Err(error);
    }
    // SAFETY: as above; prctl(2) takes the same structure.
    let answer = unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const fprog, 0, 0)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
