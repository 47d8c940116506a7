//! What the daemon keeps of a running container, and the task that listens to its shim.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use isula_core::container::{Exit, Run};
use isula_core::error::{ErrorKind, PortError};
use isula_core::id::ContainerId;
use isula_core::ports::Result;
use isulad_shim::protocol::{EXIT, Ended, Message, Started, Time, record::ExitRecord};
use jiff::Timestamp;
use lcr::cgroup::Cgroup;
use tokio::sync::watch;

use super::compile::ExecFilter;
use super::directory::{Named, read_file};
use super::link::Link;
use super::shims::Shim;
use crate::ready;

/// A container whose shim runs, or has recorded its end.
#[derive(Debug)]
pub struct Keeper {
    /// The container.
    pub id: ContainerId,
    /// The container's directory.
    pub bundle: PathBuf,
    /// Its run.
    pub run: Run,
    /// The connection to its shim.
    pub link: Link,
    /// Its control group, if it is known.
    pub cgroup: Option<Cgroup>,
    /// For exec.
    pub filter: ExecFilter,
    /// An external runtime runs it.
    pub external: bool,
    exit: watch::Sender<Option<Exit>>,
}

/// All that makes a [`Keeper`].
pub struct Parts {
    /// See there.
    pub id: ContainerId,
    /// See there.
    pub bundle: PathBuf,
    /// See there.
    pub run: Run,
    /// See there.
    pub link: Link,
    /// See there.
    pub cgroup: Option<Cgroup>,
    /// See there.
    pub filter: ExecFilter,
    /// See there.
    pub external: bool,
    /// Its end, if that is known already.
    pub exit: Option<Exit>,
}

impl Keeper {
    /// Keeps a container, and listens to its shim from now on; `shim` is the process if it is a
    /// child of ours, which has to be reaped.
    pub fn keep(parts: Parts, shim: Option<Shim>) -> Arc<Self> {
        let Parts { id, bundle, run, link, cgroup, filter, external, exit } = parts;
        let exit = watch::Sender::new(exit);
        let keeper = Self { id, bundle, run, link, cgroup, filter, external, exit };
        let keeper = Arc::new(keeper);
        tokio::spawn(listen(Arc::clone(&keeper), shim));
        keeper
    }

    /// The end, if it has come.
    pub fn ended(&self) -> Option<Exit> {
        self.exit.borrow().clone()
    }

    /// The end, when it has come and is recorded.
    pub fn exit(&self) -> watch::Receiver<Option<Exit>> {
        self.exit.subscribe()
    }

    /// The init process.
    pub fn init(&self) -> Named {
        Named { pid: self.run.pid, start: self.run.pid_start }
    }

    /// Its control group.
    pub fn cgroup(&self) -> Result<Cgroup> {
        self.cgroup.clone().ok_or_else(|| {
            let text = format!("the control group of container {} is not known", self.id);
            PortError::new(ErrorKind::Unsupported, text)
        })
    }

    fn set_exit(&self, exit: Exit) {
        // The first word counts.
        self.exit.send_if_modified(|known| {
            let news = known.is_none();
            known.get_or_insert(exit);
            news
        });
    }
}

async fn listen(keeper: Arc<Keeper>, shim: Option<Shim>) {
    loop {
        match keeper.link.receive().await {
            Ok(Some(packet)) => match packet.message {
                Message::Exited(ended) => keeper.set_exit(exit(&ended)),
                message => keeper.link.deliver(packet.serial, message),
            },
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(container = %keeper.id, %error, "cannot understand the shim");
                break;
            }
        }
    }
    keeper.link.close();
    // The connection may have been taken over by another daemon: only the end of the process is
    // the end of the shim.
    let run = &keeper.run;
    match shim {
        Some(shim) => reap(shim).await,
        None => outlive(Named { pid: run.shim_pid, start: run.shim_start }).await,
    }
    if keeper.ended().is_none() {
        let (init, bundle) = (keeper.init(), keeper.bundle.clone());
        let cgroup = keeper.cgroup.clone();
        let found = super::blocking(move || Ok(end_without_shim(init, &bundle, cgroup.as_ref())));
        keeper.set_exit(found.await.unwrap_or_else(|_| Exit::unknown(Timestamp::now())));
    }
}

/// The end of a container whose shim has gone without a word: recorded, or unknown. Nothing of it
/// runs on, as nobody would learn of its end.
pub fn end_without_shim(init: Named, bundle: &std::path::Path, cgroup: Option<&Cgroup>) -> Exit {
    init.kill();
    if let Some(cgroup) = cgroup {
        // It may be gone, which is the purpose.
        let _ = cgroup.kill();
    }
    match recorded_exit(bundle) {
        Some((named, exit)) if named == init => exit,
        _ => Exit::unknown(Timestamp::now()),
    }
}

/// The exit record of a bundle, and the process that it is about.
pub fn recorded_exit(bundle: &std::path::Path) -> Option<(Named, Exit)> {
    let bytes = read_file(&bundle.join(EXIT), 4096)?;
    let record: ExitRecord = serde_json::from_slice(&bytes).ok()?;
    let exit = Exit {
        code: record.exit_code,
        oom_killed: record.oom_killed,
        at: record.finished_at.parse().ok()?,
        error: None,
    };
    Some((Named { pid: record.pid, start: record.pid_start }, exit))
}

/// The end that a shim told.
pub fn exit(ended: &Ended) -> Exit {
    Exit { code: ended.code, oom_killed: ended.oom_killed, at: timestamp(ended.at), error: None }
}

/// The run that a shim told.
pub fn run(started: &Started, shim: Named) -> Run {
    Run {
        pid: started.pid,
        pid_start: started.pid_start,
        shim_pid: shim.pid,
        shim_start: shim.start,
        started: timestamp(started.at),
    }
}

fn timestamp(time: Time) -> Timestamp {
    let nanoseconds = i32::try_from(time.nanoseconds).unwrap_or(0);
    Timestamp::new(time.seconds, nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Waits until a process has ended.
pub async fn outlive(process: Named) {
    if let Ok(pidfd) = isula_sys::process::open(process.pid)
        && process.lives()
        && let Ok(watched) = ready::watch(pidfd)
    {
        // Readable for ever once it has ended, reaped or not.
        let _ = watched.readable().await;
    }
}

/// Collects a shim that is about to end, or was killed.
pub async fn reap(Shim(shim): Shim) {
    // It is a child of ours: until it is collected here its number is its own.
    if let Ok(pidfd) = isula_sys::process::open(shim.pid)
        && let Ok(watched) = ready::watch(pidfd)
    {
        let _ = watched.readable().await;
        let _ = isula_sys::process::try_wait(watched.get_ref().as_fd());
    }
}
