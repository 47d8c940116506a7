//! A session: a client's terminal or pipes joined to a process.
//!
//! Both directions go on at their own pace and hold at most a few pieces: a client that does not
//! read makes its own output wait (the shim cuts it off when that lasts), a process that does not
//! read makes the client's input wait.

use futures_util::{Stream, StreamExt};
use isula_api::v1::{self, session_input::Input, session_output::Output as Wire};
use isula_core::{
    error::chain,
    ports::{Chunk, Output, Session, SessionInput},
};
use isula_engine::container::{Attached, ExecAttached, ExitWaiter};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{convert, status};

/// Pieces of output that wait for the client.
const PIECES: usize = 16;

/// A process with its client's side.
pub(super) struct Joined {
    opened: v1::Opened,
    session: Session,
    exit: ExitWaiter,
}

impl From<Attached> for Joined {
    fn from(attached: Attached) -> Self {
        Self {
            opened: v1::Opened {
                container_id: attached.id.into(),
                exec_id: String::new(),
                tty: attached.tty,
                warnings: attached.warnings,
            },
            session: attached.session,
            exit: attached.exit,
        }
    }
}

impl From<ExecAttached> for Joined {
    fn from(attached: ExecAttached) -> Self {
        let exit = attached.exit;
        Self {
            opened: v1::Opened {
                container_id: attached.process.container.into(),
                exec_id: attached.process.id.0,
                tty: attached.tty,
                warnings: Vec::new(),
            },
            session: attached.session,
            exit: Box::pin(async move { Ok(exit.await?) }),
        }
    }
}

type Sender = mpsc::Sender<Result<v1::SessionOutput, Status>>;

/// Joins the client's messages to the process; what comes back is for the client.
pub(super) fn join(
    joined: Joined,
    input: Streaming<v1::SessionInput>,
) -> impl Stream<Item = Result<v1::SessionOutput, Status>> + Send {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        let Joined { opened, session, exit } = joined;
        let Session { input: to_process, output } = session;
        if send(&sender, Wire::Opened(opened)).await.is_err() {
            return;
        }
        tokio::select! {
            () = read(output, exit, &sender) => {}
            () = write(input, to_process) => {}
            // The client has gone; dropping its side of the process detaches it.
            () = sender.closed() => {}
        }
    });
    ReceiverStream::new(receiver)
}

/// The client has gone.
struct Gone;

async fn send(sender: &Sender, output: Wire) -> Result<(), Gone> {
    let message = v1::SessionOutput { output: Some(output) };
    sender.send(Ok(message)).await.map_err(|_| Gone)
}

/// From the process to the client, up to the exit.
async fn read(
    mut output: impl Stream<Item = isula_core::ports::Result<Chunk>> + Unpin,
    exit: ExitWaiter,
    sender: &Sender,
) {
    let mut code = None;
    while let Some(chunk) = output.next().await {
        let sent = match chunk {
            Ok(Chunk::Output(Output::Stdout, bytes)) => send(sender, Wire::Stdout(bytes)).await,
            Ok(Chunk::Output(Output::Stderr, bytes)) => send(sender, Wire::Stderr(bytes)).await,
            Ok(Chunk::Exited(exited)) => {
                code = Some(exited);
                break;
            }
            Err(error) => {
                let status = status::of(&error.into());
                // A client that has gone needs no error.
                let _ = sender.send(Err(status)).await;
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
    let last = match code {
        Some(code) => Ok(code),
        None => exit.await,
    };
    // A client that has gone needs no exit status.
    let _ = match last {
        Ok(code) => send(sender, Wire::Exited(v1::Exited { code })).await.is_ok(),
        Err(error) => sender.send(Err(status::of(&error))).await.is_ok(),
    };
}

/// From the client to the process. When the client has sent everything, this waits for the output's
/// end: a terminal stays attached without input.
async fn write(mut input: Streaming<v1::SessionInput>, mut process: Box<dyn SessionInput>) {
    loop {
        let message = match input.message().await {
            Ok(Some(message)) => message,
            Ok(None) => break,
            // The connection is lost; so is the client.
            Err(_) => return,
        };
        let done = match message.input {
            Some(Input::Stdin(bytes)) => process.write(bytes).await,
            Some(Input::CloseStdin(_)) => process.close().await,
            Some(Input::Resize(size)) => match convert::size(size) {
                Ok(size) => process.resize(size).await,
                Err(_) => continue,
            },
            _ => continue,
        };
        if let Err(error) = done {
            // The process has closed its input or ended: its output tells the rest.
            tracing::debug!(error = %chain(&error), "input is dropped");
        }
    }
    std::future::pending::<()>().await;
}
