//! A process that shims are copied from: it has been loaded, relocated and set up once, and its
//! pages are shared by all its copies until one writes to them.
//!
//! ```text
//!   daemon ──id, socket──▶ template ──clone3(CLONE_PARENT)──▶ shim, a child of the daemon
//!      ▲                                                        │
//!      └──────────────── Hello, on the socket ──────────────────┘
//! ```
//!
//! It has one thread and nothing of any container. It answers nothing: the copy itself says hello,
//! and where none could be made the socket closes. It goes when the daemon does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use isula_sys::process::{self, CommandLine, Spawn};
use isula_sys::{exec, fd_passing};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// The length of an id.
const ID: usize = 64;
/// The first argument that makes the program a template, as long as an id: in its place a copy
/// shows the id of its container.
pub const ARGUMENT: &str = "--template-of-shims---------------------------------------------";
/// What comes before it in the memory of the arguments.
const NAME: &str = "isulad-shim";

const _: () = assert!(ARGUMENT.len() == ID);

/// Asks a template for a shim that is controlled through this socket.
///
/// # Errors
/// The template has gone, or `WouldBlock` when too many are asked for at once.
pub fn ask(template: BorrowedFd<'_>, id: &str, control: BorrowedFd<'_>) -> io::Result<()> {
    fd_passing::send(template, &[io::IoSlice::new(id.as_bytes())], &[control])
}

/// Serves until the daemon has gone. `keep` is the life of a copy.
///
/// # Errors
/// The requests can't be read.
pub fn serve(
    requests: &OwnedFd,
    keep: impl Fn(OwnedFd) -> io::Result<()> + Copy,
) -> io::Result<()> {
    let line = CommandLine::own()?;
    rustix::thread::set_name(c"isulad-template")?;
    let mut id = [0; ID];
    loop {
        let mut descriptors = Vec::new();
        match fd_passing::receive(requests.as_fd(), &mut id, &mut descriptors) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                let (Some(control), Some(id)) = (descriptors.pop(), id.get(..length)) else {
                    continue;
                };
                // Where that fails the socket closes, and the daemon tries by itself.
                let _ = copy(line, id, control, keep);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match poll(&mut [PollFd::new(requests, PollFlags::IN)], None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error),
        }
    }
}

fn copy(
    line: CommandLine,
    id: &[u8],
    control: OwnedFd,
    keep: impl Fn(OwnedFd) -> io::Result<()>,
) -> io::Result<()> {
    // A sibling is a child of the daemon, which has to learn of its end.
    let request = Spawn { sibling: true, ..Spawn::default() };
    let shim = process::spawn(request, || {
        line.show(NAME.len() + 1, id);
        match exec::close_from_but(3, &[control.as_fd()]).and_then(|()| keep(control)) {
            Ok(()) => 0,
            Err(_) => 1,
        }
    });
    shim.map(drop)
}
