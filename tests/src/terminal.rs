//! A real pseudo terminal with a program on it, as a person would sit at it.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

/// How long a text may take to appear. Only a failing test waits so long.
const LIMIT: Duration = Duration::from_secs(30);

/// A terminal and the program on it.
pub struct Terminal {
    child: Child,
    master: File,
    slave: File,
    seen: String,
}

impl Terminal {
    /// Starts `command` as leader of a session whose controlling terminal is a new one of this size.
    pub fn start(command: &Command, rows: u16, columns: u16) -> Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name, flags, Mode::empty())?;
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size)?;
        let slave = File::from(slave);
        let mut wrapped = Command::new("setsid");
        wrapped
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::from(slave.try_clone()?))
            .stdout(Stdio::from(slave.try_clone()?))
            .stderr(Stdio::from(slave.try_clone()?));
        if let Some(directory) = command.get_current_dir() {
            wrapped.current_dir(directory);
        }
        let child = wrapped.spawn().context("setsid")?;
        Ok(Self { child, master: File::from(master), slave, seen: String::new() })
    }

    /// Types.
    pub fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.master.write_all(text.as_bytes())?)
    }

    /// Waits until `text` is on the screen, and forgets what came before it.
    pub fn expect(&mut self, text: &str) -> Result<()> {
        let started = Instant::now();
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return Ok(());
            }
            if started.elapsed() > LIMIT {
                bail!("{text:?} did not appear; on the screen: {:?}", self.seen);
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> Result<()> {
        let mut wanted = [PollFd::new(&self.master, PollFlags::IN)];
        let limit = rustix::event::Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        if poll(&mut wanted, Some(&limit))? > 0 {
            let mut buffer = [0; 4096];
            let length = self.master.read(&mut buffer)?;
            let bytes = buffer.get(..length).unwrap_or_default();
            self.seen.push_str(&String::from_utf8_lossy(bytes));
        }
        Ok(())
    }

    /// Changes the size as a window does: the program gets SIGWINCH.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&self.master, size)?)
    }

    /// True while the terminal echoes and edits lines, as a shell expects to find it.
    pub fn is_cooked(&self) -> Result<bool> {
        let modes = tcgetattr(&self.slave)?.local_modes;
        Ok(modes.contains(LocalModes::ECHO | LocalModes::ICANON))
    }

    /// Waits for the program's end, reading on so that it is never held up.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > LIMIT {
                bail!("the program on the terminal did not end; on the screen: {:?}", self.seen);
            }
            self.read()?;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
