//! Sessions: a client's streams joined to those of a process, both ways, without unbounded buffers.
//!
//! The client's messages are pumped to the process by a task that waits while the process does not
//! read; the process's output is pulled from the runtime only as fast as HTTP/2 takes it.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _};
use isula_api::v1::{self, session_input::Input, session_output::Output as Out};
use isula_core::{
    container::{ExecConfig, LogConfig, NewContainer},
    error::chain,
    ports::{Attach, Chunk, Output, Session, SessionInput},
};
use isula_engine::{Engine, container::ExitWaiter};
use tonic::{Status, Streaming};

use super::{
    convert,
    status::{invalid, refuse, status},
};

/// What goes to the client.
pub type Outputs = Pin<Box<dyn Stream<Item = Result<v1::SessionOutput, Status>> + Send>>;

/// What a session opens.
pub enum Opening {
    /// A new container.
    Run(Box<NewContainer>, Attach),
    /// The init process of a container, started first if asked.
    Attach { id: String, start: bool, attach: Attach },
    /// A further process.
    Exec(String, ExecConfig, Attach),
}

/// A process with its client.
pub struct Opened {
    hello: v1::Opened,
    session: Session,
    /// How the end of an init process is learned; an exec's comes in its stream.
    exit: Option<ExitWaiter>,
}

impl Opening {
    /// Reads the first message of a session.
    ///
    /// # Errors
    /// It opens nothing, or what it opens can't be understood.
    pub fn parse(input: Input, log: &LogConfig) -> Result<Self, Status> {
        let wanted = |streams: Option<v1::Streams>| {
            streams.map(convert::streams).ok_or_else(|| invalid("the session names no streams"))
        };
        match input {
            Input::Run(open) => {
                let create = open.create.ok_or_else(|| invalid("nothing to create is named"))?;
                let new = convert::new_container(create, log)?;
                Ok(Self::Run(Box::new(new), wanted(open.streams)?))
            }
            Input::Attach(open) => {
                Ok(Self::Attach { attach: wanted(open.streams)?, id: open.id, start: open.start })
            }
            Input::Exec(request) => {
                let (id, config, attach) = convert::exec_config(request);
                let attach = attach.ok_or_else(|| invalid("the session names no streams"))?;
                Ok(Self::Exec(id, config, attach))
            }
            Input::Stdin(_) | Input::CloseStdin(_) | Input::Resize(_) => {
                Err(invalid("a session begins with what it opens"))
            }
        }
    }

    /// Opens it.
    ///
    /// # Errors
    /// Those of the use case.
    pub async fn open(self, engine: Arc<Engine>) -> isula_engine::Result<Opened> {
        let attached = match self {
            Self::Run(new, attach) => engine.run_attached(*new, attach).await?,
            Self::Attach { id, start: true, attach } => engine.start_attached(&id, attach).await?,
            Self::Attach { id, start: false, attach } => engine.attach(&id, attach).await?,
            Self::Exec(id, config, attach) => {
                let done = engine.exec_attached(&id, config, attach).await?;
                let hello = v1::Opened {
                    container_id: done.process.container.to_string(),
                    exec_id: done.process.id.0,
                    tty: done.tty,
                    warnings: Vec::new(),
                };
                return Ok(Opened { hello, session: done.session, exit: None });
            }
        };
        let hello = v1::Opened {
            container_id: attached.id.to_string(),
            exec_id: String::new(),
            tty: attached.tty,
            warnings: attached.warnings,
        };
        Ok(Opened { hello, session: attached.session, exit: Some(attached.exit) })
    }
}

/// Joins the client to the process: gives what goes to the client, and pumps what comes from it.
pub fn join(opened: Opened, inputs: Streaming<v1::SessionInput>) -> Outputs {
    let Opened { hello, session, exit } = opened;
    let pump = Pump(tokio::spawn(pump(inputs, session.input)));
    let opened = futures_util::stream::iter([Ok(message(Out::Opened(hello)))]);
    let output = session.output.map(|chunk| match chunk {
        Ok(Chunk::Output(Output::Stdout, bytes)) => Ok(message(Out::Stdout(bytes))),
        Ok(Chunk::Output(Output::Stderr, bytes)) => Ok(message(Out::Stderr(bytes))),
        Ok(Chunk::Exited(code)) => Ok(exited(code)),
        Err(error) => Err(status(error.kind(), &chain(&error))),
    });
    let end = futures_util::stream::iter(exit)
        .then(|exit| async { exit.await.map(exited).map_err(|error| refuse(&error)) });
    // The pump lives as long as the stream: a client that has gone detaches.
    let joined = opened.chain(output).chain(end).map(move |item| {
        let _held = &pump;
        item
    });
    Box::pin(joined)
}

/// A task that ends with its owner.
struct Pump(tokio::task::JoinHandle<()>);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn message(output: Out) -> v1::SessionOutput {
    v1::SessionOutput { output: Some(output) }
}

fn exited(code: i32) -> v1::SessionOutput {
    message(Out::Exited(v1::Exited { code }))
}

/// Until the client or the process wants no more.
async fn pump(mut inputs: Streaming<v1::SessionInput>, mut process: Box<dyn SessionInput>) {
    while let Ok(Some(message)) = inputs.message().await {
        let done = match message.input {
            Some(Input::Stdin(bytes)) => process.write(bytes).await,
            Some(Input::CloseStdin(_)) => process.close().await,
            Some(Input::Resize(size)) => match convert::size(size) {
                Some(size) => process.resize(size).await,
                None => Ok(()),
            },
            Some(Input::Run(_) | Input::Attach(_) | Input::Exec(_)) | None => break,
        };
        if let Err(error) = done {
            // The process does not read any more: its end will be told by its output.
            tracing::debug!("session: {}", chain(&error));
            break;
        }
    }
    // Detached only now: the process keeps its input while the client may still write.
    drop(process);
}
