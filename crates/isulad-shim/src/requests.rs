//! What the daemon asks for, and how it is done.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use isula_sys::packet as socket;
use lcr::checkpoint::Dump;
use rustix::fs::{Mode, OFlags};

use crate::container::Container;
use crate::execs::{self, Process};
use crate::external::Call;
use crate::failure::{failure, other, refused, wrong_state};
use crate::poll::{EventFlags, Token};
use crate::protocol::{
    Exec, FACTS, Failure, Message, Order, Request, SOCKET, Start, Streams, packet::Incoming,
};
use crate::shim::Shim;

/// Exec processes that may run at the same time.
const EXECS_LIMIT: usize = 1024;

impl Shim {
    /// Does what is asked, and answers.
    pub(crate) fn obey(&mut self, mut request: Incoming<Request>) {
        let serial = request.serial;
        let session = request.descriptors.pop();
        let result = match &request.message {
            Request::Start(start) => {
                let start = start.as_ref().clone();
                self.start(serial, start, request.payload(), session)
            }
            Request::Status => {
                let message = self.status();
                self.tell(serial, &message);
                Ok(())
            }
            Request::Exec(exec) => {
                let exec = exec.clone();
                self.exec(serial, exec, request.payload(), session)
            }
            Request::Attach(wants) => self.attach(*wants, session).map(|()| {
                self.tell(serial, &Message::Done);
            }),
            Request::Order(order) => self.order(serial, *order),
            Request::Checkpoint(dump) => {
                let dump = dump.clone();
                self.checkpoint(serial, dump)
            }
            Request::Release if self.has_ended() => {
                self.release(serial);
                Ok(())
            }
            Request::Release => Err(wrong_state("the container has not ended")),
            Request::Stop => {
                self.stop(serial);
                Ok(())
            }
            Request::ReopenLog => self.reopen_log().map(|()| self.tell(serial, &Message::Done)),
        };
        if let Err(failure) = result {
            let starting = self.container.is_none();
            self.tell(serial, &Message::Failed(failure));
            if starting {
                self.give_up();
            }
        }
    }

    fn reopen_log(&mut self) -> Result<(), Failure> {
        let container = self.running()?;
        container.streams.reopen_log().map_err(|error| failure("reopen the log", &error))
    }

    fn has_ended(&self) -> bool {
        self.container.as_ref().is_some_and(|container| container.ended.is_some())
    }

    fn start(
        &mut self,
        serial: u32,
        start: Start,
        plan: &[u8],
        session: Option<OwnedFd>,
    ) -> Result<(), Failure> {
        if self.container.is_some() {
            return Err(wrong_state("the container was started before"));
        }
        let facts = self.settle_in(&start.directory);
        let facts = facts.map_err(|error| failure("use the run directory", &error))?;
        let container = Container::start(&self.poll, start, plan, session)?;
        // The daemon that asked for it knows the pid by the answer, another one finds it here.
        // Where that fails it is not worth a container: the socket tells as well.
        let _ = note(&facts, (container.started.pid, container.started.pid_start));
        let started = container.started.clone();
        self.container = Some(container);
        self.tell(serial, &Message::Started(started));
        Ok(())
    }

