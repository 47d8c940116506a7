//! One test's world: a daemon on roots of its own, the client, and the promise that nothing is left.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    census::Census,
    daemon::{Daemon, Start},
    images,
    programs::program,
    registry::Registry,
};

/// Tests take turns: a census counts the whole machine.
static TURN: Mutex<()> = Mutex::new(());

/// What a command of the client did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit status.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Outcome {
    /// The lines on standard error that say what is wrong, without the one that points to the help.
    pub fn told(&self) -> impl Iterator<Item = &str> {
        let lines = self.stderr.lines();
        lines.filter(|line| !line.trim().is_empty() && !line.starts_with("See '"))
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let status = output.status;
        Self {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A daemon, its roots, and a registry when asked for.
pub struct World {
    // The order of the fields is the order of their ends.
    daemon: Option<Daemon>,
    registry: Option<Registry>,
    start: Start,
    directory: tempfile::TempDir,
    before: Census,
    turn: Option<MutexGuard<'static, ()>>,
}

impl World {
    /// A running daemon whose default runtime is `runtime`, with the image `busybox:latest`.
    pub fn new(runtime: &str) -> Result<Self> {
        let mut world = Self::bare(&["--default-runtime", runtime])?;
        world.start()?;
        let archive = images::busybox_docker_archive()?;
        world.ok(&["load", "-i", &archive.display().to_string()])?;
        Ok(world)
    }

    /// Roots without a daemon.
    pub fn bare(flags: &[&str]) -> Result<Self> {
        // A test that failed in its turn has cleaned up all the same.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = tempfile::Builder::new().prefix("isula-test.").tempdir()?;
        let root = directory.path().to_owned();
        fs::write(root.join("daemon.json"), "{}\n")?;
        let mut flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        flags.extend(["--shim".to_owned(), program("isulad-shim")?.display().to_string()]);
        let program = program("isulad")?;
        let start = Start { program, root, log_level: "debug", flags, env: Vec::new() };
        let before = Census::take()?;
        Ok(Self { daemon: None, registry: None, start, directory, before, turn: Some(turn) })
    }

    /// How the daemon is started; changes count from the next start.
    pub fn how(&mut self) -> &mut Start {
        &mut self.start
    }

    /// Starts the daemon and waits until it is ready.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.daemon.is_none(), "the daemon runs");
        self.daemon = Some(self.start.start()?);
        Ok(())
    }

    /// The running daemon.
    pub fn daemon(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().context("no daemon runs")
    }

    /// Takes the running daemon, to end it in a way of the test's own.
    pub fn take_daemon(&mut self) -> Result<Daemon> {
        self.daemon.take().context("no daemon runs")
    }

    /// Kills the daemon and starts a new one on the same roots.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        self.take_daemon()?.kill()?;
        self.start()
    }

    /// A registry on loopback; started once.
    pub fn registry(&mut self) -> Result<&Registry> {
        if self.registry.is_none() {
            self.registry = Some(Registry::start(&self.path("registry"))?);
        }
        self.registry.as_ref().context("no registry")
    }

    /// A path below the test's own directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The container's directory on disk.
    #[must_use]
    pub fn bundle(&self, runtime: &str, id: &str) -> PathBuf {
        self.path("data/engines").join(runtime).join(id)
    }

    /// The client, not yet started.
    pub fn isula(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(program("isula")?);
        command
            .arg("-H")
            .arg(format!("unix://{}", self.path("sock").display()))
            .args(arguments)
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs the client.
    pub fn run(&self, arguments: &[&str]) -> Result<Outcome> {
        Ok(self.isula(arguments)?.output()?.into())
    }

    /// Runs the client with something on its standard input.
    pub fn run_with(&self, arguments: &[&str], input: &[u8]) -> Result<Outcome> {
        use std::io::Write;
        let mut command = self.isula(arguments)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("no stdin")?;
        let input = input.to_owned();
        // A client that refuses early closes its input; that is its answer, not our failure.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let outcome = child.wait_with_output()?.into();
        drop(writer.join());
        Ok(outcome)
    }

    /// Runs the client, which must succeed; gives back its standard output without the line end.
    pub fn ok(&self, arguments: &[&str]) -> Result<String> {
        let outcome = self.run(arguments)?;
        if outcome.code != 0 {
            bail!("isula {arguments:?}: {outcome:#?}\ndaemon: {}", self.start.log_tail());
        }
        Ok(outcome.stdout.trim_end_matches('\n').to_owned())
    }

    /// Runs the client, which must fail with `code` and one line on standard error that holds
    /// `words`; nothing may stand on standard output.
    pub fn refused(&self, arguments: &[&str], code: i32, words: &str) -> Result<()> {
        let outcome = self.run(arguments)?;
        let lines = outcome.told().count();
        ensure!(
            outcome.code == code && outcome.stderr.contains(words) && lines == 1,
            "isula {arguments:?}: wanted {code} and one line with {words:?}, found {outcome:#?}"
        );
        Ok(())
    }

    /// Removes every container, ends the daemon, and fails if anything is left on the machine.
    pub fn finish(mut self) -> Result<()> {
        let ids = self.ok(&["ps", "-aq", "--no-trunc"])?;
        for id in ids.split_whitespace() {
            self.ok(&["rm", "-f", id])?;
        }
        let status = self.take_daemon()?.stop()?;
        ensure!(status.success(), "the daemon ended with {status}: {}", self.start.log_tail());
        self.registry = None;
        for leftover in ["state", "data/engines/lcr", "data/engines/runc"] {
            let path = self.path(leftover);
            let entries = entries(&path);
            ensure!(
                entries.is_empty(),
                "left in {}: {entries:?}: {}",
                path.display(),
                self.start.log_tail()
            );
        }
        let left = Census::take()?.since(&self.before);
        ensure!(left.is_empty(), "left on the machine: {left:#?}");
        Ok(())
    }
}

/// What is in a directory and below it, without the daemon's lock files and the empty roots of
/// external runtimes and of pods.
fn entries(path: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let root = ["runtimes", "pods", "netns"].contains(&name.as_str());
        if root || path.ends_with("runtimes") {
            let below = self::entries(&entry.path()).into_iter();
            found.extend(below.map(|below| format!("{name}/{below}")));
        } else if !name.ends_with("lock") && !name.ends_with(".sock") {
            found.push(name);
        }
    }
    found
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            // The test failed: take its containers along as well as we can.
            if let Ok(ids) = self.run(&["ps", "-aq", "--no-trunc"]) {
                for id in ids.stdout.split_whitespace() {
                    drop(self.run(&["rm", "-f", id]));
                }
            }
            eprintln!("daemon: {}", self.start.log_tail());
            drop(daemon.stop());
        }
        drop(self.turn.take());
    }
}
