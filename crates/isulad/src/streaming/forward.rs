//! `port-forward`, whatever the protocol: one connection of a client joined to a port of a sandbox.

use std::io;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use isula_core::error::chain;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split},
    sync::mpsc,
};

use super::{
    activity::Activity,
    request::{Backend, Duplex},
};

/// Bytes taken from the port at once.
const PIECE: usize = 16 << 10;

/// The way to the client of one connection.
#[async_trait]
pub(super) trait Caller: Send + Sync {
    /// Sends what the port sent; waits while the client does not read.
    async fn data(&self, bytes: Bytes) -> io::Result<()>;
    /// The port sends nothing more.
    async fn end(&self) -> io::Result<()>;
    /// The port can't be reached, or broke off.
    async fn fail(&self, reason: String) -> io::Result<()>;
}

/// Joins a connection to a port until both sides have ended, or one of them is gone. The end of
/// `incoming` is the end of what the client sends.
pub(super) async fn join(
    backend: &dyn Backend,
    (sandbox, port): (&str, u16),
    incoming: mpsc::Receiver<Bytes>,
    caller: &dyn Caller,
    activity: &Activity,
) {
    let told = |reason: String| format!("error forwarding port {port} to pod {sandbox}: {reason}");
    let ended = match backend.port_forward(sandbox, port).await {
        Err(error) => Err(told(chain(&error))),
        Ok(connection) => {
            let (from, to) = split(connection);
            let both =
                tokio::join!(to_port(to, incoming, activity), from_port(from, caller, activity),);
            both.1.map_err(|error| told(error.to_string()))
        }
    };
    if let Err(reason) = ended {
        // A client that has gone needs no reason.
        let _ = caller.fail(reason).await;
    }
}

async fn to_port(
    mut port: WriteHalf<Box<dyn Duplex>>,
    mut incoming: mpsc::Receiver<Bytes>,
    activity: &Activity,
) {
    while let Some(mut bytes) = incoming.recv().await {
        activity.touch();
        if port.write_all_buf(&mut bytes).await.is_err() {
            // It reads no more, but may still have something to say.
            return;
        }
    }
    // The same.
    let _ = port.shutdown().await;
}

/// Up to the end of the port, or of the client: only an error of the port's is one.
async fn from_port(
    mut port: ReadHalf<Box<dyn Duplex>>,
    caller: &dyn Caller,
    activity: &Activity,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        if port.read_buf(&mut buffer).await? == 0 {
            let _ = caller.end().await;
            return Ok(());
        }
        activity.touch();
        if caller.data(buffer.split().freeze()).await.is_err() {
            return Ok(());
        }
        activity.touch();
    }
}
