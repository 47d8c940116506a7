//! The way of a layer's bytes from the connection (async) to the thread that unpacks them
//! (blocking): a fixed number of buffers that go round.

use std::io::{self, Read};

use tokio::sync::mpsc::{Receiver, Sender, channel};

/// One buffer.
const BUFFER: usize = 256 * 1024;
/// Buffers of one pipe: one is filled, one read, two lie between.
const BUFFERS: usize = 4;

/// Nobody reads any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReaderGone;

/// A pipe for `size` bytes.
pub(super) fn pipe(size: u64) -> (PipeWriter, PipeReader) {
    let (full, filled) = channel(BUFFERS + 1);
    let (empty, emptied) = channel(BUFFERS);
    let capacity = usize::try_from(size).unwrap_or(BUFFER).clamp(1, BUFFER);
    let writer = PipeWriter { full, emptied, current: Vec::new(), capacity, made: 0 };
    let reader = PipeReader { filled, empty, current: Vec::new(), position: 0, has_ended: false };
    (writer, reader)
}

/// The async end. Dropped without [`PipeWriter::finish`], it makes the reader fail.
pub(super) struct PipeWriter {
    /// An empty buffer is the end mark.
    full: Sender<Vec<u8>>,
    emptied: Receiver<Vec<u8>>,
    current: Vec<u8>,
    capacity: usize,
    made: usize,
}

impl PipeWriter {
    /// Writes all of `bytes`; waits for the reader when all buffers are full.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), ReaderGone> {
        while !bytes.is_empty() {
            if self.current.capacity() == 0 {
                self.current = self.buffer().await?;
            }
            let room = self.capacity.saturating_sub(self.current.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.current.extend_from_slice(now);
            bytes = later;
            if self.current.len() >= self.capacity {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Writes what is left and the end mark.
    pub(super) async fn finish(mut self) -> Result<(), ReaderGone> {
        if !self.current.is_empty() {
            self.flush().await?;
        }
        self.full.send(Vec::new()).await.map_err(|_| ReaderGone)
    }

    async fn flush(&mut self) -> Result<(), ReaderGone> {
        let buffer = std::mem::take(&mut self.current);
        self.full.send(buffer).await.map_err(|_| ReaderGone)
    }

    async fn buffer(&mut self) -> Result<Vec<u8>, ReaderGone> {
        if let Ok(buffer) = self.emptied.try_recv() {
            return Ok(buffer);
        }
        if self.made < BUFFERS {
            self.made += 1;
            return Ok(Vec::with_capacity(self.capacity));
        }
        self.emptied.recv().await.ok_or(ReaderGone)
    }
}

/// The blocking end; must not be read on an async thread.
pub(super) struct PipeReader {
    filled: Receiver<Vec<u8>>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    position: usize,
    has_ended: bool,
}

impl Read for PipeReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.position == self.current.len() && !self.has_ended {
            self.next()?;
        }
        let rest = self.current.get(self.position..).unwrap_or_default();
        let count = rest.len().min(into.len());
        if let (Some(from), Some(to)) = (rest.get(..count), into.get_mut(..count)) {
            to.copy_from_slice(from);
        }
        self.position += count;
        Ok(count)
    }
}

impl PipeReader {
    fn next(&mut self) -> io::Result<()> {
        let mut used = std::mem::take(&mut self.current);
        self.position = 0;
        if used.capacity() > 0 {
            used.clear();
            // The writer may have all it needs and be gone.
            let _ = self.empty.try_send(used);
        }
        let cut = || io::Error::new(io::ErrorKind::ConnectionAborted, "the download was cut off");
        self.current = self.filled.blocking_recv().ok_or_else(cut)?;
        self.has_ended = self.current.is_empty();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::{BUFFER, ReaderGone, pipe};

    #[tokio::test]
    async fn bytes_come_out_as_they_went_in_whatever_the_sizes() {
        for (size, step) in [(0, 1), (1, 1), (BUFFER * 9 + 5, 70_001), (BUFFER * 2, BUFFER * 2)] {
            let bytes: Vec<u8> = (0..size).map(|number| (number % 251) as u8).collect();
            let (mut writer, mut reader) = pipe(size as u64);
            let read = tokio::task::spawn_blocking(move || {
                let mut whole = Vec::new();
                reader.read_to_end(&mut whole).map(|_| whole)
            });
            for piece in bytes.chunks(step) {
                writer.write(piece).await.unwrap();
            }
            writer.finish().await.unwrap();
            assert_eq!(read.await.unwrap().unwrap(), bytes);
        }
    }

    #[tokio::test]
    async fn a_writer_that_goes_early_is_no_end() {
        let (mut writer, mut reader) = pipe(u64::MAX);
        writer.write(&[1; 10]).await.unwrap();
        drop(writer);
        let read = move || reader.read_to_end(&mut Vec::new()).unwrap_err().kind();
        let kind = tokio::task::spawn_blocking(read).await.unwrap();
        assert_eq!(kind, std::io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn a_reader_that_goes_early_is_noticed() {
        let (mut writer, reader) = pipe(u64::MAX);
        drop(reader);
        let mut result = Ok(());
        while result.is_ok() {
            result = writer.write(&[0; BUFFER]).await;
        }
        assert_eq!(result, Err(ReaderGone));
    }

    #[tokio::test]
    async fn a_writer_never_has_more_than_its_buffers() {
        let (mut writer, reader) = pipe(u64::MAX);
        for _ in 0..super::BUFFERS {
            writer.write(&vec![0; BUFFER]).await.unwrap();
        }
        let more = [0];
        let mut waiting = Box::pin(writer.write(&more));
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(waiting.as_mut().poll(context).is_pending())
        });
        assert!(polled.await, "the fifth buffer is not made");
        drop(reader);
    }
}
