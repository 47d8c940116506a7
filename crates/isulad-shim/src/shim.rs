//! The shim: one loop that waits for whatever happens next.
//!
//! It leaves when the container was never started or has ended, its end is kept by the daemon or
//! durable on disk, and clients have got what there was for them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use isula_sys::files::Durability;
use isula_sys::signal::{Signal, SignalFile};
use isula_sys::{packet, process};
use rustix::process::WaitOptions;

use crate::container::{Container, INIT};
use crate::control::{Control, Lost};
use crate::execs::Process;
use crate::external::Call;
use crate::failure::other;
use crate::poll::{EventFlags, Part, Poll, Token};
use crate::protocol::{Message, stream};
use crate::streams::Streams;

/// How long clients may take to read the rest when the shim is about to leave.
const FAREWELL: Duration = Duration::from_secs(5);

/// The keeper of one container.
#[derive(Debug)]
pub struct Shim {
    pub(crate) poll: Poll,
    pub(crate) buffer: Vec<u8>,
    pub(crate) container: Option<Container>,
    pub(crate) execs: Vec<Process>,
    pub(crate) calls: Vec<Call>,
    /// The number of the next process.
    pub(crate) next: u32,
    pub(crate) listener: Option<OwnedFd>,
    /// The daemon knows the end and keeps it.
    pub(crate) released: bool,
    /// A request to stop, to be answered at the end.
    pub(crate) stopping: Option<u32>,
    control: Option<Control>,
    signals: SignalFile,
    /// This process: its pid and start time.
    pub(crate) own: (i32, u64),
    /// When it leaves whatever clients do.
    farewell: Option<Instant>,
}

impl Shim {
    /// A shim that takes its requests from this socket.
    ///
    /// # Errors
    /// When the kernel is out of descriptors.
    pub fn new(control: OwnedFd) -> io::Result<Self> {
        let poll = Poll::new()?;
        // A shim goes when its container does. What a terminal or a service manager sends to whole
        // groups of processes must not end the container without a record.
        let signals = SignalFile::open(&[
            Signal::CHLD,
            Signal::HUP,
            Signal::INT,
            Signal::QUIT,
            Signal::TERM,
        ])?;
        poll.add(&signals, Token::Signals, EventFlags::IN)?;
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let own = (pid, process::start_time(pid)?);
        let control = Some(Control::new(&poll, control)?);
        let mut shim = Self {
            poll,
            // Not filled: what is never read into takes no memory.
            buffer: Vec::with_capacity(stream::LIMIT),
            container: None,
            execs: Vec::new(),
            calls: Vec::new(),
            next: INIT + 1,
            listener: None,
            released: false,
            stopping: None,
            control,
            signals,
            own,
            farewell: None,
        };
        shim.tell(0, &Message::Hello { pid, start: own.1 });
        Ok(shim)
    }

    /// Serves until there is nothing left to do.
    ///
    /// # Errors
    /// When events can't be waited for.
    pub fn run(mut self) -> io::Result<()> {
        while !self.may_leave() {
            let events = self.poll.wait(self.deadline())?;
            for (token, flags) in events {
                self.handle(token, flags);
            }
            self.keep_time();
        }
        Ok(())
    }

    fn handle(&mut self, token: Token, flags: EventFlags) {
        match token {
            Token::Control => self.serve_daemon(flags),
            Token::Listener => self.accept(),
            Token::Signals => {
                // All of them are ignored but for the news that a child has ended.
                while let Ok(Some(_)) = self.signals.next() {}
                self.reap();
            }
            Token::Memory => {
                if let Some(container) = &mut self.container {
                    container.look_at_memory(&self.poll);
                }
            }
            Token::Ended(_) => self.reap(),
            Token::Stream(process, part) => self.pump(process, part, flags),
        }
    }

    fn pump(&mut self, process: u32, part: Part, flags: EventFlags) {
        let streams = if process == INIT {
            self.container.as_mut().map(|container| &mut container.streams)
        } else {
            let exec = self.execs.iter_mut().find(|exec| exec.number == process);
            exec.and_then(|exec| exec.streams.as_mut())
        };
        // An event of the same batch may have ended it.
        if let Some(streams) = streams {
            streams.handle(&self.poll, part, flags, &mut self.buffer);
        }
    }

