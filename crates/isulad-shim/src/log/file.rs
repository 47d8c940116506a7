//! The files of a log, and their rotation.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::protocol::{LOG, Rotation};

/// The current file of a log.
#[derive(Debug)]
pub struct LogFile {
    directory: OwnedFd,
    file: OwnedFd,
    /// Bytes of whole records in it.
    size: u64,
    rotation: Rotation,
}

impl LogFile {
    /// Opens the current file of the log in a directory.
    pub fn open(directory: OwnedFd, rotation: Rotation) -> std::io::Result<Self> {
        let file = open(&directory, OFlags::empty())?;
        let mut log = Self { directory, file, size: 0, rotation };
        log.size = u64::try_from(rustix::fs::fstat(&log.file)?.st_size).unwrap_or(0);
        log.end_torn_record();
        Ok(log)
    }

    /// A writer that was killed may have left a part of a record: what follows it must not become
    /// one line with it.
    fn end_torn_record(&mut self) {
        let mut last = [b'\n'];
        let read = match self.size.checked_sub(1) {
            Some(position) => rustix::io::pread(&self.file, &mut last, position),
            None => Ok(0),
        };
        if read.is_ok() && last != [b'\n'] {
            self.write(b"\n");
        }
    }

    /// Whether one more record may go into the current file, after `waiting` bytes of others.
    pub fn has_room(&self, waiting: usize, record: usize) -> bool {
        let limit = self.rotation.max_size;
        let before = self.size.saturating_add(waiting as u64);
        // A file without a record is not put aside, however small the limit.
        limit == 0 || before == 0 || before.saturating_add(record as u64) <= limit
    }

    /// Writes whole records, or nothing.
    pub fn write(&mut self, records: &[u8]) {
        let mut rest = records;
        while !rest.is_empty() {
            match rustix::io::write(&self.file, rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(_) => {
                    // What was written of them goes: a reader would stumble over it.
                    let _ = rustix::fs::ftruncate(&self.file, self.size);
                    return;
                }
            }
        }
        self.size = self.size.saturating_add(records.len() as u64);
    }

    /// Puts the current file aside as `.1`, the older ones one further, the oldest away, and begins
    /// a new one. Readers that have it open can read on.
    pub fn put_aside(&mut self) {
        let kept = self.rotation.max_files.max(1) - 1;
        let mut count = 0;
        while count < kept && self.exists(count + 1) {
            count += 1;
        }
        // `count` files are there; with all places taken the last one is replaced.
        for number in (1..=count.min(kept.saturating_sub(1))).rev() {
            self.rename(&name(number), &name(number + 1));
        }
        if kept == 0 {
            let _ = rustix::fs::unlinkat(&self.directory, LOG, AtFlags::empty());
        } else {
            self.rename(LOG, &name(1));
        }
        // With no new file the old one, under its new name, is used on: nothing is lost, and the
        // next record tries again.
        if let Ok(file) = open(&self.directory, OFlags::TRUNC) {
            self.file = file;
            self.size = 0;
        }
    }

    fn exists(&self, number: u32) -> bool {
        rustix::fs::statat(&self.directory, name(number), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    fn rename(&self, from: &str, to: &str) {
        // A file that somebody took away leaves a gap, which the next rotation closes.
        let _ = rustix::fs::renameat(&self.directory, from, &self.directory, to);
    }
}

fn name(number: u32) -> String {
    let mut digits = [0; 10];
    let (mut left, mut text) = (number, String::from(LOG));
    let mut count = 0;
    for digit in &mut digits {
        *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
        count += 1;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    text.push('.');
    text.extend(digits.iter().take(count).rev().map(|digit| char::from(*digit)));
    text
}

fn open(directory: impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags
        | OFlags::CREATE
        | OFlags::APPEND
        | OFlags::RDWR
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::CLOEXEC;
    let owner = Mode::RUSR | Mode::WUSR | Mode::RGRP;
    let file = rustix::fs::openat(directory, LOG, flags, owner)?;
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    // A FIFO would block, a device do anything.
    if kind.is_file() { Ok(file) } else { Err(Errno::INVAL) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::Directory;

    fn contents(directory: &Directory) -> Vec<String> {
        let read = |name: String| std::fs::read_to_string(directory.path.join(name)).ok();
        let rest = (1..).map_while(|number| read(name(number)));
        read(LOG.to_owned()).into_iter().chain(rest).collect()
    }

    fn filled(directory: &Directory, max_files: u32) {
        let rotation = Rotation { max_size: 4, max_files };
        let mut log = LogFile::open(directory.open(), rotation).unwrap();
        for record in ["1\n", "2\n", "3\n", "4\n", "5\n", "6\n", "7\n"] {
            if !log.has_room(0, record.len()) {
                log.put_aside();
            }
            log.write(record.as_bytes());
        }
    }

    #[test]
    fn files_are_put_aside_and_the_oldest_go() {
        for (max_files, wanted) in [
            (1, vec!["7\n"]),
            (2, vec!["7\n", "5\n6\n"]),
            (3, vec!["7\n", "5\n6\n", "3\n4\n"]),
            (9, vec!["7\n", "5\n6\n", "3\n4\n", "1\n2\n"]),
        ] {
            let directory = Directory::new(&format!("rotate-{max_files}"));
            filled(&directory, max_files);
            assert_eq!(contents(&directory), wanted, "{max_files}");
        }
    }

    #[test]
    fn a_large_number_of_files_costs_no_more_than_those_that_are_there() {
        let directory = Directory::new("rotate-many");
        filled(&directory, u32::MAX);
        assert_eq!(contents(&directory).len(), 4);
    }

    #[test]
    fn a_log_goes_on_where_it_ended_and_a_torn_record_is_ended() {
        let directory = Directory::new("torn");
        let path = directory.path.join(LOG);
        let rotation = Rotation { max_size: 100, max_files: 2 };
        std::fs::write(&path, "whole\n").unwrap();
        LogFile::open(directory.open(), rotation).unwrap().write(b"next\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nnext\n");
        std::fs::write(&path, "{\"lo").unwrap();
        LogFile::open(directory.open(), rotation).unwrap().write(b"next\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"lo\nnext\n");
    }

    #[test]
    fn a_link_or_a_fifo_in_its_place_is_refused() {
        let rotation = Rotation { max_size: 0, max_files: 1 };
        let directory = Directory::new("link");
        let path = directory.path.join(LOG);
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        LogFile::open(directory.open(), rotation).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        LogFile::open(directory.open(), rotation).unwrap_err();
    }

    #[test]
    fn names_are_numbered() {
        assert_eq!(name(1), "console.log.1");
        assert_eq!(name(1203), "console.log.1203");
        assert_eq!(name(u32::MAX), "console.log.4294967295");
    }
}
