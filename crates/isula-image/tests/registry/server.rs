//! A registry that a test plays: an HTTP server on loopback that answers what it is told, well or
//! badly, and remembers what it was asked.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use isula_core::image::{Digest, Reference};
use isula_image::registry::{Client, Retry, Session, Settings, TimeLimits};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub target: String,
    pub headers: HashMap<String, String>,
    pub over_tls: bool,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first byte of a `Range`.
    pub fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// How the body of an answer is sent.
#[derive(Debug, Clone)]
pub enum Body {
    /// With its length.
    Whole(Vec<u8>),
    /// Declares a length, sends these bytes, and closes.
    Cut(usize, Vec<u8>),
    /// Declares a length, sends these bytes, and waits for the other side to give up.
    Stall(usize, Vec<u8>),
    /// Declares a length and sends single bytes with pauses.
    Drip(usize),
    /// In chunks, without a length.
    Chunked(Vec<u8>),
    /// In chunks that never end.
    Endless,
    /// Closes without an answer.
    Nothing,
    /// Waits for the other side to give up, without an answer.
    Silence,
    /// These bytes are the whole answer.
    Raw(Vec<u8>),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

pub fn reply(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply { status, headers: Vec::new(), body: Body::Whole(body.into()) }
}

pub fn play(body: Body) -> Reply {
    Reply { status: 200, headers: Vec::new(), body }
}

impl Reply {
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

/// What all connections of a server share.
struct Stage {
    tls: Option<Arc<ServerConfig>>,
    script: Box<Script>,
    /// Called when the other side has given up on a body that stalls.
    gave_up: Box<dyn Fn() + Send + Sync>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
}

/// The server; stops with its owner.
pub struct Server {
    pub address: SocketAddr,
    stage: Arc<Stage>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::bind(None, Box::new(script), Box::new(|| {}))
    }

    pub fn start_tls(
        tls: ServerConfig,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::bind(Some(Arc::new(tls)), Box::new(script), Box::new(|| {}))
    }

    /// `gave_up` is called when a client has closed on a body that stalls.
    pub fn start_watched(
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
        gave_up: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self::bind(None, Box::new(script), Box::new(gave_up))
    }

    fn bind(
        tls: Option<Arc<ServerConfig>>,
        script: Box<Script>,
        gave_up: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections) = (Mutex::default(), AtomicUsize::new(0));
        let stage = Arc::new(Stage { tls, script, gave_up, seen, connections });
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&stage), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&shared);
                // A connection that breaks is the test's business, not the server's.
                thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        Self { address, stage, stop, thread: Some(thread) }
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.stage.connections.load(Ordering::SeqCst)
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.stage.seen.lock().unwrap().clone()
    }

    /// Requests whose target holds `part`.
    pub fn count(&self, part: &str) -> usize {
        self.seen().iter().filter(|seen| seen.target.contains(part)).count()
    }

    /// A reference to `repository:tag` here.
    pub fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

fn serve(stream: TcpStream, stage: &Stage) -> io::Result<()> {
    let over_tls = stage.tls.is_some();
    let socket = stream.try_clone()?;
    let mut wire: Box<dyn Wire> = match &stage.tls {
        Some(tls) => {
            let connection = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
            Box::new(StreamOwned::new(connection, stream))
        }
        None => Box::new(stream),
    };
    while let Some(mut seen) = read_request(&mut wire)? {
        seen.over_tls = over_tls;
        stage.seen.lock().unwrap().push(seen.clone());
        if !answer(&mut wire, &socket, (stage.script)(&seen), &stage.gave_up)? {
            break;
        }
    }
    Ok(())
}

/// None at the end of the connection, and for what is no HTTP (the first byte of TLS).
fn read_request(wire: &mut dyn Wire) -> io::Result<Option<Seen>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if wire.read(&mut byte)? == 0 || (head.is_empty() && byte[0] == 0x16) {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8(head).unwrap();
    let mut lines = text.lines();
    let target = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    Ok(Some(Seen { target, headers: headers.collect(), over_tls: false }))
}

/// False if the connection ends here.
fn answer(
    wire: &mut dyn Wire,
    socket: &TcpStream,
    reply: Reply,
    gave_up: &dyn Fn(),
) -> io::Result<bool> {
    let head = head(&reply);
    let first = match &reply.body {
        Body::Nothing => return Ok(false),
        Body::Silence => [].as_slice(),
        Body::Raw(bytes) => bytes,
        _ => head.as_slice(),
    };
    let body = match &reply.body {
        Body::Whole(bytes) | Body::Cut(_, bytes) | Body::Stall(_, bytes) => bytes.as_slice(),
        _ => &[],
    };
    // In one piece: the other side may close as soon as it knows enough.
    wire.write_all(&[first, body].concat())?;
    wire.flush()?;
    match reply.body {
        Body::Whole(_) => return Ok(true),
        Body::Chunked(bytes) => {
            bytes.chunks(1000).try_for_each(|piece| write_chunk(wire, piece))?;
            write_chunk(wire, &[])?;
            return Ok(true);
        }
        Body::Endless => loop {
            write_chunk(wire, &[b'x'; 0x4000])?;
        },
        Body::Drip(length) => drip(wire, socket, length)?,
        Body::Stall(..) | Body::Silence => {
            while wire.read(&mut [0; 64]).unwrap_or(0) != 0 {}
            gave_up();
        }
        Body::Cut(..) | Body::Nothing | Body::Raw(_) => {}
    }
    Ok(false)
}

fn head(reply: &Reply) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match &reply.body {
        Body::Whole(bytes) => head.push_str(&format!("Content-Length: {}\r\n\r\n", bytes.len())),
        Body::Cut(length, _) | Body::Stall(length, _) | Body::Drip(length) => {
            head.push_str(&format!("Content-Length: {length}\r\n\r\n"));
        }
        _ => head.push_str("Transfer-Encoding: chunked\r\n\r\n"),
    }
    head.into()
}

/// An empty one is the end.
fn write_chunk(wire: &mut dyn Wire, bytes: &[u8]) -> io::Result<()> {
    let length = format!("{:x}\r\n", bytes.len());
    wire.write_all(&[length.as_bytes(), bytes, b"\r\n"].concat())?;
    wire.flush()
}

fn drip(wire: &mut dyn Wire, socket: &TcpStream, length: usize) -> io::Result<()> {
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    for _ in 0..length {
        wire.write_all(b"x")?;
        wire.flush()?;
        // The client says nothing meanwhile: this is a pause.
        match wire.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => break,
        }
    }
    Ok(())
}

pub fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

/// Settings with limits for a test: nothing waits long.
pub fn settings() -> Settings {
    Settings {
        certs_dir: "/nonexistent".into(),
        ca_bundle: "/nonexistent".into(),
        limits: TimeLimits {
            connect: Duration::from_secs(20),
            stall: Duration::from_millis(300),
            document: Duration::from_secs(20),
        },
        retry: Retry {
            attempts: 5,
            first: Duration::from_millis(1),
            longest: Duration::from_millis(4),
            retry_after: Duration::from_millis(20),
        },
        ..Settings::default()
    }
}

pub fn session(settings: Settings, reference: &Reference) -> Session {
    Client::new(settings).unwrap().session(reference, None).unwrap()
}

/// Bytes that do not repeat.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// What a good registry answers to a request for a blob, ranges included.
pub fn blob(seen: &Seen, bytes: &[u8]) -> Reply {
    match seen.from() {
        Some(from) => {
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            reply(206, &bytes[from..]).header("Content-Range", range)
        }
        None => reply(200, bytes),
    }
}
