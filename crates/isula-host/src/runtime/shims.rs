//! Making shims: copied from a template, or run from the program where there is none.
//!
//! A copy costs neither an exec nor the relocation of a program, and shares the template's memory.
//! Its socket says how that went: hello, or the end. A template that has gone is replaced for the
//! next shim, and this one is run from the program.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isula_core::error::PortError;
use isula_core::ports::Result;
use isulad_shim::protocol::{
    Message,
    packet::{Outgoing, PacketError},
};
use isulad_shim::template;

use super::directory::Named;
use super::failure;
use super::link::{self, Link, unusable};
use crate::program::Program;

/// Makes shims.
#[derive(Debug)]
pub struct Shims {
    program: Arc<Program>,
    template: Mutex<Option<Template>>,
}

/// A process that shims are copied from.
#[derive(Debug)]
struct Template {
    process: Child,
    requests: OwnedFd,
}

/// A shim that is a child of ours: it has to be reaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shim(pub Named);

/// What a shim is sent first.
#[derive(Debug)]
pub struct First<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The request.
    pub packet: Outgoing,
    /// What goes with it.
    pub descriptors: &'a [BorrowedFd<'a>],
}

impl Shims {
    /// Makes shims of this program.
    pub fn new(program: Arc<Program>) -> Self {
        let shims = Self { program, template: Mutex::default() };
        shims.renew(&mut shims.template());
        shims
    }

    fn template(&self) -> MutexGuard<'_, Option<Template>> {
        self.template.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a shim and sends it its first request.
    pub async fn start(&self, first: &First<'_>) -> Result<(Shim, Link)> {
        let (control, theirs) = isula_sys::packet::pair().map_err(cannot)?;
        if self.copy(first.id, theirs) {
            let link = Link::new(control).map_err(cannot)?;
            if let Some(shim) = greeted(&link, first).await? {
                return Ok((shim, link));
            }
        }
        let (control, theirs) = isula_sys::packet::pair().map_err(cannot)?;
        let mut child = self.program.spawn(first.id, theirs).map_err(cannot)?;
        let link = Link::new(control).map_err(cannot)?;
        match greeted(&link, first).await {
            Ok(Some(shim)) => Ok((shim, link)),
            other => {
                // It has closed its socket or speaks another language.
                let _ = child.kill();
                let _ = child.wait();
                Err(other.err().unwrap_or_else(link::gone))
            }
        }
    }

    /// Asks the template for a copy of itself. True when one will say hello, or the socket closes.
    fn copy(&self, id: &str, control: OwnedFd) -> bool {
        let mut template = self.template();
        let Some(found) = &*template else { return false };
        match template::ask(found.requests.as_fd(), id, control.as_fd()) {
            Ok(()) => true,
            // More are asked for at once than its socket takes.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => {
                self.renew(&mut template);
                false
            }
        }
    }

    /// A new template in the place of one that has closed its socket.
    fn renew(&self, template: &mut Option<Template>) {
        if let Some(mut old) = template.take() {
            let _ = old.process.kill();
            let _ = old.process.wait();
        }
        match Template::start(&self.program) {
            Ok(new) => *template = Some(new),
            Err(error) => tracing::warn!(%error, "cannot start the template of shims"),
        }
    }

    /// A template that was asked and lets everybody wait is ended: the next shim gets a new one.
    pub fn distrust(&self) {
        if let Some(template) = &mut *self.template() {
            let _ = template.process.kill();
        }
    }
}

impl Template {
    fn start(program: &Program) -> io::Result<Self> {
        let (requests, theirs) = isula_sys::packet::pair()?;
        let process = program.spawn(template::ARGUMENT, theirs)?;
        Ok(Self { process, requests })
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        // It would leave by itself; nobody shall find it after the daemon.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends the first request, and waits for the shim to say who it is. `None` when there is none.
async fn greeted(link: &Link, first: &First<'_>) -> Result<Option<Shim>> {
    match link.send_packet(&first.packet, first.descriptors).await {
        Ok(()) => {}
        Err(PacketError::Socket(error)) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(unusable(error)),
    }
    match link.receive().await.map_err(unusable)?.map(|packet| packet.message) {
        Some(Message::Hello { pid, start }) => Ok(Some(Shim(Named { pid, start }))),
        Some(other) => Err(failure::unexpected(other)),
        None => Ok(None),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn cannot(error: io::Error) -> PortError {
    PortError::io("cannot start the shim", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use isulad_shim::protocol::Request;

    #[tokio::test]
    async fn a_program_that_is_no_shim_is_an_error_and_not_a_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        std::fs::copy("/bin/busybox", &path).unwrap();
        // The template ends at once, and so does each that is run from the program.
        let shims = Shims::new(Arc::new(Program::open(&path).unwrap()));
        for _ in 0..2 {
            let packet = Outgoing::new(0, &Request::Status, &[]).unwrap();
            let first = First { id: "id", packet, descriptors: &[] };
            let error = shims.start(&first).await.unwrap_err();
            assert_eq!(error.to_string(), "the shim has gone");
        }
    }
}
