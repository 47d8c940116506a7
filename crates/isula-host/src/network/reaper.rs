//! Devices that are to go. The kernel takes tens of milliseconds to free one, and hardly longer to
//! free a hundred: those that come while some are being freed go together, and nobody waits.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::netlink::{Socket, route::Mac};

/// Stack of the thread that removes devices; it makes a few system calls.
const STACK: usize = 128 << 10;

/// The devices of this host that are to go.
#[derive(Debug, Clone, Default)]
pub(super) struct Reaper(Arc<Work>);

#[derive(Debug, Default)]
struct Work {
    queue: Mutex<Queue>,
    idle: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    links: Vec<Doomed>,
    /// A thread is at work; it ends when there is nothing left.
    busy: bool,
}

/// A device, told apart from a later one with its index by its hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doomed {
    pub index: u32,
    pub mac: Option<Mac>,
}

impl Reaper {
    /// Has a device of this thread's network namespace removed, soon. It must lead nowhere already:
    /// if the process ends before, it goes with the namespace that its peer is in.
    pub(super) fn take(&self, link: Doomed) -> io::Result<()> {
        {
            let mut queue = self.lock();
            queue.links.push(link);
            if queue.busy {
                return Ok(());
            }
            queue.busy = true;
        }
        let reaper = self.clone();
        let thread = thread::Builder::new().name("network".to_owned()).stack_size(STACK);
        let started = thread.spawn(move || reaper.work());
        started.map(drop).inspect_err(|_| self.lock().busy = false)
    }

    fn work(&self) {
        loop {
            let links = {
                let mut queue = self.lock();
                if queue.links.is_empty() {
                    queue.busy = false;
                    self.0.idle.notify_all();
                    return;
                }
                std::mem::take(&mut queue.links)
            };
            if let Err(error) = remove(&links) {
                tracing::warn!("cannot remove the devices of pods that ended: {error}");
            }
        }
    }

    /// Waits until nothing is left to be removed.
    pub(super) fn settle(&self) {
        let mut queue = self.lock();
        while queue.busy {
            queue = self.0.idle.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes devices as one group, which has a number that nobody else has.
fn remove(links: &[Doomed]) -> io::Result<()> {
    let socket = Socket::route()?;
    let group = loop {
        let mut bytes = [0; 4];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        match u32::from_ne_bytes(bytes) {
            // 0 is the group of all that have none.
            0 => {}
            group => break group,
        }
    };
    let mut grouped = false;
    for link in links {
        let same = socket.link_at(link.index)?.is_some_and(|found| {
            found.mac == link.mac && found.kind.as_deref() == Some("veth") && found.master.is_none()
        });
        if same {
            grouped |= match socket.set_group(link.index, group) {
                Ok(()) => true,
                // It went with the other namespace in the meantime.
                Err(error) if is_gone(&error) => false,
                Err(error) => return Err(error),
            };
        }
    }
    match grouped.then(|| socket.remove_group(group)) {
        Some(Err(error)) if !is_gone(&error) => Err(error),
        _ => Ok(()),
    }
}

/// The device or its namespace went by itself.
pub(super) fn is_gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NODEV))
}
