//! A daemon under test. It tells by systemd's notification protocol when it is ready, so nobody has
//! to guess.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a daemon may take to be ready or to end. Only a failing test waits so long.
const LIMIT: Duration = Duration::from_secs(60);

/// A running daemon.
pub struct Daemon {
    child: Child,
}

/// How to start one.
#[derive(Clone)]
pub struct Start {
    /// The program.
    pub program: PathBuf,
    /// Below it lie `data`, `state`, the socket and `isulad.log`.
    pub root: PathBuf,
    /// What it logs.
    pub log_level: &'static str,
    /// Further flags.
    pub flags: Vec<String>,
    /// Further environment.
    pub env: Vec<(String, String)>,
}

impl Start {
    fn command(&self) -> Result<Command> {
        let at = |name: &str| self.root.join(name).display().to_string();
        let log = fs::File::options().create(true).append(true).open(at("isulad.log"))?;
        let mut command = Command::new(&self.program);
        command
            .args(["--config", &at("daemon.json")])
            .args(["--graph", &at("data"), "--state", &at("state"), "--pidfile", &at("pid")])
            .args(["-H", &format!("unix://{}", at("sock")), "--log-level", self.log_level])
            .args(&self.flags)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    /// Starts it and waits until it says that it is ready.
    pub fn start(&self) -> Result<Daemon> {
        let notify = self.root.join("notify");
        match fs::remove_file(&notify) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let socket = UnixDatagram::bind(&notify)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut child = self.command()?.env("NOTIFY_SOCKET", &notify).spawn()?;
        let mut buffer = [0; 4096];
        let started = std::time::Instant::now();
        while started.elapsed() < LIMIT {
            if let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
                if text.lines().any(|line| line == "READY=1") {
                    return Ok(Daemon { child });
                }
            }
            if let Some(status) = child.try_wait()? {
                bail!("the daemon ended with {status}: {}", self.log_tail());
            }
        }
        child.kill()?;
        child.wait()?;
        bail!("the daemon was not ready in {LIMIT:?}: {}", self.log_tail())
    }

    /// Starts it, expecting it to refuse; gives back its exit status and what it said.
    pub fn refused(&self) -> Result<(ExitStatus, String)> {
        let mut command = self.command()?;
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
        Ok((output.status, String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.root.join("isulad.log"), 30)
    }
}

fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let skip = text.lines().count().saturating_sub(lines);
    text.lines().skip(skip).collect::<Vec<_>>().join("\n")
}

impl Daemon {
    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("pid 0")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Ends it as a power cut would, as far as it is concerned.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it politely.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        Ok(self.child.wait()?)
    }

    /// Waits until it ends by itself, as at a fault point.
    pub fn wait(mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// True if it has ended already.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }
}
