//! Programs run from a file that nobody can write through them, so that a container that gets hold
//! of `/proc/PID/exe` of one finds nothing that it can change (CVE-2019-5736).
//!
//! The cheap way is a detached read-only copy of the file's mount: it costs no memory, its pages
//! are the file's, and once the descriptor is closed the mount belongs to no namespace, so that no
//! privilege makes it writable again. Where the kernel cannot do that (before 5.12) the program is
//! copied to sealed memory.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags, StatVfsMountFlags};
use rustix::io::Errno;

use crate::mount::{self, Depth};

/// A descriptor of the program for [`crate::exec::fexecve`], which a process that runs it gives no
/// way to write to. `name` is shown where it has to be a copy in memory.
///
/// # Errors
/// Those of reading the file.
pub fn protect(program: &Path, name: &str) -> io::Result<OwnedFd> {
    read_only(program).or_else(|_| seal(program, name))
}

/// The program through a detached read-only mount.
fn read_only(program: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(program.as_os_str().as_bytes())?;
    let file = mount::clone(&path, Depth::One)?;
    mount::set_attributes(file.as_fd(), Depth::One, (mount::RDONLY | mount::NOSUID, 0))?;
    Ok(file)
}

/// Whether this process runs from a file that cannot be written through it.
///
/// # Errors
/// When `/proc/self/exe` cannot be opened.
pub fn is_protected() -> io::Result<bool> {
    let own = File::open("/proc/self/exe")?;
    if rustix::fs::fstatvfs(&own)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(true);
    }
    Ok(rustix::fs::fcntl_get_seals(own.as_fd()).is_ok_and(|found| found.contains(seals())))
}

/// A copy of a program in memory that nobody can change any more. Processes that run it share its
/// pages.
///
/// # Errors
/// Those of reading the file and of `memfd_create(2)`.
pub fn seal(program: &Path, name: &str) -> io::Result<OwnedFd> {
    let source = File::open(program)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        // The kernel is older than 6.3, where every memfd can be executed.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        copy => copy?,
    };
    let mut left = source.metadata()?.len();
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX);
        match rustix::fs::sendfile(&copy, &source, None, part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            sent => left = left.saturating_sub(sent as u64),
        }
    }
    rustix::fs::fcntl_add_seals(&copy, seals())?;
    Ok(copy)
}

fn seals() -> SealFlags {
    SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_protected_program_cannot_be_written_and_costs_no_copy() {
        let directory = std::env::temp_dir().join(format!("isula-sealed-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let program = directory.join("program");
        std::fs::write(&program, "contents").unwrap();
        let protected = protect(&program, "test").unwrap();
        let path = mount::descriptor_path(protected.as_fd());
        let path = path.to_str().unwrap();
        // This process has every privilege, and the file itself can be written.
        let error = File::options().write(true).open(path).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
        std::fs::write(&program, "new").unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "new");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_mount_that_is_gone_stays_read_only() {
        let directory = std::env::temp_dir().join(format!("isula-gone-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let program = directory.join("program");
        std::fs::write(&program, "contents").unwrap();
        let protected = read_only(&program).unwrap();
        // What /proc/PID/exe is once the descriptor of the runtime is closed.
        let open = File::open(mount::descriptor_path(protected.as_fd()).to_str().unwrap());
        let open = open.unwrap();
        drop(protected);
        let writable = (0, mount::RDONLY);
        mount::set_attributes(open.as_fd(), Depth::One, writable).unwrap_err();
        mount::remount_bind(open.as_fd(), writable).unwrap_err();
        mount::clone_of(open.as_fd(), Depth::One).unwrap_err();
        let path = mount::descriptor_path(open.as_fd());
        File::options().write(true).open(path.to_str().unwrap()).unwrap_err();
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_sealed_program_is_a_copy_that_cannot_be_written() {
        let program = Path::new("/proc/self/exe");
        let sealed = seal(program, "test").unwrap();
        let mut copy = File::from(sealed);
        copy.write_all(b"x").unwrap_err();
        let path = mount::descriptor_path(copy.as_fd());
        let mut reread = Vec::new();
        File::open(path.to_str().unwrap()).unwrap().read_to_end(&mut reread).unwrap();
        assert_eq!(reread, std::fs::read(program).unwrap());
    }
}
