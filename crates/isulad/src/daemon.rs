//! The life of the daemon: prepare, recover, serve, end.
//!
//! It ends within a second of SIGTERM and leaves the containers running: their shims need no
//! daemon.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    net::{Ipv4Addr, SocketAddr},
    num::NonZero,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use isula_core::error::{PortError, chain};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Resource, Rlimit, getpid, getrlimit, pidfd_open, setrlimit},
};
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    api::{self, Api},
    config::{Config, Group},
    cri::{self, Cri},
    idle::Asked,
    listen::{self, Socket},
    log, notify,
    serve::{self, Doors},
    streaming,
    wire::{self, Wired},
};

/// Threads that run requests, at most; nothing blocks on them. One for every two processors: a second
/// one on two of them takes turns with the first, and each turn wakes a thread.
const WORKERS: usize = 2;
/// Threads that may block, on disks mostly. They go when they have nothing to do.
const BLOCKING: usize = 32;
const BLOCKING_KEPT: Duration = Duration::from_secs(2);
/// Bytes of a thread's stack.
const STACK: usize = 512 << 10;
/// What [`Ending`] waits for, and the ends of children.
const OWN_SIGNALS: [isula_sys::signal::Signal; 4] = {
    use isula_sys::signal::Signal;
    [Signal::TERM, Signal::INT, Signal::HUP, Signal::CHLD]
};
/// How long requests under way may take after SIGTERM; then the rest is written.
const GRACE: Duration = Duration::from_millis(700);
const CLOSING: Duration = Duration::from_millis(200);

/// Why the daemon does not serve.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The system refused something.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another daemon is at work there.
    #[error("another isulad{holder} uses {}", path.display())]
    Taken {
        /// ` (pid N)`, when it said so.
        holder: String,
        /// The directory.
        path: PathBuf,
    },
    /// A part can't be made.
    #[error(transparent)]
    Part(#[from] PortError),
    /// The containers can't be loaded.
    #[error("cannot recover the containers")]
    Recovery(#[from] isula_engine::Error),
    /// The streaming server can't be made.
    #[error(transparent)]
    Streaming(#[from] streaming::StreamingError),
    /// The server failed.
    #[error("cannot serve")]
    Serve(#[from] tonic::transport::Error),
    /// The process can't be set up.
    #[error("cannot set up the process")]
    Process(#[source] io::Error),
}

fn cannot<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl Fn(io::Error) -> DaemonError + Copy + use<'a> {
    move |source| DaemonError::Io { action, path: path.to_owned(), source }
}

fn workers() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    (processors / 2).clamp(1, WORKERS)
}

/// Serves until a signal ends it.
///
/// # Errors
/// It can't begin to serve.
pub fn run(config: Config) -> Result<(), DaemonError> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Whoever started it may have blocked them, and a blocked signal is for ever: the threads of
    // the runtime inherit what is set here.
    isula_sys::signal::unblock(&OWN_SIGNALS).map_err(DaemonError::Process)?;
    directory(&config.data_root, 0o700)?;
    // Members of the group reach the socket through it, and see nothing else.
    directory(&config.state_dir, 0o711)?;
    log::start(&config.log).map_err(cannot("open the log of", &config.state_dir))?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let _locks = [lock(&config.data_root)?, lock(&config.state_dir)?];
    raise_descriptor_limit();
    let _pidfile = config.pidfile.as_deref().map(Pidfile::write).transpose()?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers())
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(BLOCKING_KEPT)
        .thread_stack_size(STACK)
        .thread_name("isulad")
        .enable_all()
        .build()
        .map_err(DaemonError::Process)?;
    let served = runtime.block_on(serve(&config));
    // Requests that are still at work are left where they are: recovery knows what to do.
    runtime.shutdown_background();
    served
}

async fn serve(config: &Config) -> Result<(), DaemonError> {
    let began = Instant::now();
    // From here on SIGTERM waits for the recovery to be done with its step.
    let mut ending = Ending::prepare().map_err(DaemonError::Process)?;
    let sockets = sockets(&config.sockets, &config.group)?;
    let wired = wire::assemble(config)?;
    let recovery = wired.engine.recover().await?;
    for note in &recovery.notes {
        tracing::info!("{note}");
    }
    for damaged in &recovery.quarantined {
        let path = damaged.path.display();
        tracing::warn!(%path, reason = %damaged.reason, "a damaged record was moved aside");
    }
    let streaming = streaming(config, &wired).await?;
    let incoming = listen::accept(&sockets).map_err(DaemonError::Process)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let (asked, give_back) = Asked::new();
    tokio::spawn(give_back);
    let doors = Doors {
        api: Api::new(Arc::clone(&wired.engine), about(config)),
        cri: Cri::new(Arc::clone(&wired.engine), cri_settings(config), Arc::clone(&streaming)),
        asked,
    };
    // Its sessions end with the daemon; the processes in them go on.
    tokio::spawn(streaming.serve());
    let mut server = tokio::spawn(serve::serve(doors, ReceiverStream::new(incoming), async {
        // Stopped or forgotten: both end it.
        let _ = stopped.await;
    }));
    notify::ready();
    tracing::info!(
        containers = recovery.containers,
        running = recovery.running,
        millis = began.elapsed().as_millis(),
        "isulad serves"
    );
    let served = tokio::select! {
        served = &mut server => served.map_err(|error| DaemonError::Process(error.into()))?,
        name = ending.signalled() => {
            tracing::info!(signal = name, "isulad ends; containers go on");
            notify::stopping();
            end(&wired, stop, server).await;
            Ok(())
        }
    };
    drop(sockets);
    Ok(served?)
}

