//! What the streaming server joins its clients to.

use std::{
    fs::File,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::fd::AsFd,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use isula_core::{
    container::ExecConfig,
    error::{ErrorKind, PortError, chain},
    ports::{Attach, Result},
};
use isula_engine::Engine;
use tokio::sync::oneshot;
use tonic::async_trait;

use crate::streaming::{AttachRequest, Backend, Duplex, ExecRequest, Running, Streams};

/// How long a connection within a sandbox may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// `CLONE_NEWNET` of setns(2).
const NETWORK: u32 = 0x4000_0000;

/// Joins clients to the containers of an engine.
pub struct Joiner(pub Arc<Engine>);

#[async_trait]
impl Backend for Joiner {
    async fn exec(&self, request: &ExecRequest) -> Result<Running> {
        let config = ExecConfig {
            args: request.command.clone(),
            tty: request.streams.tty,
            stdin: request.streams.stdin,
            ..ExecConfig::default()
        };
        let (id, attach) = (request.container.clone(), wanted(request.streams));
        let engine = Arc::clone(&self.0);
        // A task of its own: a client that leaves now leaves no process that nobody knows.
        let begun = tokio::spawn(async move { engine.exec_attached(&id, config, attach).await });
        let exec = begun.await.map_err(broken)?.map_err(told)?;
        Ok(Running { session: exec.session, exit: Some(exec.exit) })
    }

    async fn attach(&self, request: &AttachRequest) -> Result<Running> {
        let attached = self.0.attach(&request.container, wanted(request.streams)).await;
        Ok(Running { session: attached.map_err(told)?.session, exit: None })
    }

    async fn port_forward(&self, sandbox: &str, port: u16) -> Result<Box<dyn Duplex>> {
        let sandbox = self.0.sandbox(sandbox).map_err(told)?;
        if !sandbox.is_ready() {
            let message = format!("sandbox {} is not ready", sandbox.id);
            return Err(PortError::new(ErrorKind::WrongState, message));
        }
        let networks = &self.0.ports().networks;
        let namespace = sandbox.has_network().then(|| networks.namespace_path(&sandbox.id));
        let connection = connected(namespace, port).await.map_err(|error| {
            PortError::io(format!("cannot connect to port {port} of sandbox {}", sandbox.id), error)
        })?;
        Ok(Box::new(connection))
    }
}

fn wanted(streams: Streams) -> Attach {
    Attach { stdin: streams.stdin, stdout: streams.stdout, stderr: streams.stderr, size: None }
}

fn told(error: isula_engine::Error) -> PortError {
    PortError::new(error.kind(), chain(&error))
}

fn broken(error: tokio::task::JoinError) -> PortError {
    PortError::with_source(ErrorKind::Internal, "the request was broken off", error)
}

/// Connects to a port of the loopback device of a network namespace, or of the host.
async fn connected(namespace: Option<PathBuf>, port: u16) -> io::Result<tokio::net::TcpStream> {
    let (sender, receiver) = oneshot::channel();
    // A thread of its own: it joins the namespace, makes the socket there, and ends. Nothing else
    // may run on it.
    std::thread::Builder::new().name("port-forward".to_owned()).spawn(move || {
        // Whoever asked may have gone; then the connection is closed.
        let _ = sender.send(connect_within(namespace, port));
    })?;
    let stream = receiver.await.map_err(|_| io::Error::other("the thread ended"))??;
    stream.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(stream)
}

fn connect_within(namespace: Option<PathBuf>, port: u16) -> io::Result<TcpStream> {
    if let Some(path) = namespace {
        isula_sys::namespace::join(File::open(path)?.as_fd(), NETWORK)?;
    }
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&v4, CONNECT).or_else(|error| {
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        TcpStream::connect_timeout(&v6, CONNECT).map_err(|_| error)
    })
}

#[cfg(test)]
mod tests {
    use super::connected;
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_port_of_a_namespace_is_connected_to_and_one_that_nobody_listens_on_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut word = [0; 4];
            stream.read_exact(&mut word).unwrap();
            stream.write_all(&word).unwrap();
        });
        // The namespace of this very process.
        let mut stream = connected(Some("/proc/self/ns/net".into()), port).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ping");
        peer.join().unwrap();
        let refused = connected(None, port).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}
