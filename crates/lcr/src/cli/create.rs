//! create, start and run.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use clap::Args;
use isula_sys::{clock, files, process};
use lcr::cgroup::Hierarchies;
use lcr::init::{self, Init, Stdio};
use lcr::{Plan, Rootfs, Setting, hooks};
use oci_spec::runtime::Spec;

use super::report::{Failure, Report};
use super::store::{Container, Record, Reserved, Store};
use super::{Outcome, console, control, foreground, spec};

/// Flags of create, and of run.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Directory of the bundle
    #[arg(short, long, default_value = ".", value_name = "DIR")]
    bundle: PathBuf,
    /// Socket that the master of the terminal is sent to
    #[arg(long, value_name = "PATH")]
    console_socket: Option<PathBuf>,
    /// File that the id of the init is written to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Do not use pivot_root: for a root file system on a ramdisk
    #[arg(long)]
    no_pivot: bool,
    /// Accepted for callers of runc: a container never gets the runtime's session keyring
    #[arg(long, hide = true)]
    no_new_keyring: bool,
    /// How many descriptors after 2 the program inherits
    #[arg(long, default_value_t = 0, value_name = "N")]
    preserve_fds: u32,
    /// Id of the container
    id: String,
}

/// Flags of run.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Do not wait for the container
    #[arg(short, long)]
    detach: bool,
    /// Keep the container's state when it ends
    #[arg(long)]
    keep: bool,
    /// Accepted for callers of runc
    #[arg(long, hide = true)]
    no_subreaper: bool,
    #[command(flatten)]
    create: CreateArgs,
}

/// What to do when the container is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Its program waits for start.
    Hold,
    /// Its program runs.
    Run,
}

pub(super) fn create(store: &Store, args: &CreateArgs, report: &Report) -> Outcome {
    let attached = build(store, args, (Then::Hold, true), report)?;
    write_pid(args, attached.init.pid)?;
    Ok(0)
}

