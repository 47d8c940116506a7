//! Attending a process in the foreground: signals go to it, a terminal is relayed, its status
//! becomes ours.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use isula_sys::process;
use isula_sys::pty::{self, RawMode};
use isula_sys::signal::{Signal, SignalFile};
use lcr::init::Init;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::report::Failure;

/// Signals that are passed on.
const PASSED: [i32; 11] = [1, 2, 3, 10, 12, 14, 15, 18, 20, 21, 22];

/// Waits for the end of a process and returns the status to exit with.
pub(super) fn attend(init: &Init) -> Result<u8, Failure> {
    follow(init).map_err(|error| Failure::io("attend the container", error))
}

fn follow(init: &Init) -> io::Result<u8> {
    let mut signals: Vec<Signal> = PASSED.into_iter().filter_map(Signal::from_number).collect();
    signals.push(Signal::WINCH);
    let signals = SignalFile::open(&signals)?;
    let raw = match &init.console {
        Some(_) => RawMode::enter(rustix::stdio::stdin()).ok(),
        None => None,
    };
    let mut relay = init.console.as_ref().map(Relay::new).transpose()?;
    loop {
        if wait_for_something(init, &signals, relay.as_mut())? {
            break;
        }
        while let Some(signal) = signals.next()? {
            if signal != Signal::WINCH {
                // It may have ended just now; the loop finds out.
                let _ = process::send_signal(init.pidfd.as_fd(), signal.number());
            } else if let Some(master) = &init.console {
                pty::resize(master.as_fd(), pty::size(rustix::stdio::stdin())?)?;
            }
        }
    }
    let ending = process::wait(init.pidfd.as_fd())?;
    if let Some(relay) = &mut relay {
        relay.drain()?;
    }
    drop(raw);
    Ok(ending.status())
}

/// True when the process has ended.
fn wait_for_something(
    init: &Init,
    signals: &SignalFile,
    relay: Option<&mut Relay>,
) -> io::Result<bool> {
    let stdin = rustix::stdio::stdin();
    let mut polled =
        vec![PollFd::new(&init.pidfd, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
    if let Some(relay) = &relay {
        let wanted =
            if relay.pending.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        polled.push(PollFd::new(
            &relay.master,
            if relay.output { wanted } else { PollFlags::empty() },
        ));
        // Input is read only when the last of it has been taken: the container sets the pace.
        let read = relay.input && relay.pending.is_empty();
        polled.push(PollFd::new(&stdin, if read { PollFlags::IN } else { PollFlags::empty() }));
    }
    match poll(&mut polled, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready: Vec<PollFlags> = polled.iter().map(PollFd::revents).collect();
    drop(polled);
    if let (Some(relay), [_, _, master, input]) = (relay, ready.as_slice()) {
        relay.step(*master, *input)?;
    }
    Ok(ready.first().is_some_and(|ended| !ended.is_empty()))
}

/// Copies between our terminal and the container's.
struct Relay {
    master: OwnedFd,
    pending: Vec<u8>,
    input: bool,
    output: bool,
}

impl Relay {
    fn new(master: &OwnedFd) -> io::Result<Self> {
        let master = process::duplicate(master)?;
        let flags = rustix::fs::fcntl_getfl(&master)? | rustix::fs::OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(&master, flags)?;
        Ok(Self { master, pending: Vec::new(), input: true, output: true })
    }

    fn step(&mut self, master: PollFlags, input: PollFlags) -> io::Result<()> {
        if !input.is_empty() && self.pending.is_empty() {
            let mut part = [0u8; 4096];
            match rustix::io::read(rustix::stdio::stdin(), &mut part) {
                Ok(0) | Err(Errno::IO) => self.input = false,
                Ok(count) => self.pending.extend_from_slice(part.get(..count).unwrap_or_default()),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !self.pending.is_empty() {
            match rustix::io::write(&self.master, &self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Nobody reads any more.
                Err(_) => self.pending.clear(),
            }
        }
        if !master.is_empty() {
            self.output = self.copy_output()?;
        }
        Ok(())
    }

    /// False when there is no more to come: every slave is closed, for now at least.
    fn copy_output(&self) -> io::Result<bool> {
        let mut part = [0u8; 16384];
        match rustix::io::read(&self.master, &mut part) {
            Ok(0) | Err(Errno::IO) => Ok(false),
            Ok(count) => {
                write_all(part.get(..count).unwrap_or_default())?;
                Ok(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// What was written before the end.
    fn drain(&mut self) -> io::Result<()> {
        loop {
            let mut polled = [PollFd::new(&self.master, PollFlags::IN)];
            let none = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
            if poll(&mut polled, Some(&none))? == 0 || !self.copy_output()? {
                return Ok(());
            }
        }
    }
}

fn write_all(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let stdout = rustix::stdio::stdout();
                poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], None)?;
            }
            // A reader that is gone stops the output, not the container.
            Err(Errno::PIPE) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
