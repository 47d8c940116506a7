//! The server with real processes behind it and real clients before it.

mod clients;
mod hostile;
mod sockets;

use std::{
    io,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use isula_core::{
    error::{ErrorKind, PortError},
    ports::{Chunk, ItemStream, Output, Result, Session, SessionInput, TerminalSize},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{ChildStdin, Command},
    sync::{Notify, mpsc},
    task::JoinHandle,
};

use super::{
    AttachRequest, Backend, Duplex, ExecRequest, Options, PortForwardRequest, Running, Server,
    Streams,
};

/// All streams that one without a terminal can have.
const PIPES: Streams = Streams { stdin: true, stdout: true, stderr: true, tty: false };
/// Those of a terminal.
const TERMINAL: Streams = Streams { stdin: true, stdout: true, stderr: false, tty: true };

/// Runs commands on this host and forwards to its ports.
#[derive(Default)]
struct Host {
    asked: AtomicUsize,
    /// Bytes that `flood` has made, and the end of it.
    flooded: Arc<AtomicUsize>,
    left: Arc<Notify>,
}

impl Host {
    /// Output without end.
    fn flood(&self) -> Running {
        struct Left(Arc<Notify>);
        impl Drop for Left {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let (made, left) = (Arc::clone(&self.flooded), Left(Arc::clone(&self.left)));
        let output = stream::repeat_with(move || {
            let _held = &left;
            made.fetch_add(32 << 10, Ordering::SeqCst);
            Ok(Chunk::Output(Output::Stdout, Bytes::from_static(&[0; 32 << 10])))
        });
        let session = Session { input: Box::new(Input(None)), output: Box::pin(output) };
        Running { session, exit: None }
    }
}

#[async_trait]
impl Backend for Host {
    async fn exec(&self, request: &ExecRequest) -> Result<Running> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if request.command == ["flood"] {
            return Ok(self.flood());
        }
        run(&request.command, request.streams)
    }

    async fn attach(&self, request: &AttachRequest) -> Result<Running> {
        let script = format!("echo attached to {}; cat", request.container);
        let command = ["sh", "-c", &script].map(str::to_owned);
        let mut running = run(&command, request.streams)?;
        // The process lives as long as its end is waited for.
        let exit = running.exit.take();
        running.session.output = Box::pin(running.session.output.filter(move |_| {
            let _held = &exit;
            std::future::ready(true)
        }));
        Ok(running)
    }

    async fn port_forward(&self, sandbox: &str, port: u16) -> Result<Box<dyn Duplex>> {
        assert_eq!(sandbox, "pod");
        let connection = TcpStream::connect(("127.0.0.1", port)).await;
        Ok(Box::new(connection.map_err(|error| PortError::io("cannot connect", error))?))
    }
}

fn run(command: &[String], streams: Streams) -> Result<Running> {
    if streams.tty {
        return Ok(terminal());
    }
    let (program, arguments) = command.split_first().unwrap();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if streams.stdin { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| PortError::with_source(ErrorKind::CommandNotFound, "no start", error))?;
    let input = Box::new(Input(child.stdin.take()));
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let output = stream::select(
        pieces(stdout, Output::Stdout, streams.stdout),
        pieces(stderr, Output::Stderr, streams.stderr),
    );
    let exit = Box::pin(async move { Ok(child.wait().await.unwrap().code().unwrap()) });
    Ok(Running { session: Session { input, output: Box::pin(output) }, exit: Some(exit) })
}

fn pieces(
    from: impl AsyncRead + Send + Unpin + 'static,
    kind: Output,
    on: bool,
) -> ItemStream<Chunk> {
    Box::pin(stream::unfold(from, move |mut from| async move {
        loop {
            let mut bytes = vec![0; 32 << 10];
            let read = from.read(&mut bytes).await.unwrap();
            bytes.truncate(read);
            if read == 0 {
                return None;
            }
            if on {
                return Some((Ok(Chunk::Output(kind, bytes.into())), from));
            }
        }
    }))
}

struct Input(Option<ChildStdin>);

#[async_trait]
impl SessionInput for Input {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let Some(pipe) = &mut self.0 else {
            return Err(PortError::new(ErrorKind::WrongState, "closed"));
        };
        pipe.write_all(&bytes).await.map_err(|error| PortError::io("cannot write", error))
    }

    async fn close(&mut self) -> Result<()> {
        self.0 = None;
        Ok(())
    }

    async fn resize(&mut self, _: TerminalSize) -> Result<()> {
        unreachable!("no terminal")
    }
}

/// Says its size whenever that changes, and ends with a line of input.
fn terminal() -> Running {
    let (sender, receiver) = mpsc::channel(8);
    let output = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (Ok(chunk), receiver))
    });
    let session = Session { input: Box::new(Sized(sender)), output: Box::pin(output) };
    Running { session, exit: None }
}

struct Sized(mpsc::Sender<Chunk>);

#[async_trait]
impl SessionInput for Sized {
    async fn write(&mut self, _: Bytes) -> Result<()> {
        self.0.send(Chunk::Exited(7)).await.unwrap();
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        Ok(())
    }

    async fn resize(&mut self, size: TerminalSize) -> Result<()> {
        let text = format!("{}x{}\r\n", size.columns, size.rows);
        self.0.send(Chunk::Output(Output::Stdout, text.into())).await.unwrap();
        Ok(())
    }
}

/// A server that ends with its test.
struct Serving {
    server: Arc<Server>,
    host: Arc<Host>,
    task: JoinHandle<()>,
}

impl Serving {
    async fn start() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let host = Arc::new(Host::default());
        let backend = Arc::clone(&host);
        let server = Server::bind(options, backend).await.unwrap();
        let task = tokio::spawn(Arc::clone(&server).serve());
        Self { server, host, task }
    }

    fn exec(&self, script: &str, streams: Streams) -> String {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        self.command(command, streams)
    }

    fn command(&self, command: Vec<String>, streams: Streams) -> String {
        self.server.exec_url(ExecRequest { container: "c".to_owned(), command, streams }).unwrap()
    }

    fn attach(&self, streams: Streams) -> String {
        self.server.attach_url(AttachRequest { container: "c".to_owned(), streams }).unwrap()
    }

    fn forward(&self, ports: &[u16]) -> String {
        let request = PortForwardRequest { sandbox: "pod".to_owned(), ports: ports.to_vec() };
        self.server.port_forward_url(request).unwrap()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.address()).await.unwrap()
    }

    /// Sends the request of an upgrade; gives back the connection and the head of the answer.
    async fn upgrade(&self, url: &str, headers: &str) -> (TcpStream, String) {
        let mut connection = self.connect().await;
        let path = url.split_once("//").unwrap().1.split_once('/').unwrap().1;
        let request =
            format!("POST /{path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n{headers}\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match connection.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => panic!("{error}"),
            }
        }
        (connection, String::from_utf8(head).unwrap())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Nothing here takes long; a test that hangs is told by this.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), what).await.expect("it takes too long")
}
