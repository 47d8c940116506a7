//! The files of a log: the current one and those that were put aside.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A file of a log, whatever its name has become.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    inode: u64,
}

/// Bytes that are looked at together when lines are counted from the end.
const BLOCK: usize = 64 << 10;

impl LogFile {
    /// The file of this number, 0 being the current one; `None` when there is none. Its path must
    /// have no symbolic links.
    pub fn open(log: &Path, number: u32) -> io::Result<Option<Self>> {
        match open(&path(log, number)) {
            Ok(file) => {
                let metadata = file.metadata()?;
                if !metadata.is_file() {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                Ok(Some(Self { file, inode: metadata.ino() }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All files, the current one first. One that moves while they are opened is there once.
    pub fn all(log: &Path) -> io::Result<Vec<Self>> {
        let mut all: Vec<Self> = Vec::new();
        let mut gap = false;
        for number in 0.. {
            match Self::open(log, number)? {
                Some(file) if all.iter().any(|known| known.inode == file.inode) => gap = false,
                Some(file) => {
                    all.push(file);
                    gap = false;
                }
                // Between two steps of a rotation one number is missing, the current file's too.
                None if !gap => gap = true,
                None => break,
            }
        }
        Ok(all)
    }

    /// Whether it is the current file still.
    pub fn is_current(&self, log: &Path) -> bool {
        path(log, 0).symlink_metadata().is_ok_and(|found| found.ino() == self.inode)
    }

    /// The file that was begun when this one was put aside; `None` when there is none yet.
    pub fn successor(&self, log: &Path) -> io::Result<Option<Self>> {
        let mut all = Self::all(log)?;
        let own = all.iter().position(|file| file.inode == self.inode);
        match own {
            Some(0) => Ok(None),
            Some(own) => Ok(Some(all.swap_remove(own - 1))),
            // It was removed: what is left begins with the oldest.
            None => Ok(all.pop()),
        }
    }

    /// Reads at a place.
    pub fn read_at(&self, buffer: &mut [u8], place: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(buffer, place) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Its length now.
    pub fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Where the last lines begin: that many of them, or `Err` with how many are missing.
    pub fn last_lines(&self, wanted: u64) -> io::Result<Result<u64, u64>> {
        let mut block = vec![0; BLOCK];
        let mut end = self.length()?;
        // The line end of the last line belongs to it, and a part of a line is none yet.
        let mut found = 0u64;
        while end > 0 {
            let start = end.saturating_sub(BLOCK as u64);
            let length = usize::try_from(end - start).unwrap_or(BLOCK);
            let piece = block.get_mut(..length).unwrap_or_default();
            let read = self.read_at(piece, start)?;
            let piece = piece.get(..read).unwrap_or_default();
            for (position, _) in piece.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n')
            {
                if found == wanted {
                    return Ok(Ok(start + position as u64 + 1));
                }
                found += 1;
            }
            end = start;
        }
        Ok(if found == wanted { Ok(0) } else { Err(wanted - found) })
    }
}

/// Opens a file for reading. No link on the whole way is followed: a container may be able to write
/// where its log is.
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(CWD, path, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            opened => return Ok(opened?.into()),
        }
    }
}

/// `log` is the current file; the others have `.1`, `.2`, … added.
fn path(log: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return log.to_owned();
    }
    let mut path = log.as_os_str().to_owned();
    path.push(format!(".{number}"));
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use isulad_shim::protocol::LOG;

    #[test]
    fn the_last_lines_are_found_across_blocks() {
        let directory = tempfile::tempdir().unwrap();
        let line = format!("{}\n", "x".repeat(999));
        let text = line.repeat(200) + "part";
        std::fs::write(directory.path().join(LOG), &text).unwrap();
        let file = LogFile::open(&directory.path().join(LOG), 0).unwrap().unwrap();
        for (wanted, begin) in [
            (0, Ok(200_000)),
            (1, Ok(199_000)),
            (131, Ok(69_000)),
            (199, Ok(1000)),
            (200, Ok(0)),
            (201, Err(1)),
            (1000, Err(800)),
        ] {
            assert_eq!(file.last_lines(wanted).unwrap(), begin, "{wanted}");
        }
        std::fs::write(directory.path().join(LOG), "").unwrap();
        assert_eq!(file.last_lines(3).unwrap(), Err(3));
        assert_eq!(file.last_lines(0).unwrap(), Ok(0));
    }

    #[test]
    fn a_file_finds_the_one_after_it_however_often_it_was_renamed() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join(LOG);
        let at = |number| path(&log, number);
        std::fs::write(at(0), "first").unwrap();
        let first = LogFile::open(&directory.path().join(LOG), 0).unwrap().unwrap();
        assert!(first.is_current(&log));
        assert!(first.successor(&log).unwrap().is_none());
        std::fs::rename(at(0), at(1)).unwrap();
        assert!(first.successor(&log).unwrap().is_none());
        std::fs::write(at(0), "second").unwrap();
        std::fs::rename(at(1), at(2)).unwrap();
        std::fs::rename(at(0), at(1)).unwrap();
        std::fs::write(at(0), "third").unwrap();
        let read = |file: &LogFile| {
            let mut text = [0; 10];
            let length = file.read_at(&mut text, 0).unwrap();
            String::from_utf8_lossy(&text[..length]).into_owned()
        };
        let second = first.successor(&log).unwrap().unwrap();
        assert_eq!(read(&second), "second");
        std::fs::remove_file(at(2)).unwrap();
        assert_eq!(read(&first.successor(&log).unwrap().unwrap()), "second");
        assert_eq!(read(&second.successor(&log).unwrap().unwrap()), "third");
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join(LOG)).unwrap();
        assert!(LogFile::open(&directory.path().join(LOG), 0).is_err());
        // Nor is one above it followed.
        std::fs::create_dir(directory.path().join("real")).unwrap();
        std::fs::write(directory.path().join("real").join(LOG), "secret").unwrap();
        std::os::unix::fs::symlink("real", directory.path().join("alias")).unwrap();
        assert!(LogFile::open(&directory.path().join("real").join(LOG), 0).unwrap().is_some());
        assert!(LogFile::open(&directory.path().join("alias").join(LOG), 0).is_err());
    }
}
