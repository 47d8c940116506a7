//! Programs run from sealed memory, so that a container that gets hold of `/proc/PID/exe` of one
//! finds nothing that it can change (CVE-2019-5736).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;

/// A copy of a program in memory that nobody can change any more, ready for
/// [`crate::exec::fexecve`]. Processes that run it share its pages.
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

/// Whether this process runs from a sealed copy.
///
/// # Errors
/// When `/proc/self/exe` cannot be opened.
pub fn is_sealed() -> io::Result<bool> {
    let own = File::open("/proc/self/exe")?;
    Ok(rustix::fs::fcntl_get_seals(own.as_fd()).is_ok_and(|found| found.contains(seals())))
}

fn seals() -> SealFlags {
    SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_sealed_program_is_a_copy_that_cannot_be_written() {
        let program = Path::new("/proc/self/exe");
        let sealed = seal(program, "test").unwrap();
        let mut copy = File::from(sealed);
        copy.write_all(b"x").unwrap_err();
        let path = crate::mount::descriptor_path(copy.as_fd());
        let mut reread = Vec::new();
        File::open(path.to_str().unwrap()).unwrap().read_to_end(&mut reread).unwrap();
        assert_eq!(reread, std::fs::read(program).unwrap());
        assert!(!is_sealed().unwrap());
    }
}