    /// Goes to the run directory, says there who it is, and listens for daemons to come.
    fn settle_in(&mut self, directory: &str) -> io::Result<OwnedFd> {
        rustix::process::chdir(directory)?;
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::TRUNC;
        let facts = rustix::fs::open(FACTS, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
        note(&facts, self.own)?;
        let listener = socket::listen(Path::new(SOCKET))?;
        self.poll.add(&listener, Token::Listener, EventFlags::IN)?;
        self.listener = Some(listener);
        Ok(facts)
    }

    fn status(&self) -> Message {
        let container = self.container.as_ref();
        Message::Status {
            started: container.map(|container| container.started.clone()),
            ended: container.and_then(|container| container.ended),
        }
    }

    fn running(&mut self) -> Result<&mut Container, Failure> {
        self.container
            .as_mut()
            .filter(|container| container.ended.is_none())
            .ok_or_else(|| wrong_state("the container is not running"))
    }

    fn exec(
        &mut self,
        serial: u32,
        exec: Exec,
        plan: &[u8],
        session: Option<OwnedFd>,
    ) -> Result<(), Failure> {
        if self.execs.len() + self.calls.len() >= EXECS_LIMIT {
            let text = "too many processes were added to the container".to_owned();
            return Err(Failure { kind: crate::protocol::FailureKind::Exhausted, text });
        }
        if exec.attach.is_some() != session.is_some() {
            return Err(other("a session needs its socket"));
        }
        let number = self.number();
        let container = self.running()?;
        if let Some(runtime) = &container.external {
            let call = runtime.exec((number, serial), exec, plan, session)?;
            return self.follow(call);
        }
        let fresh = execs::start((container.started.pid, &container.pidfd), &exec, plan)?;
        let process = Process::watch(&self.poll, (number, serial), fresh, &exec, session);
        self.adopt(process, serial);
        Ok(())
    }

    fn attach(&mut self, wants: Streams, session: Option<OwnedFd>) -> Result<(), Failure> {
        let Some(container) = &mut self.container else {
            return Err(wrong_state("the container is not running"));
        };
        let session = session.ok_or_else(|| other("a session needs its socket"))?;
        container.streams.attach(&self.poll, session, wants).map_err(|_| Failure {
            kind: crate::protocol::FailureKind::Exhausted,
            text: "too many clients are attached to the container".to_owned(),
        })
    }

    fn order(&mut self, serial: u32, order: Order) -> Result<(), Failure> {
        match &self.running()?.external {
            Some(runtime) => {
                let call = runtime.order(serial, order)?;
                self.follow(call)
            }
            None => Err(other("this is done without the shim")),
        }
    }

    fn checkpoint(&mut self, serial: u32, dump: Box<Dump>) -> Result<(), Failure> {
        let container = self.running()?;
        if container.external.is_some() {
            return Err(other("another runtime has built the container"));
        }
        let init = (container.started.pid, &container.pidfd);
        let criu = lcr::checkpoint::dump(init, &dump).map_err(|error| refused(&error))?;
        let (pid, pidfd) = (criu.pid, criu.pidfd);
        self.follow(Call { serial, pid, pidfd, starts: None, dump: Some(dump) })
    }

    /// Waits for the end of a call of the runtime, beside everything else.
    fn follow(&mut self, call: Call) -> Result<(), Failure> {
        let number = self.number();
        let watched = self.poll.add(&call.pidfd, Token::Ended(number), EventFlags::IN);
        self.calls.push(call);
        watched.map_err(|error| failure("wait for the runtime", &error))
    }

    /// A call of the runtime has ended.
    pub(crate) fn conclude(&mut self, call: Call, code: i32) {
        self.poll.remove(&call.pidfd);
        let serial = call.serial;
        if let Some(dump) = call.dump {
            let message = match code {
                0 => Message::Done,
                _ => Message::Failed(other(dump.complaint())),
            };
            return self.tell(serial, &message);
        }
        let runtime = self.container.as_ref().and_then(|container| container.external.as_ref());
        let concluded = match runtime {
            Some(runtime) => runtime.concluded(code),
            None => Err(other("the container has ended")),
        };
        let found = match (concluded, call.starts) {
            (Ok(()), None) => return self.tell(serial, &Message::Done),
            (Ok(()), Some(start)) => start.found(),
            (Err(failure), start) => {
                if let Some(start) = start {
                    start.clean();
                }
                Err(failure)
            }
        };
        match found {
            Err(failure) => self.tell(serial, &Message::Failed(failure)),
            Ok((number, fresh, exec, session)) => {
                let process = Process::watch(&self.poll, (number, serial), fresh, &exec, session);
                self.adopt(process, serial);
            }
        }
    }

    fn stop(&mut self, serial: u32) {
        match &self.container {
            Some(container) if container.ended.is_none() => {
                container.kill();
                self.stopping = Some(serial);
            }
            Some(_) => self.release(serial),
            None => {
                self.tell(serial, &Message::Done);
                self.give_up();
            }
        }
    }
}

/// Adds a line with a process to the file that says who the shim is, and its init process once
/// there is one. A line comes whole: it is one write(2).
fn note(facts: &OwnedFd, (pid, start): (i32, u64)) -> io::Result<()> {
    rustix::io::write(facts, format!("{pid} {start}\n").as_bytes())?;
    Ok(())
}
