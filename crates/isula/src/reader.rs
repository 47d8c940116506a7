//! Files and pipes that may block, read by a thread of their own.

use std::io::{self, Read};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Pieces ahead of the receiver; beyond them the source itself is held back.
const AHEAD: usize = 4;

/// Starts to read in pieces of at most `size` bytes. The channel ends with the source or after its
/// error; the thread ends when the receiver is gone and another piece arrives, or with the process.
///
/// # Errors
/// The thread can't be started.
pub fn pieces(
    mut source: impl Read + Send + 'static,
    size: usize,
) -> io::Result<mpsc::Receiver<io::Result<Bytes>>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
        let mut piece = vec![0; size];
        loop {
            let read = match source.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => Ok(Bytes::copy_from_slice(piece.get(..length).unwrap_or_default())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            if sender.blocking_send(read).is_err() || failed {
                break;
            }
        }
    })?;
    Ok(receiver)
}
