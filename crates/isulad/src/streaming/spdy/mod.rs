//! SPDY/3.1, the server's side of it: what `kubectl`, `crictl` and kubelets speak after an HTTP
//! upgrade. <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>

mod connection;
mod dictionary;
mod forward;
mod frame;
mod headers;
mod remote;
mod writer;

#[cfg(test)]
mod tests;

use std::{io, sync::Arc};

use tokio::{
    io::split,
    sync::{mpsc, oneshot},
    time::timeout,
};

use self::{
    connection::{Broken, Connection},
    forward::Forwards,
    remote::{Reader, ToStreams},
    writer::Writer,
};
use super::{
    call::{CLOSING, Call, OPENING},
    remote::join,
    request::{Duplex, PortForwardRequest},
    tokens::Remote,
};

pub(super) use self::remote::Version;

fn open(io: Box<dyn Duplex>) -> (Connection, Arc<Writer>) {
    let (read, write) = split(io);
    let writer = Arc::new(Writer::new(write));
    (Connection::new(read, Arc::clone(&writer)), writer)
}

/// Joins the client of an upgraded connection to a process.
pub(super) async fn remote(io: Box<dyn Duplex>, remote: &Remote, version: Version, call: &Call) {
    let (mut connection, writer) = open(io);
    let (incoming, from_client) = mpsc::channel(remote::PIECES);
    let (complete, completed) = oneshot::channel();
    let reader = Reader::new(version.expected(remote.streams()), complete, incoming);
    let session = async {
        let Ok(Ok(roles)) = timeout(OPENING, completed).await else { return };
        call.activity.touch();
        let mut outlet = ToStreams { writer: Arc::clone(&writer), roles };
        let what = (&call.backend, remote);
        let dialect = version.dialect();
        // It fails when the client has gone, which the end of the connection shows as well.
        let _ = join(what, from_client, &mut outlet, dialect, &call.activity).await;
    };
    let ended = tokio::select! {
        read = reader.run(&mut connection, &writer) => read,
        () = session => Ok(()),
        () = call.idled() => Ok(()),
    };
    close(connection, &writer, &ended).await;
}

/// Forwards ports for the client of an upgraded connection.
pub(super) async fn forward(io: Box<dyn Duplex>, request: &PortForwardRequest, call: Arc<Call>) {
    let (mut connection, writer) = open(io);
    let mut forwards = Forwards::new(Arc::clone(&call), &request.sandbox, Arc::clone(&writer));
    let ended = tokio::select! {
        read = forwards.run(&mut connection) => read,
        () = call.idled() => Ok(()),
    };
    drop(forwards);
    close(connection, &writer, &ended).await;
}

async fn close(mut connection: Connection, writer: &Writer, ended: &Result<(), Broken>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a streaming session broke");
    }
    let broken = matches!(ended, Err(Broken::Protocol(_)));
    let farewell = async {
        writer.close(connection.last(), broken).await?;
        connection.drain().await;
        io::Result::Ok(())
    };
    // A client that has gone, or does not go, is left.
    let _ = timeout(CLOSING, farewell).await;
}
