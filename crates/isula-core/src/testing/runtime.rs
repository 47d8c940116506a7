//! A runtime whose processes are a few words: `exit N`, `echo TEXT`, `sleep`, `cat`. It outlives the
//! engine, as shims do.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use oci_spec::runtime::Process;

use super::{Failures, FakeClock, bell::Bell, locked, session::Pipe};
use crate::{
    container::{Exit, Run},
    error::{ErrorKind, PortError},
    id::ContainerId,
    ports::{
        Attach, Chunk, Clock, ExecStarted, Found, ItemStream, Launch, LogOptions, LogRecord,
        LogSource, Output, ProcessId, Result, Runtime, Session, Usage,
    },
    signal::Signal,
};

/// A runtime in memory.
pub struct FakeRuntime {
    failures: Arc<Failures>,
    clock: Arc<FakeClock>,
    machine: Mutex<Machine>,
    bell: Bell,
}

#[derive(Default)]
struct Machine {
    shims: BTreeMap<ContainerId, Shim>,
    last_pid: i32,
    launches: Vec<Launch>,
}

struct Shim {
    run: Run,
    paused: bool,
    stubborn: bool,
    exit: Option<Exit>,
    clients: Vec<Pipe>,
    log: Vec<LogRecord>,
    files: BTreeMap<String, Vec<u8>>,
}

/// What the words of a command come to.
enum Fate {
    Runs,
    Ends(i32),
}

impl FakeRuntime {
    pub(super) fn new(failures: Arc<Failures>, clock: Arc<FakeClock>) -> Self {
        Self { failures, clock, machine: Mutex::default(), bell: Bell::default() }
    }

    /// The init process ends by itself.
    pub fn end(&self, id: &ContainerId, code: i32) {
        let at = self.clock.now();
        if let Some(shim) = locked(&self.machine).shims.get_mut(id) {
            shim.end(Exit { code, oom_killed: false, at, error: None });
        }
        self.bell.ring();
    }

    /// The init process ignores every signal but SIGKILL.
    pub fn be_stubborn(&self, id: &ContainerId) {
        if let Some(shim) = locked(&self.machine).shims.get_mut(id) {
            shim.stubborn = true;
        }
    }

    /// The machine goes down and comes up: nothing runs, and nobody knows how anything ended.
    pub fn reboot(&self) {
        locked(&self.machine).shims.clear();
        self.bell.ring();
    }

    /// The containers whose init process runs.
    #[must_use]
    pub fn running(&self) -> Vec<ContainerId> {
        let machine = locked(&self.machine);
        let alive = machine.shims.iter().filter(|(_, shim)| shim.exit.is_none());
        alive.map(|(id, _)| id.clone()).collect()
    }

    /// The containers whose processes are frozen.
    #[must_use]
    pub fn frozen(&self) -> Vec<ContainerId> {
        let machine = locked(&self.machine);
        let frozen = machine.shims.iter().filter(|(_, shim)| shim.paused && shim.exit.is_none());
        frozen.map(|(id, _)| id.clone()).collect()
    }

    /// The containers of which anything is left: a shim, a run directory.
    #[must_use]
    pub fn traces(&self) -> Vec<ContainerId> {
        locked(&self.machine).shims.keys().cloned().collect()
    }

    /// Everything that was to be started, in order.
    #[must_use]
    pub fn launches(&self) -> Vec<Launch> {
        locked(&self.machine).launches.clone()
    }

    /// Puts a file into a running container.
    pub fn set_file(&self, id: &ContainerId, path: &str, bytes: &[u8]) {
        if let Some(shim) = locked(&self.machine).shims.get_mut(id) {
            shim.files.insert(path.to_owned(), bytes.to_vec());
        }
    }

    fn with<T>(&self, id: &ContainerId, act: impl FnOnce(&mut Shim) -> T) -> Result<T> {
        let mut machine = locked(&self.machine);
        match machine.shims.get_mut(id).filter(|shim| shim.exit.is_none()) {
            Some(shim) => Ok(act(shim)),
            None => Err(not_running(id)),
        }
    }

    fn pid(&self) -> i32 {
        let mut machine = locked(&self.machine);
        machine.last_pid += 1;
        1000 + machine.last_pid
    }
}

fn not_running(id: &ContainerId) -> PortError {
    PortError::new(ErrorKind::WrongState, format!("container {id} does not run"))
}

impl Shim {
    fn end(&mut self, exit: Exit) {
        self.exit.get_or_insert(exit);
        self.clients.drain(..).for_each(|client| client.close());
    }
}

