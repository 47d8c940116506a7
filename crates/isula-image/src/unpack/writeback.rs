//! Having a layer on the disk when it is committed, without an `fsync` for each of its files and
//! without making every other program's data wait (`syncfs`).
//!
//! Each file's data is set on its way to the disk as soon as it is written, and waited for some
//! files later, when it usually has arrived. What then is missing is the journal's commit: one
//! `fsync` of the layer's record, made after everything else. Where a file system does not order
//! its metadata so, each file and directory gets its own `fsync` instead.

use std::{collections::VecDeque, io, os::fd::OwnedFd, path::Path};

use isula_sys::beneath::writeback::{self, Guarantee};

/// Files under way at once: enough to keep the disk busy, and few descriptors.
const UNDER_WAY: usize = 64;

pub(super) struct Writeback {
    guarantee: Guarantee,
    under_way: VecDeque<OwnedFd>,
}

impl Writeback {
    pub(super) fn new(root: &Path) -> Self {
        let guarantee = writeback::guarantee(root);
        Self { guarantee, under_way: VecDeque::with_capacity(UNDER_WAY) }
    }

    /// Takes a file of `stored` bytes that is complete.
    pub(super) fn push_file(&mut self, file: OwnedFd, stored: u64) -> io::Result<()> {
        if stored == 0 && self.guarantee == Guarantee::OneCommit {
            return Ok(());
        }
        writeback::start(&file)?;
        self.push(file)
    }

    /// Takes a directory that is complete for now.
    pub(super) fn push_dir(&mut self, dir: OwnedFd) -> io::Result<()> {
        match self.guarantee {
            Guarantee::OneCommit => Ok(()),
            Guarantee::EachFile => self.push(dir),
        }
    }

    fn push(&mut self, file: OwnedFd) -> io::Result<()> {
        if self.under_way.len() == UNDER_WAY
            && let Some(oldest) = self.under_way.pop_front()
        {
            self.settle(&oldest)?;
        }
        self.under_way.push_back(file);
        Ok(())
    }

    fn settle(&self, file: &OwnedFd) -> io::Result<()> {
        match self.guarantee {
            Guarantee::OneCommit => writeback::finish(file),
            Guarantee::EachFile => writeback::sync(file),
        }
    }

    /// Waits for the rest.
    pub(super) fn finish(mut self) -> io::Result<()> {
        while let Some(file) = self.under_way.pop_front() {
            self.settle(&file)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use isula_sys::beneath::writeback::Guarantee;

    use super::{UNDER_WAY, Writeback};

    #[test]
    fn few_files_are_open_at_once_whatever_the_file_system_guarantees() {
        let dir = tempfile::tempdir().unwrap();
        for guarantee in [Guarantee::OneCommit, Guarantee::EachFile] {
            let mut writeback = Writeback { guarantee, ..Writeback::new(dir.path()) };
            for number in 0..3 * UNDER_WAY {
                let mut file = fs::File::create(dir.path().join(number.to_string())).unwrap();
                file.write_all(&vec![1; number]).unwrap();
                writeback.push_file(file.into(), number as u64).unwrap();
                assert!(writeback.under_way.len() <= UNDER_WAY);
            }
            let before = writeback.under_way.len();
            writeback.push_dir(fs::File::open(dir.path()).unwrap().into()).unwrap();
            assert_eq!((before, writeback.under_way.len()), (UNDER_WAY, UNDER_WAY));
            writeback.finish().unwrap();
        }
    }
}
