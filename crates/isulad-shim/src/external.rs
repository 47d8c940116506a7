//! OCI runtimes of somebody else: `runc`, `crun` and their like, called as programs.
//!
//! The root file system is mounted in a mount namespace of the shim's own, so that it is never in
//! the host's mount table. The runtime leaves the init process to the shim, its subreaper.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use isula_sys::mount::{self, Depth, Filesystem};
use isula_sys::signal::Signal;
use isula_sys::{fd_passing, namespace, process};
use lcr::checkpoint::Dump;
use lcr::plan::Hooks;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::built::Built;
use crate::execs::{self, Fresh};
use crate::failure::{failure, other};
use crate::program;
use crate::protocol::{Exec, External, Failure, FailureKind, Order, Overlay};
use crate::stdio::{self, Sides};

/// Names in the run directory, which is the current one.
const LOG: &str = "runtime.log";
const PID: &str = "init.pid";
const ROOTFS: &str = "rootfs";
const CONSOLE: &str = "console.sock";

/// How long the runtime may take to build a container. The daemon's own patience ends before or
/// after; this one only keeps a hanging runtime from keeping its shim.
const BUILD_TIME: Duration = Duration::from_mins(5);
/// How long it may take to do anything else that is waited for.
const TIME: Duration = Duration::from_secs(10);
/// As much of its log is looked at.
const LOG_TAIL: u64 = 4096;

/// `CLONE_NEWNS`.
const NEW_MOUNTS: u32 = 0x0002_0000;
/// `MS_SLAVE`.
const SLAVE: u32 = 1 << 19;

/// An external runtime, and the container that it is for.
#[derive(Debug)]
pub struct Runtime {
    external: External,
    id: String,
}

/// A call of the runtime, or of CRIU, that is not waited for.
#[derive(Debug)]
pub struct Call {
    /// The request that asked for it.
    pub serial: u32,
    /// Its pid.
    pub pid: i32,
    /// A descriptor of it.
    pub pidfd: OwnedFd,
    /// What it starts, unless it is an order.
    pub starts: Option<Start>,
    /// It is CRIU, which writes the container down.
    pub dump: Option<Box<Dump>>,
}

/// An exec process that the runtime is about to start.
#[derive(Debug)]
pub struct Start {
    exec: Exec,
    sides: Sides,
    console: Option<OwnedFd>,
    session: Option<OwnedFd>,
    number: u32,
}

impl Runtime {
    /// The runtime for a container.
    pub fn new(external: External, id: String) -> Self {
        Self { external, id }
    }

    /// Builds the container from the bundle in the run directory, and starts it. `cgroup` is its
    /// control group as the daemon knows it, encoded, or nothing.
    ///
    /// # Errors
    /// Says what could not be done, with the end of the runtime's log; nothing is left then.
    pub fn build(&self, cgroup: &[u8], open_stdin: bool) -> Result<(Built, Sides), Failure> {
        if let Some(overlay) = &self.external.overlay {
            mount_rootfs(overlay).map_err(|error| failure("mount the root file system", &error))?;
        }
        match self.create(open_stdin).and_then(|(pid, console, sides)| {
            let pidfd =
                process::open(pid).map_err(|error| failure("find the init process", &error))?;
            self.run(&["start", &self.id], TIME)?;
            Ok((pid, pidfd, console, sides))
        }) {
            Err(error) => {
                self.remove();
                Err(error)
            }
            Ok((pid, pidfd, console, sides)) => {
                let built = Built {
                    pid,
                    pidfd,
                    console,
                    warnings: Vec::new(),
                    cgroup: postcard::from_bytes(cgroup).ok(),
                    hooks: Hooks::default(),
                };
                Ok((built, sides))
            }
        }
    }

