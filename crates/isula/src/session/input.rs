//! Our stdin, read by a thread.

use std::io::Read;

use bytes::Bytes;
use tokio::sync::mpsc;

/// Largest piece that is sent at once.
const PIECE: usize = 32 << 10;

/// Starts to read stdin. The channel ends with it; the thread ends when the receiver is gone and
/// another byte arrives, or with the process.
///
/// # Errors
/// The thread can't be started.
pub(super) fn read() -> std::io::Result<mpsc::Receiver<Bytes>> {
    // A few pieces ahead; beyond them the pipe itself holds the writer back.
    let (sender, receiver) = mpsc::channel(4);
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        // Not through std's buffer: what it holds would be lost to other readers.
        let mut stdin = std::io::stdin().lock();
        let mut piece = vec![0; PIECE];
        loop {
            match stdin.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => {
                    let bytes = Bytes::copy_from_slice(piece.get(..length).unwrap_or_default());
                    if sender.blocking_send(bytes).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // EIO: the terminal went away. Nothing more comes from it.
                Err(_) => break,
            }
        }
    })?;
    Ok(receiver)
}