pub(super) fn run(store: &Store, args: &RunArgs, report: &Report) -> Outcome {
    if !args.detach && !args.no_subreaper {
        process::become_subreaper().map_err(|error| Failure::io("become a subreaper", error))?;
    }
    let built = build(store, &args.create, (Then::Run, args.detach), report)?;
    if let Err(failure) = write_pid(&args.create, built.init.pid) {
        control::destroy(built.container, report)?;
        return Err(failure);
    }
    if args.detach {
        return Ok(0);
    }
    let Built { container, init } = built;
    // Others may look at it and change it while it runs.
    let id = container.id.clone();
    drop(container);
    let status = foreground::attend(&init)?;
    if !args.keep {
        match store.open(&id) {
            Ok(container) => control::destroy(container, report)?,
            // Somebody has deleted it.
            Err(_) if !store.has(&id) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(status)
}

pub(super) fn start(store: &Store, id: &str, report: &Report) -> Outcome {
    let container = store.open(id)?;
    let fifo = container.fifo();
    let not_created = || {
        let status = container.status().map_or("unknown", super::store::Status::word);
        Failure::text(format!("cannot start container {id}: it is {status}"))
    };
    if container.init()?.is_none() {
        return Err(not_created());
    }
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Without a reader this fails: the init has it open as long as it waits.
    let order = match rustix::fs::open(&fifo, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NXIO) => return Err(not_created()),
        order => order.map_err(|error| Failure::file("open", &fifo, error))?,
    };
    rustix::io::write(&order, b"s").map_err(|error| Failure::file("write to", &fifo, error))?;
    std::fs::remove_file(&fifo).map_err(|error| Failure::file("remove", &fifo, error))?;
    for warning in hooks::run_poststart(&container.plan()?, container.record.pid) {
        report.warning(&warning);
    }
    Ok(0)
}

struct Built {
    container: Container,
    init: Init,
}

fn build(
    store: &Store,
    args: &CreateArgs,
    (then, detached): (Then, bool),
    report: &Report,
) -> Result<Built, Failure> {
    let bundle = args.bundle.canonicalize();
    let bundle = bundle.map_err(|error| Failure::file("find the bundle", &args.bundle, error))?;
    let config = bundle.join("config.json");
    let bytes = std::fs::read(&config).map_err(|error| Failure::file("read", &config, error))?;
    let spec = spec::parse(&config, &bytes)?;
    let reserved = store.reserve(&args.id)?;
    let mut plan = compile(&spec, &args.id, &bundle)?;
    plan.no_pivot = args.no_pivot;
    plan.preserve_fds = args.preserve_fds;
    if then == Then::Hold {
        plan.hold = Some(reserved.make_fifo()?);
    }
    reserved.save_plan(&plan, &bytes)?;
    for warning in &plan.warnings {
        report.warning(warning);
    }
    let terminal =
        Terminal::prepare(plan.process.terminal, detached, args.console_socket.as_deref())?;
    let stdio = terminal.stdio()?;
    let mut init = init::spawn(&plan, stdio).map_err(|error| Failure::start(&args.id, &error))?;
    for warning in &init.warnings {
        report.warning(warning);
    }
    let finish = |init: &mut Init, reserved: Reserved| {
        terminal.hand_over(init)?;
        reserved.commit(record(&spec, &plan, init)?)
    };
    match finish(&mut init, reserved) {
        Ok(container) => Ok(Built { container, init }),
        Err(failure) => {
            abandon(&plan, &init);
            Err(failure)
        }
    }
}

/// The container was built, but cannot be shown to anybody.
fn abandon(plan: &Plan, init: &Init) {
    // The failure that led here is what is told.
    let _ = process::send_signal(init.pidfd.as_fd(), isula_sys::signal::Signal::KILL.number());
    let _ = process::wait(init.pidfd.as_fd());
    let _ = plan.cgroup.cgroup().kill();
    let _ = plan.cgroup.remove();
}

pub(super) fn hierarchies() -> Result<Hierarchies, Failure> {
    Ok(Hierarchies::detect()?)
}

fn compile(spec: &Spec, id: &str, bundle: &Path) -> Result<Plan, Failure> {
    let hierarchies = hierarchies()?;
    let setting = Setting {
        id,
        bundle,
        rootfs_idmapped: false,
        rootfs: None,
        hierarchies: &hierarchies,
        cgroup: None,
        cgroup_parent: "",
        seccomp: None,
        filters: None,
    };
    Ok(lcr::compile(spec, &setting)?)
}

fn record(spec: &Spec, plan: &Plan, init: &Init) -> Result<Record, Failure> {
    let start_time = process::start_time(init.pid)
        .map_err(|error| Failure::io("look at the init process", error))?;
    Ok(Record {
        oci_version: spec.version().clone(),
        pid: init.pid,
        start_time,
        bundle: plan.bundle.clone(),
        rootfs: match &plan.rootfs {
            Rootfs::Directory(path) => path.clone(),
            Rootfs::Overlay { upper, .. } => upper.clone(),
        },
        created: clock::rfc3339(clock::now()),
        annotations: spec
            .annotations()
            .iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
    })
}

fn write_pid(args: &CreateArgs, pid: i32) -> Result<(), Failure> {
    let Some(path) = &args.pid_file else { return Ok(()) };
    files::write_atomic_unsynced(path, pid.to_string().as_bytes(), 0o644)
        .map_err(|error| Failure::file("write", path, error))
}

/// Where the streams of a process come from and its terminal goes to.
pub(super) enum Terminal {
    /// It has none: it gets this process' streams.
    None,
    /// This process relays it.
    Here,
    /// It is sent to a socket.
    Socket(OwnedFd),
}

impl Terminal {
    /// Checks that what is asked for is possible, before anything is made.
    pub(super) fn prepare(
        wanted: bool,
        detached: bool,
        socket: Option<&Path>,
    ) -> Result<Self, Failure> {
        match (wanted, detached, socket) {
            (false, _, None) => Ok(Self::None),
            (false, _, Some(_)) => {
                Err(Failure::text("--console-socket is given, but the process has no terminal"))
            }
            (true, _, Some(path)) => console::connect(path).map(Self::Socket),
            (true, true, None) => Err(Failure::text(
                "the process has a terminal and nobody attends it: --console-socket is needed",
            )),
            (true, false, None) => Ok(Self::Here),
        }
    }

    /// What the process is started with.
    pub(super) fn stdio(&self) -> Result<Stdio, Failure> {
        if let Self::None = self {
            let own = || -> io::Result<Stdio> {
                Ok(Stdio::Streams {
                    stdin: process::duplicate(rustix::stdio::stdin())?,
                    stdout: process::duplicate(rustix::stdio::stdout())?,
                    stderr: process::duplicate(rustix::stdio::stderr())?,
                })
            };
            return own().map_err(|error| Failure::io("pass the standard streams on", error));
        }
        // A terminal of ours lends its size.
        Ok(Stdio::Terminal(isula_sys::pty::size(rustix::stdio::stdin()).ok()))
    }

    /// Sends the master where it belongs.
    pub(super) fn hand_over(&self, init: &mut Init) -> Result<(), Failure> {
        if let (Self::Socket(socket), Some(master)) =
            (self, init.console.take_if(|_| matches!(self, Self::Socket(_))))
        {
            console::send(socket, &master)?;
        }
        Ok(())
    }
}