    fn create(&self, open_stdin: bool) -> Result<(i32, Option<OwnedFd>, Sides), Failure> {
        let streams = |error| failure("make the container's streams", &error);
        let mut command = self.command(&["create", "--bundle", ".", "--pid-file", PID]);
        let (console, sides) = if self.external.terminal {
            let listener = listen(CONSOLE).map_err(streams)?;
            command.args(["--console-socket", CONSOLE]);
            (Some(listener), Sides::terminal())
        } else {
            let ([stdin, stdout, stderr], sides) = stdio::pipes(open_stdin).map_err(streams)?;
            command.stdin(stdin).stdout(stdout).stderr(stderr);
            (None, sides)
        };
        command.arg(&self.id);
        self.wait(command, BUILD_TIME)?;
        let console = console.map(|listener| receive_console(&listener)).transpose();
        Ok((read_pid(PID).map_err(streams)?, console.map_err(streams)?, sides))
    }

    /// Removes the container; one that is not there is no concern.
    pub fn remove(&self) {
        let _ = self.run(&["delete", "--force", &self.id], TIME);
    }

    /// Begins an order.
    ///
    /// # Errors
    /// When the runtime can't be called.
    pub fn order(&self, serial: u32, order: Order) -> Result<Call, Failure> {
        let number;
        let arguments: &[&str] = match order {
            Order::Kill { signal, all } => {
                number = signal.to_string();
                if all {
                    &["kill", "--all", &self.id, &number]
                } else {
                    &["kill", &self.id, &number]
                }
            }
            Order::Pause => &["pause", &self.id],
            Order::Resume => &["resume", &self.id],
        };
        self.call(self.command(arguments), serial, None)
    }

    /// Begins an exec; [`Start::found`] finds the process when the call has ended well.
    ///
    /// # Errors
    /// When the runtime can't be called.
    pub fn exec(
        &self,
        (number, serial): (u32, u32),
        exec: Exec,
        process: &[u8],
        session: Option<OwnedFd>,
    ) -> Result<Call, Failure> {
        let prepare = |error| failure("prepare the process", &error);
        let name = |kind: &str| format!("exec-{number}.{kind}");
        std::fs::write(name("json"), process).map_err(prepare)?;
        let mut command = self.command(&["exec", "--detach", "--process"]);
        command.args([name("json"), "--pid-file".to_owned(), name("pid")]);
        let (console, sides) = if exec.terminal {
            let listener = listen(&name("sock")).map_err(prepare)?;
            command.args(["--console-socket".to_owned(), name("sock")]);
            (Some(listener), Sides::terminal())
        } else {
            let ([stdin, stdout, stderr], sides) = execs::streams_of(&exec).map_err(prepare)?;
            command.stdin(stdin).stdout(stdout).stderr(stderr);
            (None, sides)
        };
        command.arg(&self.id);
        self.call(command, serial, Some(Start { exec, sides, console, session, number }))
    }

