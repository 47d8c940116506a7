//! The shim's program, kept so that no container can change it.
//!
//! A container's first process is a copy of its shim until it runs its program, and whoever gets
//! hold of `/proc/PID/exe` of a process could write to its file once the file is not in use
//! (CVE-2019-5736). So shims are run from a read-only mount of their own, which is in no mount
//! table; its pages are those of the file, shared by all. Where the kernel has no `mount_setattr`
//! (before 5.12) it is a sealed copy in memory, shared just so.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use isula_sys::mount::{self, Depth};

/// The program, ready to be run.
#[derive(Debug)]
pub struct Program(OwnedFd);

impl Program {
    /// Takes hold of the program at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let name = CString::new(path.as_os_str().as_bytes())?;
        read_only(&name).or_else(|_| isula_sys::sealed::seal(path, "isulad-shim")).map(Self)
    }

    /// The program, to be called with arguments. It finds nothing in its environment.
    pub fn command(&self) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        command.arg0("isulad-shim").env_clear();
        command
    }

    /// Starts a shim that talks through `control`. This is one `posix_spawn(3)`: neither a working
    /// directory nor anything else is set that would make it a fork.
    pub fn spawn(&self, id: &str, control: OwnedFd) -> io::Result<Child> {
        // The child resolves the path in its own copy of the table of descriptors.
        self.command()
            .arg(id)
            // External runtimes look for programs of their own; nothing else is any of theirs.
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(control)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }
}

fn read_only(path: &CString) -> io::Result<OwnedFd> {
    let program = mount::clone(path, Depth::One)?;
    mount::set_attributes(program.as_fd(), Depth::One, (mount::RDONLY, 0))?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_program_cannot_be_written_through_any_of_its_processes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        std::fs::copy("/bin/busybox", &path).unwrap();
        let real = Program::open(&path).unwrap();
        let sealed = Program(isula_sys::sealed::seal(&path, "test").unwrap());
        for program in [real, sealed] {
            let (control, other) = isula_sys::packet::pair().unwrap();
            // busybox run by another name says "applet not found" and ends: it was run.
            let mut child = program.spawn("id", control).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(127));
            drop(other);
            // A sealed file can be opened, but not written.
            let written = std::fs::File::options()
                .write(true)
                .open(format!("/proc/self/fd/{}", program.0.as_raw_fd()))
                .and_then(|mut file| file.write_all(b"x"));
            assert!(written.is_err());
        }
    }
}
