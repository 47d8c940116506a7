//! The floor under a start that is asked for: a client, which is a program of its own, asks a daemon
//! over a socket; the daemon puts the intent on the disk, starts the container as it is started
//! without being asked, and answers when the program is reached. The request is one byte, and
//! nothing is looked up, built or watched.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::{
        fd::AsFd as _,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Child, Command},
};

use rustix::event::{PollFd, PollFlags, poll};

use crate::{Clock, Container, Cost, Maker, Request, end, record::Journal};

/// The client.
pub fn ask(socket: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(b"s")?;
    stream.read_exact(&mut [0])
}

/// The daemon.
struct Daemon<'a> {
    maker: Maker<'a>,
    listener: UnixListener,
    journal: Journal,
    asked: usize,
    starting: Vec<(UnixStream, Container)>,
    running: Vec<Container>,
}

/// What it costs until the last client has its answer and has ended, and until all are gone.
pub fn measure(request: &Request) -> io::Result<(Cost, Cost)> {
    let maker = Maker::prepare(request)?;
    let socket = request.work.join("socket");
    let listener = UnixListener::bind(&socket)?;
    listener.set_nonblocking(true)?;
    let journal = Journal::make(&request.work.join("journal"))?;
    let (starting, running) = (Vec::new(), Vec::new());
    let mut daemon = Daemon { maker, listener, journal, asked: 0, starting, running };

    let clock = Clock::start(&request.cgroup);
    let client = |_| Command::new("/proc/self/exe").arg("--ask").arg(&socket).spawn();
    let mut clients = (0..request.count).map(client).collect::<io::Result<Vec<Child>>>()?;
    while daemon.running.len() < request.count {
        daemon.serve(request.count)?;
    }
    for client in &mut clients {
        let status = client.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("a client: {status}")));
        }
    }
    let start = clock.cost();
    for container in daemon.running {
        end(container, request.kill)?;
    }
    let life = clock.cost();
    fs::remove_file(&socket)?;
    Ok((start, life))
}

impl Daemon<'_> {
    /// Waits until there is something to do, and does it.
    fn serve(&mut self, count: usize) -> io::Result<()> {
        let wanted = if self.asked < count { PollFlags::IN } else { PollFlags::empty() };
        let mut polled = vec![PollFd::new(&self.listener, wanted)];
        let reached = self.starting.iter().map(|(_, container)| container.reached.as_fd());
        polled.extend(reached.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        poll(&mut polled, None)?;
        let mut ready = polled.iter().map(|one| !one.revents().is_empty());
        let asked = ready.next().unwrap_or(false);
        let ready: Vec<bool> = ready.collect();
        drop(polled);
        for ((mut client, container), ready) in
            std::mem::take(&mut self.starting).into_iter().zip(ready)
        {
            if ready {
                container.check()?;
                client.write_all(b"d")?;
                self.running.push(container);
            } else {
                self.starting.push((client, container));
            }
        }
        if asked { self.accept() } else { Ok(()) }
    }

    /// Takes everybody who asks now; their intents share a sync.
    fn accept(&mut self) -> io::Result<()> {
        let mut clients = Vec::new();
        loop {
            match self.listener.accept() {
                Ok((client, _)) => clients.push(client),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        for client in &mut clients {
            client.read_exact(&mut [0])?;
            self.journal.append()?;
        }
        self.journal.sync()?;
        for client in clients {
            let container = self.maker.start(self.asked)?;
            self.asked += 1;
            self.starting.push((client, container));
        }
        Ok(())
    }
}
