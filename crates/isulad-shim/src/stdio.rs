//! Making the streams of a process: pipes, `/dev/null`, or a terminal.

use std::io;
use std::os::fd::OwnedFd;

use isula_sys::pty::WindowSize;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;

use crate::streams::Ends;

/// The shim's sides of a process' streams, before the process runs.
#[derive(Debug, Default)]
pub struct Sides {
    pipes: [Option<OwnedFd>; 3],
}

impl Sides {
    /// Nothing yet: the terminal comes from the runtime.
    pub fn terminal() -> Self {
        Self::default()
    }

    /// The ends for [`crate::streams::Streams`]. A terminal's input is kept only where it is
    /// wanted.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn ends(self, console: Option<OwnedFd>, open_stdin: bool) -> io::Result<Ends> {
        let [stdin, stdout, stderr] = self.pipes;
        match console {
            None => Ok(Ends { stdin, stdout, stderr, terminal: false }),
            Some(master) => {
                let stdin =
                    open_stdin.then(|| isula_sys::process::duplicate(&master)).transpose()?;
                Ok(Ends { stdin, stdout: Some(master), stderr: None, terminal: true })
            }
        }
    }
}

/// Rows and columns as the runtime takes them.
pub fn window((rows, columns): (u16, u16)) -> WindowSize {
    WindowSize { rows, columns }
}

/// Pipes for the three streams; standard input is empty unless it is wanted open.
///
/// # Errors
/// `EMFILE`.
pub fn pipes(open_stdin: bool) -> io::Result<([OwnedFd; 3], Sides)> {
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
    let (stdin, to_stdin) = if open_stdin {
        let (read, write) = pipe()?;
        (read, Some(write))
    } else {
        (null()?, None)
    };
    let ((from_stdout, stdout), (from_stderr, stderr)) = (pipe()?, pipe()?);
    let pipes = [to_stdin, Some(from_stdout), Some(from_stderr)];
    Ok(([stdin, stdout, stderr], Sides { pipes }))
}

/// Empty input, and outputs that go nowhere.
///
/// # Errors
/// `EMFILE`.
pub fn nothing() -> io::Result<[OwnedFd; 3]> {
    Ok([null()?, null()?, null()?])
}

fn null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}
