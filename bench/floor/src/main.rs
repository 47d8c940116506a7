//! The floor under every engine: the system calls that the life of a container cannot do without,
//! and nothing else.
//!
//! `isula-floor ROOTFS WORK CGROUP COUNT PROGRAM [ARGUMENT ...]` makes COUNT containers, without
//! waiting for one before it makes the next. With `--kill` before PROGRAM it kills them when all have
//! reached their program, otherwise they end by themselves. Each
//! has control groups, five namespaces, an overlay on ROOTFS, Docker's mounts, masks, capabilities
//! and filter, as a container of the engine has. There is no image, no record, no log, no shim,
//! no daemon and no client. It prints one line of JSON: milliseconds from the beginning until the
//! last has reached its program (`start`) and until the last is gone with all that was made for it
//! (`life`), and the processor time of CGROUP's parent meanwhile, in which it is to be run itself.
//!
//! With `--asked` before all of that, a client for each container asks for it, and its start is put on
//! the disk before; `start` is until the last client has ended.
//!
//! `isula-floor --record WORK CGROUP COUNT` makes what a container consists of while it does not run,
//! and removes it: milliseconds for all of them (`create`, `rm`).

#![forbid(unsafe_code)]

mod asked;
mod child;
mod groups;
mod mounts;
mod record;

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use isula_sys::{
    exec::Strings,
    process::{self, Ending, Spawn, Spawned},
    signal::Signal,
};
use rustix::pipe::PipeFlags;
use serde_json::json;

use crate::{child::Confinement, groups::Groups};

/// Mount, pid, network, IPC and host name.
const NAMESPACES: u32 = 0x0002_0000 | 0x2000_0000 | 0x4000_0000 | 0x0800_0000 | 0x0400_0000;

const USAGE: &str =
    "usage: isula-floor [--asked] ROOTFS WORK CGROUP COUNT [--kill] PROGRAM [ARGUMENT ...]";

/// What is asked for.
struct Request {
    rootfs: PathBuf,
    work: PathBuf,
    cgroup: PathBuf,
    count: usize,
    kill: bool,
    program: Strings,
}