/// Plays a command; what it prints goes to `print`.
fn play(args: &[String], mut print: impl FnMut(String)) -> Result<Fate> {
    let words: Vec<&str> = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, "-c", script] => script.split(';').map(str::trim).collect(),
        [] => return Err(PortError::new(ErrorKind::InvalidInput, "no command")),
        args => return simple(&args.join(" "), &mut print),
    };
    for word in words {
        if let done @ (Fate::Runs | Fate::Ends(1..)) = simple(word, &mut print)? {
            return Ok(done);
        }
    }
    Ok(Fate::Ends(0))
}

fn simple(command: &str, print: &mut impl FnMut(String)) -> Result<Fate> {
    let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
    match word.rsplit('/').next().unwrap_or(word) {
        "exit" => Ok(Fate::Ends(rest.parse().unwrap_or(2))),
        "echo" => {
            print(format!("{rest}\n"));
            Ok(Fate::Ends(0))
        }
        "true" => Ok(Fate::Ends(0)),
        "sleep" | "cat" | "sh" => Ok(Fate::Runs),
        "passwd" => {
            let message = format!("{word}: permission denied");
            Err(PortError::new(ErrorKind::NotExecutable, message))
        }
        _ => Err(PortError::new(ErrorKind::CommandNotFound, format!("{word}: not found"))),
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn runtimes(&self) -> Vec<String> {
        vec!["lcr".to_owned()]
    }

    fn verify(&self, launch: &Launch) -> Result<()> {
        self.failures.pass_now("runtime.verify")?;
        match launch.runtime.as_str() {
            "lcr" => Ok(()),
            other => {
                let message = format!("there is no runtime {other:?}");
                Err(PortError::new(ErrorKind::InvalidInput, message))
            }
        }
    }

    fn can_checkpoint(&self) -> Result<()> {
        self.failures.pass_now("runtime.can_checkpoint")
    }

    async fn checkpoint(&self, launch: &Launch, _: &Path) -> Result<()> {
        self.failures.pass("runtime.checkpoint").await?;
        match self.with(&launch.id, |shim| shim.paused)? {
            true => Ok(()),
            false => Err(PortError::new(ErrorKind::WrongState, "it is not frozen")),
        }
    }

    async fn start(&self, launch: &Launch) -> Result<(Run, Option<Session>)> {
        self.failures.pass("runtime.start").await?;
        let (pid, shim_pid) = (self.pid(), self.pid());
        let started = self.clock.now();
        let empty = Vec::new();
        let process = launch.spec.process().as_ref();
        let args = process.and_then(|process| process.args().as_ref()).unwrap_or(&empty);
        let pipe = Pipe::default();
        let mut log = Vec::new();
        let fate = play(args, |text| {
            let bytes = Bytes::from(text);
            log.push(LogRecord { at: started, stream: Output::Stdout, bytes: bytes.clone() });
            pipe.send(Chunk::Output(Output::Stdout, bytes));
        })?;
        let run = Run { pid, pid_start: 1, shim_pid, shim_start: 1, started };
        let session = launch.attach.map(|_| pipe.session());
        let mut shim = Shim {
            run: run.clone(),
            paused: false,
            stubborn: false,
            exit: None,
            clients: vec![pipe],
            log,
            files: BTreeMap::new(),
        };
        if let Fate::Ends(code) = fate {
            shim.end(Exit { code, oom_killed: false, at: self.clock.now(), error: None });
        }
        let mut machine = locked(&self.machine);
        machine.launches.push(launch.clone());
        machine.shims.insert(launch.id.clone(), shim);
        Ok((run, session))
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit> {
        self.bell
            .until(|| match locked(&self.machine).shims.get(id) {
                Some(shim) => shim.exit.clone().map(Ok),
                None => Some(Err(not_running(id))),
            })
            .await
    }

    async fn kill(&self, id: &ContainerId, signal: Signal, _: bool) -> Result<()> {
        self.failures.pass("runtime.kill").await?;
        let deadly = |shim: &Shim| match signal {
            Signal::KILL => true,
            Signal::TERM => !shim.stubborn,
            _ => false,
        };
        let at = self.clock.now();
        if let Some(shim) = locked(&self.machine).shims.get_mut(id)
            && deadly(shim)
        {
            shim.end(Exit { code: 128 + signal.number(), oom_killed: false, at, error: None });
        }
        self.bell.ring();
        Ok(())
    }

    async fn pause(&self, id: &ContainerId) -> Result<()> {
        self.failures.pass("runtime.pause").await?;
        self.with(id, |shim| shim.paused = true)
    }

    async fn resume(&self, id: &ContainerId) -> Result<()> {
        self.failures.pass("runtime.resume").await?;
        if let Some(shim) = locked(&self.machine).shims.get_mut(id) {
            shim.paused = false;
        }
        Ok(())
    }

    async fn exec(
        &self,
        id: &ContainerId,
        _: &ProcessId,
        process: &Process,
        attach: Option<Attach>,
    ) -> Result<ExecStarted> {
        self.failures.pass("runtime.exec").await?;
        let pid = self.pid();
        let pipe = Pipe::default();
        let empty = Vec::new();
        let args = process.args().as_ref().unwrap_or(&empty);
        self.with(id, |_| ())?;
        let print = |text| pipe.send(Chunk::Output(Output::Stdout, Bytes::from(text)));
        let session = attach.map(|_| pipe.session());
        let exit: crate::ports::ExecExit = match play(args, print)? {
            Fate::Ends(code) => {
                pipe.send(Chunk::Exited(code));
                pipe.close();
                Box::pin(std::future::ready(Ok(code)))
            }
            Fate::Runs => {
                self.with(id, |shim| shim.clients.push(pipe))?;
                Box::pin(std::future::pending())
            }
        };
        Ok(ExecStarted { pid, session, exit })
    }

    async fn attach(&self, id: &ContainerId, _: Attach) -> Result<Session> {
        self.failures.pass("runtime.attach").await?;
        let pipe = Pipe::default();
        self.with(id, |shim| shim.clients.push(pipe.clone()))?;
        Ok(pipe.session())
    }

    async fn read(
        &self,
        id: &ContainerId,
        paths: &[&'static str],
        limit: u64,
    ) -> Result<Vec<Option<Vec<u8>>>> {
        self.failures.pass("runtime.read").await?;
        let fits = |bytes: &Vec<u8>| bytes.len() as u64 <= limit;
        let file = |shim: &Shim, path: &str| shim.files.get(path).cloned().filter(fits);
        self.with(id, |shim| paths.iter().map(|path| file(shim, path)).collect())
    }

    async fn usage(&self, id: &ContainerId) -> Result<Usage> {
        self.with(id, |_| Usage { pids: 1, ..Usage::default() })
    }

    async fn pids(&self, id: &ContainerId) -> Result<Vec<i32>> {
        self.with(id, |shim| vec![shim.run.pid])
    }

    async fn logs(&self, source: LogSource, options: LogOptions) -> Result<ItemStream<LogRecord>> {
        let machine = locked(&self.machine);
        let all = machine.shims.get(&source.id).map(|shim| shim.log.clone()).unwrap_or_default();
        let tail = options.tail.and_then(|tail| usize::try_from(tail).ok()).unwrap_or(usize::MAX);
        let skip = all.len().saturating_sub(tail);
        Ok(Box::pin(Records(all.into_iter().skip(skip).collect::<Vec<_>>().into_iter())))
    }

    async fn recover(&self, id: &ContainerId, _: &str, _: PathBuf) -> Result<Found> {
        self.failures.pass("runtime.recover").await?;
        let machine = locked(&self.machine);
        Ok(match machine.shims.get(id) {
            Some(Shim { exit: Some(exit), .. }) => Found::Exited(exit.clone()),
            Some(shim) => Found::Running { run: shim.run.clone(), paused: shim.paused },
            None => Found::Nothing,
        })
    }

    async fn clean(&self, id: &ContainerId, _: &str) -> Result<()> {
        self.failures.pass("runtime.clean").await?;
        let shim = locked(&self.machine).shims.remove(id);
        shim.into_iter().flat_map(|shim| shim.clients).for_each(|client| client.close());
        self.bell.ring();
        Ok(())
    }

    async fn sweep(&self, known: &[ContainerId]) -> Result<Vec<ContainerId>> {
        self.failures.pass("runtime.sweep").await?;
        let mut machine = locked(&self.machine);
        let unknown = machine.shims.keys().filter(|id| !known.contains(id));
        let unknown: Vec<ContainerId> = unknown.cloned().collect();
        machine.shims.retain(|id, _| known.contains(id));
        drop(machine);
        self.bell.ring();
        Ok(unknown)
    }
}

/// The records that are there; a fake's log does not grow.
struct Records(std::vec::IntoIter<LogRecord>);

impl futures_core::Stream for Records {
    type Item = Result<LogRecord>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next().map(Ok))
    }
}
