//! Reading records forwards, from one file to the next.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use isula_core::ports::LogRecord;

use super::files::LogFile;
use super::line::Format;

/// Bytes that are read together.
const PIECE: usize = 64 << 10;
/// A longer line is no record: 16 KiB of which each byte is escaped make 96 KiB.
const LONGEST: usize = 256 << 10;

/// Where a log is read.
#[derive(Debug)]
pub struct Reader {
    /// The current file.
    log: PathBuf,
    format: Format,
    file: Option<LogFile>,
    place: u64,
    /// The begin of a line whose end is not read yet.
    partial: Vec<u8>,
    /// The line is too long: it is skipped.
    skipping: bool,
    /// The file was put aside before it was read to its end last time.
    aside: bool,
}

/// How far reading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There may be more.
    Some,
    /// This was all there is now.
    UpToDate,
}

impl Reader {
    /// Begins with the oldest record, or with the last ones.
    pub fn open((log, format): (&Path, Format), tail: Option<u64>) -> io::Result<Self> {
        let log = match (format, log.parent(), log.file_name()) {
            // The data root is the operator's, links in its path are as well.
            (Format::Json, Some(bundle), Some(name)) => bundle.canonicalize()?.join(name),
            _ => log.to_owned(),
        };
        let mut files = LogFile::all(&log)?;
        let (mut place, mut at) = (0, files.len().checked_sub(1));
        if let Some(mut wanted) = tail {
            for (index, file) in files.iter().enumerate() {
                at = Some(index);
                match file.last_lines(wanted)? {
                    Ok(begin) => {
                        place = begin;
                        break;
                    }
                    Err(missing) => wanted = missing,
                }
            }
        }
        Ok(Self {
            log,
            format,
            file: at.map(|index| files.swap_remove(index)),
            place,
            partial: Vec::new(),
            skipping: false,
            aside: false,
        })
    }

    /// Reads the next piece.
    pub fn fill(&mut self, records: &mut VecDeque<LogRecord>) -> io::Result<Progress> {
        let Some(file) = &self.file else {
            self.file = LogFile::all(&self.log)?.pop();
            return Ok(if self.file.is_some() { Progress::Some } else { Progress::UpToDate });
        };
        let mut piece = vec![0; PIECE];
        let read = file.read_at(&mut piece, self.place)?;
        if read == 0 {
            return self.at_end();
        }
        self.place += read as u64;
        self.take(piece.get(..read).unwrap_or_default(), records);
        Ok(Progress::Some)
    }

    /// The end of a file is that of the log only if the file is still the current one.
    fn at_end(&mut self) -> io::Result<Progress> {
        let Some(file) = &self.file else { return Ok(Progress::UpToDate) };
        if file.length()? < self.place {
            // Somebody has emptied it.
            (self.place, self.partial) = (0, Vec::new());
            return Ok(Progress::Some);
        }
        if file.is_current(&self.log) {
            return Ok(Progress::UpToDate);
        }
        if !self.aside {
            // It got its last record before it was put aside, and that may have been just now.
            self.aside = true;
            return Ok(Progress::Some);
        }
        match file.successor(&self.log)? {
            None => Ok(Progress::UpToDate),
            Some(next) => {
                (self.file, self.place, self.aside) = (Some(next), 0, false);
                // The part of a line that a writer left does not go on in another file.
                (self.partial, self.skipping) = (Vec::new(), false);
                Ok(Progress::Some)
            }
        }
    }

    fn take(&mut self, piece: &[u8], records: &mut VecDeque<LogRecord>) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let ended = part.ends_with(b"\n");
            if self.skipping {
                self.skipping = !ended;
            } else if ended && self.partial.is_empty() {
                records.extend(self.format.parse(part));
            } else {
                self.partial.extend_from_slice(part);
                if ended {
                    let line = std::mem::take(&mut self.partial);
                    records.extend(self.format.parse(&line));
                } else if self.partial.len() > LONGEST {
                    (self.partial, self.skipping) = (Vec::new(), true);
                }
            }
        }
    }
}