/// One container.
struct Container {
    directory: PathBuf,
    groups: Groups,
    init: Spawned,
    /// Its other end closes when the program is reached.
    reached: OwnedFd,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, work, cgroup, count] = arguments.as_slice()
        && word == "--record"
        && let Ok(count) = count.parse()
    {
        return tell(["create", "rm"], record::measure(work.as_ref(), cgroup.as_ref(), count));
    }
    if let [word, socket] = arguments.as_slice()
        && word == "--ask"
    {
        return match asked::ask(socket.as_ref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let asked = arguments.first().is_some_and(|word| word == "--asked");
    let Some(request) = arguments.get(usize::from(asked)..).and_then(parse) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let measured = if asked { asked::measure(&request) } else { measure(&request) };
    tell(["start", "life"], measured)
}

fn tell([one, two]: [&str; 2], measured: io::Result<(Cost, Cost)>) -> ExitCode {
    match measured {
        Ok((first, second)) => {
            let (one_cpu, two_cpu) = (format!("{one}_cpu"), format!("{two}_cpu"));
            println!(
                "{}",
                json!({
                    one: first.wall, two: second.wall, one_cpu: first.cpu, two_cpu: second.cpu
                })
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("isula-floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Option<Request> {
    let [rootfs, work, cgroup, count, rest @ ..] = arguments else { return None };
    let kill = rest.first().is_some_and(|word| word == "--kill");
    let program = rest.get(usize::from(kill)..).filter(|program| !program.is_empty())?;
    Some(Request {
        rootfs: rootfs.into(),
        work: work.into(),
        cgroup: cgroup.into(),
        count: count.parse().ok()?,
        kill,
        program: Strings::new(program).ok()?,
    })
}

/// Milliseconds.
struct Cost {
    wall: f64,
    /// Absent where the kernel does not count it by control group.
    cpu: Option<f64>,
}

/// When the measurement began.
struct Clock {
    began: Instant,
    usage: Option<PathBuf>,
    before: Option<f64>,
}

impl Clock {
    fn start(cgroup: &Path) -> Self {
        let parent = cgroup.parent().unwrap_or(cgroup);
        let parent = parent.strip_prefix("/").unwrap_or(parent);
        let path = Path::new("/sys/fs/cgroup/cpuacct").join(parent).join("cpuacct.usage");
        let usage = path.exists().then_some(path);
        let mut clock = Self { began: Instant::now(), usage, before: None };
        clock.before = clock.used();
        clock.began = Instant::now();
        clock
    }

    fn used(&self) -> Option<f64> {
        let text = fs::read_to_string(self.usage.as_ref()?).ok()?;
        text.trim().parse::<f64>().ok().map(|nanoseconds| nanoseconds / 1e6)
    }

    fn cost(&self) -> Cost {
        let wall = self.began.elapsed().as_secs_f64() * 1e3;
        Cost { wall, cpu: self.used().zip(self.before).map(|(now, before)| now - before) }
    }
}

/// What it costs until all have reached their program, and until all are gone.
fn measure(request: &Request) -> io::Result<(Cost, Cost)> {
    let maker = Maker::prepare(request)?;
    let mut containers = Vec::with_capacity(request.count);
    let clock = Clock::start(&request.cgroup);
    for number in 0..request.count {
        containers.push(maker.start(number)?);
    }
    containers.iter().try_for_each(Container::check)?;
    let start = clock.cost();
    for container in containers {
        end(container, request.kill)?;
    }
    Ok((start, clock.cost()))
}

/// What all containers have in common.
struct Maker<'a> {
    request: &'a Request,
    trees: groups::Trees,
    confinement: Confinement,
}

impl<'a> Maker<'a> {
    fn prepare(request: &'a Request) -> io::Result<Self> {
        fs::create_dir_all(&request.work)?;
        for file in ["hosts", "hostname", "resolv.conf"] {
            fs::write(request.work.join(file), "127.0.0.1 localhost\n")?;
        }
        Ok(Self { request, trees: groups::trees()?, confinement: Confinement::of_the_engine()? })
    }

    fn start(&self, number: usize) -> io::Result<Container> {
        let Self { request, trees, confinement } = self;
        let name = format!("floor{number}");
        let directory = request.work.join(&name);
        for part in ["upper", "work"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let groups = Groups::make(trees, &request.cgroup.join(&name))?;
        let (reached, told) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let birth = groups.birth()?;
        let how = Spawn {
            namespaces: NAMESPACES,
            cgroup: birth.as_ref().map(AsFd::as_fd),
            ..Spawn::default()
        };
        let place = child::Place {
            rootfs: &request.rootfs,
            files: &request.work,
            directory: &directory,
            groups: &groups,
        };
        let init = process::spawn(how, || {
            let error = child::run(&place, confinement, &request.program);
            // The other end tells; a broken pipe has nobody to be told to.
            let _ = rustix::io::write(&told, error.as_bytes());
            125
        })?;
        drop(told);
        Ok(Container { directory, groups, init, reached })
    }
}

impl Container {
    /// Waits until the program is reached, and says why it was not.
    fn check(&self) -> io::Result<()> {
        let mut text = [0u8; 256];
        match rustix::io::read(&self.reached, &mut text)? {
            0 => Ok(()),
            length => {
                let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
                Err(io::Error::other(text.into_owned()))
            }
        }
    }
}

fn end(container: Container, kill: bool) -> io::Result<()> {
    if kill {
        process::send_signal(container.init.pidfd.as_fd(), Signal::KILL.number())?;
    }
    let ending = process::wait(container.init.pidfd.as_fd())?;
    if !kill && ending != Ending::Exited(0) {
        return Err(io::Error::other(format!("the program ended with {ending:?}")));
    }
    container.groups.remove()?;
    fs::remove_dir_all(&container.directory)
}