    fn serve_daemon(&mut self, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            let flushed = self.control.as_mut().map_or(Ok(()), |control| control.flush(&self.poll));
            if flushed.is_err() {
                return self.lose_daemon();
            }
        }
        loop {
            match self.control.as_ref().map(Control::receive) {
                Some(Ok(Some(request))) => self.obey(request),
                Some(Ok(None)) | None => return,
                Some(Err(Lost)) => return self.lose_daemon(),
            }
        }
    }

    /// Sends a message to the daemon, if one is there.
    pub(crate) fn tell(&mut self, serial: u32, message: &Message) {
        let Some(control) = &mut self.control else { return };
        if control.send(&self.poll, serial, message).is_err() {
            self.lose_daemon();
        }
    }

    fn lose_daemon(&mut self) {
        if let Some(control) = self.control.take() {
            control.close(&self.poll);
        }
        // Nobody else keeps it now.
        if let Some(container) = self.container.as_mut().filter(|_| !self.released) {
            container.record(Durability::Synced);
        }
    }

    /// A new daemon takes the place of the one before.
    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        while let Ok(Some(socket)) = packet::accept(listener.as_fd()) {
            // The directory and the socket are root's alone; this is the second lock.
            if packet::peer_uid(socket.as_fd()).is_ok_and(|uid| uid == 0) {
                if let Some(old) = self.control.take() {
                    old.close(&self.poll);
                }
                self.control = Control::new(&self.poll, socket).ok();
            }
        }
    }

    /// Collects every child that has ended: the init process, exec processes, calls of a runtime,
    /// and orphans, whose new parent a subreaper is.
    fn reap(&mut self) {
        // A process that a runtime starts may end before its pid is known here: orphans stay
        // unreaped, so that it can be found, until the call is over.
        while self.calls.iter().any(|call| call.starts.is_some()) {
            let Some((pid, code)) = self.known_end() else { return };
            self.ended(pid, code);
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let code = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => code,
                (None, Some(signal)) => 128 + signal,
                (None, None) => continue,
            };
            self.ended(pid.as_raw_nonzero().get(), code);
        }
    }

    /// Collects one process that is known here, if one has ended.
    fn known_end(&self) -> Option<(i32, i32)> {
        let init = self.container.iter().filter(|container| container.ended.is_none());
        let init = init.map(|container| (container.started.pid, &container.pidfd));
        let calls = self.calls.iter().map(|call| (call.pid, &call.pidfd));
        let execs = self.execs.iter().filter(|exec| exec.code.is_none());
        let execs = execs.map(|exec| (exec.pid, &exec.pidfd));
        init.chain(calls).chain(execs).find_map(|(pid, pidfd)| {
            let ending = process::try_wait(pidfd.as_fd()).ok()??;
            Some((pid, i32::from(ending.status())))
        })
    }

    fn ended(&mut self, pid: i32, code: i32) {
        let is_init =
            |container: &Container| container.ended.is_none() && container.started.pid == pid;
        if self.container.as_ref().is_some_and(is_init) {
            self.end(code);
        } else if let Some(index) = self.calls.iter().position(|call| call.pid == pid) {
            let call = self.calls.swap_remove(index);
            self.conclude(call, code);
        } else if let Some(exec) =
            self.execs.iter_mut().find(|exec| exec.pid == pid && exec.code.is_none())
        {
            exec.end(&self.poll, code, &mut self.buffer);
            let serial = exec.serial;
            self.tell(serial, &Message::ExecExited { code });
        }
    }

    /// The init process has ended: that is recorded, then told, and only then cleaned up after.
    fn end(&mut self, code: i32) {
        let durability =
            if self.control.is_some() { Durability::Unsynced } else { Durability::Synced };
        let Some(container) = &mut self.container else { return };
        container.end(&self.poll, code, &mut self.buffer, durability);
        if let Some(ended) = container.ended {
            self.tell(0, &Message::Exited(ended));
        }
        if let Some(container) = &mut self.container {
            container.take_apart();
        }
        if let Some(serial) = self.stopping.take() {
            self.release(serial);
        }
    }

    /// The daemon needs this shim no more.
    pub(crate) fn release(&mut self, serial: u32) {
        self.released = true;
        if let Some(container) = &mut self.container {
            container.hurry(&self.poll, &mut self.buffer);
        }
        self.tell(serial, &Message::Done);
    }

    /// What is over is forgotten, what is late is ended.
    fn keep_time(&mut self) {
        let now = Instant::now();
        for streams in self.all_streams() {
            streams.1.expire(streams.0, now);
        }
        if let Some(container) = &mut self.container {
            container.wind_up(&self.poll, now);
        }
        self.execs.retain(|exec| !exec.is_over());
        if self.has_nothing_to_keep() && self.farewell.is_none() {
            self.farewell = Some(now + FAREWELL);
        }
    }

    fn all_streams(&mut self) -> impl Iterator<Item = (&Poll, &mut Streams)> {
        let poll = &self.poll;
        let container = self.container.iter_mut().map(|container| &mut container.streams);
        let execs = self.execs.iter_mut().filter_map(|exec| exec.streams.as_mut());
        container.chain(execs).map(move |streams| (poll, streams))
    }

    fn deadline(&self) -> Option<Instant> {
        let container = self.container.iter();
        let clients = container.clone().filter_map(|container| container.streams.deadline());
        let aftermath = container.filter_map(Container::deadline);
        clients.chain(aftermath).chain(self.farewell).min()
    }

    /// The end is known to whoever has to know it, or there is nothing to know.
    fn has_nothing_to_keep(&self) -> bool {
        match &self.container {
            None => self.control.is_none(),
            Some(container) => {
                container.ended.is_some()
                    && (self.released || (self.control.is_none() && container.is_kept()))
            }
        }
    }

    fn may_leave(&self) -> bool {
        let Some(container) = &self.container else { return self.control.is_none() };
        let served =
            self.execs.is_empty() && container.streams.finished() && !container.streams.lags();
        let late = self.farewell.is_some_and(|until| until <= Instant::now());
        self.has_nothing_to_keep() && (served || late)
    }

    /// The container could not be started: there is nothing to wait for.
    pub(crate) fn give_up(&mut self) {
        if let Some(control) = self.control.take() {
            control.close(&self.poll);
        }
    }

    /// Numbers a new process.
    pub(crate) fn number(&mut self) -> u32 {
        let number = self.next;
        // Four thousand million execs later the first of them has long ended.
        self.next = self.next.checked_add(1).unwrap_or(INIT + 1);
        number
    }

    /// Takes care of an exec process from now on, and answers its request.
    pub(crate) fn adopt(&mut self, process: io::Result<Process>, serial: u32) {
        match process {
            Ok(process) => {
                let pid = process.pid;
                self.execs.push(process);
                self.tell(serial, &Message::ExecStarted { pid });
            }
            Err(error) => {
                let text = isula_sys::errno::describe(&error);
                self.tell(serial, &Message::Failed(other(text)));
            }
        }
    }
}