    /// What a call has come to that ended with this status.
    ///
    /// # Errors
    /// Why it failed, with the end of the runtime's log.
    pub fn concluded(&self, code: i32) -> Result<(), Failure> {
        if code == 0 { Ok(()) } else { Err(log_tail()) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.external.program);
        command
            .args(&self.external.arguments)
            .args(["--root", &self.external.root, "--log", LOG, "--log-format", "json"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn call(&self, command: Command, serial: u32, starts: Option<Start>) -> Result<Call, Failure> {
        let (pid, pidfd) = self.spawn(command)?;
        Ok(Call { serial, pid, pidfd, starts, dump: None })
    }

    fn spawn(&self, command: Command) -> Result<(i32, OwnedFd), Failure> {
        let _ = std::fs::remove_file(LOG);
        let failed = |error: &io::Error| {
            let error = isula_sys::errno::describe(error);
            let text = format!("cannot run the runtime {}: {error}", self.external.program);
            u8::from(std::fs::write(LOG, text).is_err()) + 126
        };
        let child = program::spawn(command, || {}, failed)
            .map_err(|error| failure("call the runtime", &error))?;
        Ok((child.pid, child.pidfd))
    }

    fn run(&self, arguments: &[&str], time: Duration) -> Result<(), Failure> {
        self.wait(self.command(arguments), time)
    }

    fn wait(&self, command: Command, time: Duration) -> Result<(), Failure> {
        let (_, pidfd) = self.spawn(command)?;
        let call = |error| failure("wait for the runtime", &error);
        let in_time = process::wait_at_most(pidfd.as_fd(), Some(time)).map_err(call)?;
        if !in_time {
            process::send_signal(pidfd.as_fd(), Signal::KILL.number()).map_err(call)?;
        }
        let status = process::wait(pidfd.as_fd()).map_err(call)?.status();
        match (in_time, status) {
            (true, 0) => Ok(()),
            (true, _) => Err(log_tail()),
            (false, _) => Err(other("the runtime did not answer in time")),
        }
    }
}

impl Start {
    /// The process that the runtime has started, its request and its client.
    ///
    /// # Errors
    /// When it is not to be found.
    pub fn found(self) -> Result<(u32, Fresh, Exec, Option<OwnedFd>), Failure> {
        let find = |error| failure("find the process", &error);
        let pid = read_pid(&format!("exec-{}.pid", self.number)).map_err(find)?;
        let pidfd = process::open(pid).map_err(find)?;
        let console = self.console.as_ref().map(receive_console).transpose().map_err(find)?;
        self.clean();
        let fresh = Fresh { pid, pidfd, console, sides: self.sides };
        Ok((self.number, fresh, self.exec, self.session))
    }

    /// Takes away the files of the call.
    pub fn clean(&self) {
        for kind in ["json", "pid", "sock"] {
            let _ = std::fs::remove_file(format!("exec-{}.{kind}", self.number));
        }
    }
}

/// The runtime's own words; the daemon reads the JSON.
fn log_tail() -> Failure {
    let mut text = String::new();
    let read = File::open(LOG).and_then(|mut log| {
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
        let mut bytes = Vec::new();
        log.take(LOG_TAIL).read_to_end(&mut bytes)?;
        text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(())
    });
    match read {
        Ok(()) if !text.trim().is_empty() => Failure { kind: FailureKind::Runtime, text },
        _ => other("the runtime failed without saying why"),
    }
}

fn read_pid(name: &str) -> io::Result<i32> {
    let text = std::fs::read_to_string(name)?;
    text.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

fn mount_rootfs(overlay: &Overlay) -> io::Result<()> {
    namespace::unshare(NEW_MOUNTS)?;
    // Mounts of the host still come in; ours do not get out.
    mount::change_propagation(c"/", Depth::Tree, SLAVE)?;
    // Linux before 6.7 takes no layers one by one, and says so only when it mounts.
    let tree = tree(overlay, Lower::Each)
        .or_else(|error| tree(overlay, Lower::Joined).map_err(|_| error))?;
    std::fs::create_dir_all(ROOTFS)?;
    let target = isula_sys::files::open_directory(Path::new(ROOTFS))?;
    mount::attach(tree.as_fd(), target.as_fd())
}

/// How overlayfs is told the lower layers.
#[derive(Clone, Copy)]
enum Lower {
    /// One by one.
    Each,
    /// In one text, separated by colons.
    Joined,
}

/// The overlay, attached nowhere yet.
fn tree(overlay: &Overlay, lower: Lower) -> io::Result<OwnedFd> {
    let filesystem = Filesystem::open("overlay")?;
    match lower {
        Lower::Each => {
            overlay.lower.iter().try_for_each(|layer| filesystem.set("lowerdir+", layer))?;
        }
        Lower::Joined => filesystem.set("lowerdir", &overlay.lower.join(":"))?,
    }
    filesystem.set("upperdir", &overlay.upper)?;
    filesystem.set("workdir", &overlay.work)?;
    if overlay.volatile {
        filesystem.set_flag("volatile")?;
    }
    filesystem.mount(0)
}

fn listen(name: &str) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let _ = std::fs::remove_file(name);
    rustix::net::bind(&socket, &SocketAddrUnix::new(name)?)?;
    rustix::net::listen(&socket, 1)?;
    Ok(socket)
}

/// The terminal that the runtime sent before it ended.
fn receive_console(listener: &OwnedFd) -> io::Result<OwnedFd> {
    let connection = rustix::net::accept_with(listener, SocketFlags::CLOEXEC)?;
    let mut descriptors = Vec::new();
    fd_passing::receive(connection.as_fd(), &mut [0; 4096], &mut descriptors)?;
    let _ = std::fs::remove_file(CONSOLE);
    descriptors.pop().ok_or_else(|| io::ErrorKind::InvalidData.into())
}
