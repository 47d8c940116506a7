//! The log of a container: Docker's json-file lines in files that are put aside when they are full,
//! or CRI's lines in one file.

mod cri;
mod file;
mod record;

use std::os::fd::OwnedFd;

use isula_sys::clock::Timespec;

use crate::protocol::{CriLog, Rotation, stream::Output};
use cri::{CriFile, Tag};
use file::LogFile;

/// Bytes of a line in one record at most; a longer line becomes several, of which only the last
/// ends with a line end (Docker's `defaultBufSize`).
const LINE_LIMIT: usize = 16 << 10;
/// Encoded bytes that are gathered before they are written.
const BATCH: usize = 16 << 10;

/// Writes the log of a container.
///
/// It never fails: what can't be written, because the disk is full, is lost, and the container
/// goes on. No part of a record is left in the file then.
#[derive(Debug)]
pub struct Log {
    file: Format,
    /// Lines that have not ended yet.
    partial: [Vec<u8>; 2],
    encoded: Vec<u8>,
}

/// How records are written, and where.
#[derive(Debug)]
enum Format {
    Json(LogFile),
    Cri(CriFile),
}

impl Log {
    /// Continues the log in CRI's format, or begins it.
    ///
    /// # Errors
    /// Those of `openat2(2)`; a symbolic link on the way is refused.
    pub fn open_cri(log: CriLog) -> std::io::Result<Self> {
        let file = Format::Cri(CriFile::open(log)?);
        Ok(Self { file, partial: [Vec::new(), Vec::new()], encoded: Vec::new() })
    }

    /// Opens the file of a log in CRI's format again; there is nothing to do for the other.
    ///
    /// # Errors
    /// As [`Log::open_cri`]; it goes on in the file it has.
    pub fn reopen(&mut self) -> std::io::Result<()> {
        match &mut self.file {
            Format::Json(_) => Ok(()),
            Format::Cri(file) => file.reopen(),
        }
    }

    /// Continues the log in a directory, or begins it.
    ///
    /// # Errors
    /// Those of `openat(2)`; a symbolic link in the place of the file is refused.
    pub fn open(directory: OwnedFd, rotation: Rotation) -> std::io::Result<Self> {
        Ok(Self {
            file: Format::Json(LogFile::open(directory, rotation)?),
            partial: [Vec::new(), Vec::new()],
            encoded: Vec::new(),
        })
    }

    /// Adds output that was read at `time`. A line that has not ended is kept back.
    pub fn write(&mut self, output: Output, bytes: &[u8], time: Timespec) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let partial = self.partial_of(output);
            let room = LINE_LIMIT.saturating_sub(partial.len());
            let window = rest.get(..room).unwrap_or(rest);
            let (length, complete) = match window.iter().position(|byte| *byte == b'\n') {
                Some(position) => (position + 1, true),
                None if rest.len() >= room => (record::whole_characters(window), true),
                None => (rest.len(), false),
            };
            let (line, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = after;
            if complete && partial.is_empty() {
                let tag = if line.ends_with(b"\n") { Tag::Full } else { Tag::Partial };
                self.record(output, (line, tag), time);
            } else {
                partial.extend_from_slice(line);
                if complete {
                    let tag = if line.ends_with(b"\n") { Tag::Full } else { Tag::Partial };
                    self.finish_line(output, time, tag);
                }
            }
        }
        self.flush();
    }

    /// Writes the line that has not ended, if any: nothing will come after it.
    pub fn finish(&mut self, output: Output, time: Timespec) {
        if !self.partial_of(output).is_empty() {
            self.finish_line(output, time, Tag::Full);
            self.flush();
        }
    }

    fn partial_of(&mut self, output: Output) -> &mut Vec<u8> {
        let [stdout, stderr] = &mut self.partial;
        match output {
            Output::Stdout => stdout,
            Output::Stderr => stderr,
        }
    }

    fn finish_line(&mut self, output: Output, time: Timespec, tag: Tag) {
        // Taken, so that an idle container keeps no buffer.
        let line = std::mem::take(self.partial_of(output));
        self.record(output, (&line, tag), time);
    }

    fn record(&mut self, output: Output, line: (&[u8], Tag), time: Timespec) {
        let before = self.encoded.len();
        match &mut self.file {
            Format::Cri(_) => cri::encode(&mut self.encoded, output, line, time),
            Format::Json(file) => {
                record::encode(&mut self.encoded, output, line.0, time);
                let length = self.encoded.len().saturating_sub(before);
                if !file.has_room(before, length) {
                    let (earlier, _) = self.encoded.split_at_checked(before).unwrap_or_default();
                    file.write(earlier);
                    self.encoded.drain(..before);
                    file.put_aside();
                }
            }
        }
        if self.encoded.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        match &mut self.file {
            Format::Json(file) => file.write(&self.encoded),
            Format::Cri(file) => file.write(&self.encoded),
        }
        self.encoded.clear();
    }
}

#[cfg(test)]
pub(crate) mod tests;
