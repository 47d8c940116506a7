//! The engines that are compared: ours, and each peer that is installed.

mod bare;
mod containerd;
mod docker;
mod isula;
mod lxc;
mod podman;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    op::{ImageOp, Op, Step, Target},
    place::{Home, Place},
};

pub use isula::Isula;

/// How long a peer may take to be ready or to end.
const LIMIT: Duration = Duration::from_secs(60);

/// One engine, running in a place of its own.
pub trait Engine {
    /// Its name in tables.
    fn name(&self) -> &'static str;
    /// Where it lives.
    fn place(&self) -> &Place;
    /// What it says its version is.
    fn version(&self) -> Result<String>;
    /// The programs it is made of, for their sizes.
    fn programs(&self) -> Vec<PathBuf>;
    /// What does `op` to a container; `None` when the engine has no such operation.
    fn steps(&self, op: Op, target: &Target) -> Result<Option<Vec<Step>>>;
    /// What does `op` to an image; `None` when the engine has no such operation.
    fn image(&self, op: &ImageOp<'_>) -> Result<Option<Command>>;
    /// Its daemons.
    fn daemons(&self) -> Vec<u32>;
    /// The networks beside `none` that a container can get here.
    fn networks(&self) -> Result<Vec<&'static str>> {
        Ok(Vec::new())
    }
    /// How many containers it is asked to run at the same time.
    fn most(&self) -> usize {
        100
    }
    /// Whether it takes long enough for fewer rounds to do.
    fn is_slow(&self) -> bool {
        true
    }
    /// Ends its daemons. What they can't end is killed.
    fn end(&mut self) -> Result<()>;
    /// Starts its daemons again on the same state and waits until they answer.
    fn restart(&mut self) -> Result<()>;
}

/// Starts every engine of `wanted` that is installed; the others are told about.
pub fn start(home: &Home, wanted: &[String]) -> Result<Vec<Box<dyn Engine>>> {
    type Starter = fn(&Home) -> Result<Option<Box<dyn Engine>>>;
    let known: [(&str, Starter); 8] = [
        ("isula", isula::start),
        ("docker", docker::start),
        ("podman-crun", podman::start_with_crun),
        ("podman-runc", podman::start_with_runc),
        ("containerd", containerd::start),
        ("lxc", lxc::start),
        ("crun", bare::start_crun),
        ("runc", bare::start_runc),
    ];
    let mut engines = Vec::new();
    for (name, start) in known {
        if !wanted.is_empty() && !wanted.iter().any(|one| one == name) {
            continue;
        }
        let started = start(home);
        home.enter()?;
        match started {
            Ok(Some(engine)) => engines.push(engine),
            Ok(None) => eprintln!("bench: {name} is not installed: run `tools/setup.sh bench`"),
            Err(error) if name == "isula" => return Err(error),
            Err(error) => eprintln!("bench: {name} is left out: {error:#}"),
        }
    }
    Ok(engines)
}

/// A program of a peer as its place will see it, if it is there.
fn installed(name: &str) -> Option<PathBuf> {
    let path = Path::new("/usr").join(name);
    let unpacked = crate::place::peers().join("usr").join(name);
    (unpacked.exists() || path.exists()).then_some(path)
}

/// A client that reads nothing and says nothing; what it complains about goes to a file.
fn quiet(mut command: Command, place: &Place) -> Result<Command> {
    let errors = File::options().create(true).append(true).open(place.path("errors"))?;
    command.current_dir(place.path("")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    Ok(command)
}

/// A daemon that was started.
struct Service {
    child: Child,
}

impl Service {
    /// Starts it; what it says goes to `log`.
    fn start(command: &mut Command, log: &str) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{:?}", command.get_program()))?;
        Ok(Self { child })
    }

    /// Waits until a client succeeds.
    fn answers(&mut self, client: &mut Command, log: &str) -> Result<()> {
        let began = Instant::now();
        client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        while !client.status()?.success() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || began.elapsed() > LIMIT {
                bail!("the daemon is not ready ({ended:?}): {}", tail(log));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end; kills it if it does not.
    fn end(&mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id())?;
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let process = isula_sys::process::open(pid)?;
        isula_sys::process::send_signal(std::os::fd::AsFd::as_fd(&process), 15)?;
        if !isula_sys::process::wait_at_most(std::os::fd::AsFd::as_fd(&process), Some(LIMIT))? {
            self.child.kill()?;
        }
        self.child.wait()?;
        Ok(())
    }
}

/// The last lines of a file.
pub fn tail(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let skip = text.lines().count().saturating_sub(4);
    text.lines().skip(skip).collect::<Vec<_>>().join("; ")
}

/// The first line a program prints.
fn first_line(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
