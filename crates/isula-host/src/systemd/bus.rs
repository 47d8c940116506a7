//! A connection to systemd for the time of one request: the system bus, which is the documented way,
//! or systemd's own socket where there is no bus.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::wire::{self, FIXED, Incoming, Method, Writer};

/// How long a request may take, as with other clients of D-Bus.
const PATIENCE: Duration = Duration::from_secs(25);
/// The longest line of the handshake.
const LINE: usize = 1024;

const BUS: Method = Method {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "Hello",
    signature: "",
};
/// The manager of units.
pub const MANAGER: Method = Method {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    member: "",
    signature: "",
};

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Nobody answers there.
    #[error("cannot reach systemd over D-Bus at {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or nothing came in time.
    #[error("cannot talk to systemd over D-Bus")]
    Broken(#[source] io::Error),
    /// systemd refused.
    #[error("systemd refuses: {text} ({name})")]
    Refused {
        /// The name of the error.
        name: String,
        /// What it says.
        text: String,
    },
    /// What was to be done was begun and failed.
    #[error("the job of systemd for {unit} ended with {result:?}")]
    Job {
        /// The unit.
        unit: String,
        /// systemd's word for it.
        result: String,
    },
}

impl From<io::Error> for BusError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Where systemd can be reached.
#[derive(Debug, Clone)]
pub struct Sockets {
    /// The system bus.
    pub bus: PathBuf,
    /// systemd's own.
    pub private: PathBuf,
}

/// A connection.
pub struct Bus {
    stream: UnixStream,
    serial: u32,
    until: Instant,
    /// Others are on it, too.
    shared: bool,
    ended_jobs: Vec<(String, String)>,
}

impl Bus {
    /// Connects.
    ///
    /// # Errors
    /// Nobody is there, or who is there refuses this user.
    pub fn connect(sockets: &Sockets) -> Result<Self, BusError> {
        let (stream, shared) = match UnixStream::connect(&sockets.bus) {
            Ok(stream) => (stream, true),
            Err(error) => match UnixStream::connect(&sockets.private) {
                Ok(stream) => (stream, false),
                Err(_) => return Err(unreachable(&sockets.bus, error)),
            },
        };
        let until = Instant::now() + PATIENCE;
        let mut bus = Self { stream, serial: 0, until, shared, ended_jobs: Vec::new() };
        bus.greet()?;
        Ok(bus)
    }

    /// Says who we are: the kernel tells the other side the same.
    fn greet(&mut self) -> Result<(), BusError> {
        let user = rustix::process::geteuid().as_raw().to_string();
        let user: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
        self.send(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.receive(&mut byte)?;
            line.extend(byte);
            if line.len() > LINE {
                return Err(io::Error::from(io::ErrorKind::InvalidData).into());
            }
        }
        if !line.starts_with(b"OK ") {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied).into());
        }
        self.send(b"BEGIN\r\n")?;
        if self.shared {
            self.call(&BUS, &[])?;
        }
        Ok(())
    }

    /// Asks to be told when a job of this unit is over.
    ///
    /// # Errors
    /// As [`Bus::call`].
    pub fn watch_jobs(&mut self, unit: &str) -> Result<(), BusError> {
        if !self.shared {
            // Whoever is connected by itself is told everything.
            return Ok(());
        }
        let rule = format!(
            "type='signal',sender='{}',path='{}',interface='{}',member='JobRemoved',arg2='{unit}'",
            MANAGER.destination, MANAGER.path, MANAGER.interface
        );
        let mut body = Writer::default();
        body.text(&rule);
        self.call(&Method { member: "AddMatch", signature: "s", ..BUS }, &body.done())?;
        self.call(&Method { member: "Subscribe", ..MANAGER }, &[]).map(drop)
    }

    /// Calls a method and waits for its answer, of which the first text is given.
    ///
    /// # Errors
    /// The other side refuses, or does not answer in time.
    pub fn call(&mut self, method: &Method, body: &[u8]) -> Result<Option<String>, BusError> {
        self.serial += 1;
        let serial = self.serial;
        self.send(&wire::call(serial, method, body))?;
        loop {
            match self.next()? {
                Incoming::Return { to, text } if to == serial => return Ok(text),
                Incoming::Error { to, name, text } if to == serial => {
                    return Err(BusError::Refused { name, text });
                }
                Incoming::JobRemoved { job, result } => self.ended_jobs.push((job, result)),
                _ => {}
            }
        }
    }

    /// Waits for the end of a job that a call has begun.
    ///
    /// # Errors
    /// It came to nothing, or not in time.
    pub fn wait_for_job(&mut self, job: &str, unit: &str) -> Result<(), BusError> {
        let known = self.ended_jobs.iter().find(|(ended, _)| ended == job);
        let mut result = known.map(|(_, result)| result.clone());
        while result.is_none() {
            if let Incoming::JobRemoved { job: ended, result: how } = self.next()?
                && ended == job
            {
                result = Some(how);
            }
        }
        match result {
            Some(result) if result != "done" => {
                Err(BusError::Job { unit: unit.to_owned(), result })
            }
            _ => Ok(()),
        }
    }

    fn next(&mut self) -> Result<Incoming, BusError> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let mut fixed = [0; FIXED];
        self.receive(&mut fixed)?;
        let size = wire::size(&fixed).ok_or_else(invalid)?;
        let mut message = fixed.to_vec();
        message.resize(size, 0);
        self.receive(message.get_mut(FIXED..).unwrap_or_default())?;
        Ok(wire::read(&message).ok_or_else(invalid)?)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write_all(bytes)
    }

    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read_exact(bytes)
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

fn unreachable(path: &Path, source: io::Error) -> BusError {
    BusError::Connect { path: path.to_owned(), source }
}
