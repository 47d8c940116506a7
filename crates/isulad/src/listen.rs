//! The sockets: who may connect, and how many at once.

use std::{
    fs::{self, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, PermissionsExt, chown},
            net::{UnixListener as StdListener, UnixStream as StdStream},
        },
    },
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tonic::transport::server::Connected;

use crate::config::Group;

/// Clients connected at once; the next ones wait in the socket's queue.
const CONNECTIONS: usize = 1024;

/// How long to wait when no descriptor is left for a connection.
const BREATH: Duration = Duration::from_millis(100);

/// A socket that this process made, or got from systemd.
pub struct Socket {
    listener: StdListener,
    /// Removed at the end, if this process made it.
    path: Option<PathBuf>,
}

impl Socket {
    /// Makes a socket, mode 0660, for root and the group. A socket file that nobody listens on is
    /// replaced.
    ///
    /// # Errors
    /// Somebody listens on it, something else is there, or the group does not exist.
    pub fn make(path: &Path, group: &Group) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "something else is there",
                ));
            }
            Ok(_) if StdStream::connect(path).is_ok() => {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens on it"));
            }
            Ok(_) => fs::remove_file(path)?,
            Err(_) => {}
        }
        let gid = gid_of(group)?;
        // The umask is 077: until the last line nobody but root can connect.
        let listener = StdListener::bind(path)?;
        chown(path, Some(0), gid)?;
        fs::set_permissions(path, Permissions::from_mode(0o660))?;
        Ok(Self { listener, path: Some(path.to_owned()) })
    }

    /// A socket that systemd made and owns.
    #[must_use]
    pub fn inherited(socket: OwnedFd) -> Self {
        Self { listener: StdListener::from(socket), path: None }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // It may be gone with its directory.
            let _ = fs::remove_file(path);
        }
    }
}

/// The number of the group, by group(5); `None` when it need not exist and does not.
fn gid_of(group: &Group) -> io::Result<Option<u32>> {
    if group.name.is_empty() {
        return Ok(None);
    }
    let found = gid_in(&fs::read_to_string("/etc/group").unwrap_or_default(), &group.name);
    if found.is_none() && group.required {
        let text = format!("no such group: {}", group.name);
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    Ok(found)
}

fn gid_in(groups: &str, wanted: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == wanted).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// A client's connection.
pub struct Connection {
    stream: UnixStream,
    _permit: OwnedSemaphorePermit,
}

/// Accepts on all sockets; the stream ends when the receiver is dropped.
///
/// # Errors
/// A socket can't be used.
pub fn accept(sockets: &[Socket]) -> io::Result<mpsc::Receiver<io::Result<Connection>>> {
    let (sender, receiver) = mpsc::channel(1);
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    for socket in sockets {
        socket.listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(socket.listener.try_clone()?)?;
        tokio::spawn(accept_on(listener, Arc::clone(&free), sender.clone()));
    }
    Ok(receiver)
}

async fn accept_on(
    listener: UnixListener,
    free: Arc<Semaphore>,
    sender: mpsc::Sender<io::Result<Connection>>,
) {
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sender.closed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                if let Ok(peer) = stream.peer_cred() {
                    tracing::debug!(uid = peer.uid(), gid = peer.gid(), pid = ?peer.pid(), "connected");
                }
                let connection = Connection { stream, _permit: permit };
                if sender.send(Ok(connection)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // No descriptor is left, or a client went away before it was accepted.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::{Socket, gid_in};
    use crate::config::Group;
    use std::{fs, os::unix::fs::PermissionsExt};

    fn group(name: &str, required: bool) -> Group {
        Group { name: name.to_owned(), required }
    }

    #[test]
    fn a_group_is_found_by_its_name_alone() {
        let groups = "root:x:0:\nisula:x:987:bob\nbad\nisul:x:nine:\n";
        assert_eq!(gid_in(groups, "isula"), Some(987));
        for missing in ["isul", "x", "bob", ""] {
            assert_eq!(gid_in(groups, missing), None, "{missing}");
        }
    }

    #[test]
    fn a_socket_is_for_root_and_the_group_and_gone_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let socket = Socket::make(&path, &group("isula", false)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let used = Socket::make(&path, &group("isula", false)).err().unwrap();
        assert_eq!(used.to_string(), "somebody listens on it");
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_a_crash_left_is_replaced_and_another_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Socket::make(&path, &group("", false)).unwrap());
        fs::write(&path, b"precious").unwrap();
        assert!(Socket::make(&path, &group("", false)).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_group_that_was_asked_for_must_exist() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let error = Socket::make(&path, &group("no-such-group", true)).err().unwrap();
        assert_eq!(error.to_string(), "no such group: no-such-group");
        assert!(!path.exists());
    }
}
