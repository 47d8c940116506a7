//! The last of the disk, which no image may have: what runs on the host and the engine's own records
//! need it more.

use std::{fs::File, io, path::Path};

use isula_sys::beneath::space::space;

/// What is kept free, but not more than [`SHARE`] of the file system.
const RESERVE: u64 = 256 << 20;
const SHARE: u64 = 50;
/// Bytes between two looks at the file system.
const STRIDE: u64 = 8 << 20;

/// Watches the file system of a directory while something is written to it.
pub(crate) struct Reserve {
    dir: File,
    since: u64,
}

impl Reserve {
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        // The first bytes already are too many for a disk that is full.
        Ok(Self { dir: File::open(path)?, since: STRIDE })
    }

    /// So many bytes will be written.
    ///
    /// # Errors
    /// `StorageFull`: they would come out of the reserve.
    pub(crate) fn take(&mut self, bytes: u64) -> io::Result<()> {
        self.since = self.since.saturating_add(bytes);
        if self.since < STRIDE {
            return Ok(());
        }
        self.since = 0;
        let space = space(&self.dir)?;
        let kept = RESERVE.min(space.total / SHARE);
        match space.free.checked_sub(bytes).is_some_and(|left| left >= kept) {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("the disk is full: the last {} MiB are kept free", kept >> 20),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reserve;

    #[test]
    fn more_than_there_is_is_refused_before_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::new(dir.path()).unwrap();
        reserve.take(1).unwrap();
        let error = reserve.take(u64::MAX / 2).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
}
