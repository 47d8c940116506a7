//! `exec` and `attach`, whatever the protocol: a client's channels joined to a process.
//!
//! Both directions go on at their own pace and hold a few pieces at most. A client that does not
//! read makes the process wait, or is cut off by the shim; a process that does not read makes the
//! client wait.

use std::{io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use isula_core::{
    error::{ErrorKind, PortError, chain},
    ports::{Chunk, ExecExit, ItemStream, Output, SessionInput, TerminalSize},
};
use tokio::sync::mpsc;

use super::{
    activity::Activity,
    request::{Backend, Running},
    status::{Dialect, Outcome},
    tokens::Remote,
};

/// A channel between client and process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Channel {
    Error,
    Stdin,
    Stdout,
    Stderr,
    Resize,
}

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Input(Bytes),
    InputEnd,
    Resize(TerminalSize),
}

/// The way to the client.
#[async_trait]
pub(super) trait Outlet: Send {
    /// Sends on a channel; waits while the client does not read.
    async fn write(&mut self, channel: Channel, bytes: Bytes) -> io::Result<()>;
    /// Nothing more comes on a channel.
    async fn end(&mut self, channel: Channel) -> io::Result<()>;
}

/// Joins a client to a process until that ends, and tells the client how.
///
/// # Errors
/// The client has gone.
pub(super) async fn join(
    (backend, remote): (&Arc<dyn Backend>, &Remote),
    incoming: mpsc::Receiver<Incoming>,
    outlet: &mut dyn Outlet,
    dialect: Dialect,
    activity: &Activity,
) -> io::Result<()> {
    let running = start(Arc::clone(backend), remote.clone()).await;
    let outcome = match running {
        Ok(running) => converse(running, incoming, outlet, activity).await?,
        Err(error) => failed(&error),
    };
    // Clients of the first version leave at the end of the output, and must know by then.
    let told = outcome.told(dialect);
    if !told.is_empty() {
        outlet.write(Channel::Error, told.into()).await?;
    }
    for channel in [Channel::Error, Channel::Stdout, Channel::Stderr] {
        outlet.end(channel).await?;
    }
    Ok(())
}

/// As a task of its own, so that a client that hangs up leaves nothing half done.
async fn start(backend: Arc<dyn Backend>, remote: Remote) -> Result<Running, PortError> {
    let started = tokio::spawn(async move {
        match &remote {
            Remote::Exec(exec) => backend.exec(exec).await,
            Remote::Attach(attach) => backend.attach(attach).await,
        }
    });
    match started.await {
        Ok(running) => running,
        Err(error) => {
            Err(PortError::with_source(ErrorKind::Internal, "the request was broken off", error))
        }
    }
}

fn failed(error: &PortError) -> Outcome {
    Outcome::Failed(chain(error))
}

async fn converse(
    running: Running,
    incoming: mpsc::Receiver<Incoming>,
    outlet: &mut dyn Outlet,
    activity: &Activity,
) -> io::Result<Outcome> {
    let Running { session, exit } = running;
    tokio::select! {
        outcome = to_client(session.output, exit, outlet, activity) => outcome,
        () = to_process(session.input, incoming, activity) => {
            Err(io::ErrorKind::ConnectionAborted.into())
        }
    }
}

/// Up to the end of the client.
async fn to_process(
    mut input: Box<dyn SessionInput>,
    mut incoming: mpsc::Receiver<Incoming>,
    activity: &Activity,
) {
    // A process that takes no input any more is no reason to end: its output counts.
    let mut open = true;
    while let Some(incoming) = incoming.recv().await {
        activity.touch();
        match incoming {
            Incoming::Input(bytes) if open => open = input.write(bytes).await.is_ok(),
            Incoming::InputEnd if open => {
                open = false;
                // It may have closed its end before.
                let _ = input.close().await;
            }
            Incoming::Input(_) | Incoming::InputEnd => {}
            Incoming::Resize(size) => {
                // As with any terminal, a size that comes too late changes nothing.
                let _ = input.resize(size).await;
            }
        }
    }
}

/// Up to the end of the process.
async fn to_client(
    mut output: ItemStream<Chunk>,
    exit: Option<ExecExit>,
    outlet: &mut dyn Outlet,
    activity: &Activity,
) -> io::Result<Outcome> {
    while let Some(chunk) = output.next().await {
        activity.touch();
        match chunk {
            Ok(Chunk::Output(Output::Stdout, bytes)) => {
                outlet.write(Channel::Stdout, bytes).await?;
            }
            Ok(Chunk::Output(Output::Stderr, bytes)) => {
                outlet.write(Channel::Stderr, bytes).await?;
            }
            Ok(Chunk::Exited(status)) => return Ok(Outcome::Exited(status)),
            Err(error) => return Ok(failed(&error)),
        }
        activity.touch();
    }
    match exit {
        None => Ok(Outcome::Exited(0)),
        Some(exit) => Ok(match exit.await {
            Ok(status) => Outcome::Exited(status),
            Err(error) => failed(&error),
        }),
    }
}