fn about(config: &Config) -> api::About {
    let paths =
        api::Paths { data_root: config.data_root.clone(), state_dir: config.state_dir.clone() };
    api::About {
        paths,
        mirrors: config.mirrors.clone(),
        insecure_registries: config.insecure_registries.clone(),
        proxies: config.proxies.clone(),
    }
}

fn cri_settings(config: &Config) -> cri::Settings {
    cri::Settings {
        data_root: config.data_root.clone(),
        pinned: config.cri.pinned_images.clone(),
        pod_events: config.cri.pod_events,
    }
}

/// The server of exec, attach and port-forward, on loopback.
async fn streaming(config: &Config, wired: &Wired) -> Result<Arc<streaming::Server>, DaemonError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, config.cri.streaming_port));
    let tls = config.cri.streaming_tls.clone();
    let tls = tls.map(|files| streaming::Tls { certificate: files.chain, key: files.key });
    let options = streaming::Options { address, tls, ..streaming::Options::default() };
    let joiner = Arc::new(cri::Joiner(Arc::clone(&wired.engine)));
    Ok(streaming::Server::bind(options, joiner).await?)
}

/// Lets requests finish for a while, then writes what must be written.
async fn end<T>(wired: &Wired, stop: oneshot::Sender<()>, server: tokio::task::JoinHandle<T>) {
    // The server may have ended by itself.
    let _ = stop.send(());
    if tokio::time::timeout(GRACE, server).await.is_err() {
        tracing::debug!("requests under way are cut off");
    }
    if tokio::time::timeout(CLOSING, wired.close()).await.is_err() {
        tracing::warn!("the disk is slow: records will be mended at the next start");
    }
}

/// The signals that end the daemon.
struct Ending {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Ending {
    fn prepare() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn signalled(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => {
                    tracing::warn!("SIGHUP: the configuration can't be reloaded in this version");
                }
            }
        }
    }
}

fn sockets(paths: &[PathBuf], group: &Group) -> Result<Vec<Socket>, DaemonError> {
    let inherited = notify::sockets().map_err(DaemonError::Process)?;
    if !inherited.is_empty() {
        return Ok(inherited.into_iter().map(Socket::inherited).collect());
    }
    let make = |path: &PathBuf| Socket::make(path, group).map_err(cannot("listen on", path));
    paths.iter().map(make).collect()
}

/// Makes a directory with its parents; an existing one gets the mode too.
fn directory(path: &Path, mode: u32) -> Result<(), DaemonError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(cannot("use the directory", path))
}

/// How long a daemon that was killed may take to be gone.
const DYING: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Keeps a second daemon away from a directory as long as the file is open.
fn lock(directory: &Path) -> Result<File, DaemonError> {
    let path = directory.join("isulad.lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    let mut file = options.open(&path).map_err(cannot("open", &path))?;
    let mut locked = file.try_lock();
    if matches!(locked, Err(TryLockError::WouldBlock)) {
        let mut text = String::new();
        // What can't be read names nobody.
        let _ = file.read_to_string(&mut text);
        let holder = text.trim().parse().ok().and_then(Pid::from_raw);
        if let Some(holder) = holder.filter(|holder| *holder != getpid()) {
            wait_for_end(holder);
            locked = file.try_lock();
        }
        if matches!(locked, Err(TryLockError::WouldBlock)) {
            let holder = holder.map_or_else(String::new, |pid| format!(" (pid {pid})"));
            return Err(DaemonError::Taken { holder, path: directory.to_owned() });
        }
    }
    if let Err(TryLockError::Error(error)) = locked {
        return Err(cannot("lock", &path)(error));
    }
    // Only for the message above: a full disk must not keep the daemon from starting.
    let noted = file
        .set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, "{}", std::process::id()));
    if let Err(error) = noted {
        tracing::warn!(path = %path.display(), %error, "cannot write the pid into the lock file");
    }
    Ok(file)
}

/// Waits a moment for a process that may be dying.
fn wait_for_end(pid: Pid) {
    if let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) {
        // Whether it ended, the lock shows.
        let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&DYING));
    }
}

/// A file with the daemon's pid, gone with it.
struct Pidfile(PathBuf);

impl Pidfile {
    fn write(path: &Path) -> Result<Self, DaemonError> {
        let fail = cannot("write the pid file", path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(fail)?;
        }
        fs::write(path, format!("{}\n", std::process::id())).map_err(fail)?;
        fs::set_permissions(path, Permissions::from_mode(0o644)).map_err(fail)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // It may be gone with its directory.
        let _ = fs::remove_file(&self.0);
    }
}

/// As many descriptors as this process may have: each running container needs a few.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised =
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    if let Err(error) = raised {
        tracing::warn!(error = %chain(&error), "cannot raise the limit of open files");
    }
}

#[cfg(test)]
mod tests {
    use super::{Pidfile, directory, lock};
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn a_second_daemon_on_a_directory_is_refused_by_the_pid_of_the_first() {
        let root = tempfile::tempdir().unwrap();
        let held = lock(root.path()).unwrap();
        let refused = lock(root.path()).unwrap_err().to_string();
        let wanted =
            format!("another isulad (pid {}) uses {}", std::process::id(), root.path().display());
        assert_eq!(refused, wanted);
        drop(held);
        lock(root.path()).unwrap();
    }

    #[test]
    fn an_existing_directory_gets_its_mode() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        directory(&path, 0o700).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
    }

    #[test]
    fn the_pid_file_is_there_as_long_as_the_daemon() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run/isulad.pid");
        let file = Pidfile::write(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
    }
}
