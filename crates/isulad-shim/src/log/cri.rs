//! The file of a log in CRI's format: `TIME STREAM P|F TEXT`. Kubelet puts it aside and has it opened
//! again; here it only grows.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use isula_sys::clock::{Timespec, write_rfc3339};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::protocol::{CriLog, stream::Output};

/// The current file.
#[derive(Debug)]
pub struct CriFile {
    log: CriLog,
    file: OwnedFd,
}

impl CriFile {
    /// Opens the file, made if it is missing. No link is followed on the whole way: those of the
    /// operator's were resolved when the sandbox was made, and a container may make others.
    pub fn open(log: CriLog) -> io::Result<Self> {
        let file = open(&log)?;
        Ok(Self { log, file })
    }

    /// Opens the file of that name, which may be another one by now.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.log)?;
        Ok(())
    }

    /// Writes whole records, or nothing.
    pub fn write(&mut self, records: &[u8]) {
        let mut rest = records;
        while !rest.is_empty() {
            match rustix::io::write(&self.file, rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(_) => return self.take_back(records.len().saturating_sub(rest.len())),
            }
        }
    }

    /// A part of a record would be one line with what follows. Nobody else writes to the file.
    fn take_back(&self, written: usize) {
        let Ok(found) = rustix::fs::fstat(&self.file) else { return };
        let size = u64::try_from(found.st_size).unwrap_or(0);
        let _ = rustix::fs::ftruncate(&self.file, size.saturating_sub(written as u64));
    }
}

fn open(log: &CriLog) -> io::Result<OwnedFd> {
    let Some(directory) = log.directory.strip_prefix('/') else {
        return Err(Errno::INVAL.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty())?;
    let mut directory = make_directories(&root, directory)?;
    if let Some((parents, _)) = log.path.rsplit_once('/') {
        directory = make_directories(&directory, parents)?;
    }
    let name = log.path.rsplit('/').next().unwrap_or_default();
    let flags = OFlags::CREATE
        | OFlags::APPEND
        | OFlags::WRONLY
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let file = open_beneath(&directory, name, flags)?;
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    // A FIFO would block, a device do anything.
    if kind.is_file() { Ok(file) } else { Err(Errno::INVAL.into()) }
}

/// Opens a directory, each part of whose path is made where it is missing. A container may change what
/// is there at any time: nothing of it is walked twice, and no link is followed.
fn make_directories(beneath: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut here = isula_sys::process::duplicate(beneath)?;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        here = match open_beneath(&here, part, flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match rustix::fs::mkdirat(&here, part, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => open_beneath(&here, part, flags)?,
                    Err(error) => return Err(error.into()),
                }
            }
            opened => opened?,
        };
    }
    Ok(here)
}

fn open_beneath(directory: impl AsFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mode = if flags.contains(OFlags::CREATE) { 0o640 } else { 0 };
    loop {
        let mode = Mode::from_raw_mode(mode);
        match rustix::fs::openat2(&directory, path, flags, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Whether a record ends its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// More of the line follows.
    Partial,
    /// The line ends here.
    Full,
}

/// Appends a record.
pub fn encode(out: &mut Vec<u8>, output: Output, line: (&[u8], Tag), time: Timespec) {
    let (text, tag) = line;
    out.extend_from_slice(&write_rfc3339(time));
    out.extend_from_slice(match output {
        Output::Stdout => b" stdout ",
        Output::Stderr => b" stderr ",
    });
    out.extend_from_slice(match tag {
        Tag::Partial => b"P ",
        Tag::Full => b"F ",
    });
    out.extend_from_slice(text.strip_suffix(b"\n").unwrap_or(text));
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Log, tests::Directory};

    const TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 1 };

    fn log(directory: &Directory, path: &str) -> io::Result<Log> {
        let directory = directory.path.to_str().unwrap().to_owned();
        Log::open_cri(CriLog { directory, path: path.to_owned() })
    }

    #[test]
    fn lines_are_full_and_parts_of_long_ones_partial() {
        let directory = Directory::new("cri");
        let mut log = log(&directory, "web/0.log").unwrap();
        log.write(Output::Stdout, b"one\n\ntw", TIME);
        log.write(Output::Stderr, &[b'x'; 20_000], TIME);
        log.write(Output::Stderr, b"\n", TIME);
        log.finish(Output::Stdout, TIME);
        let text = std::fs::read_to_string(directory.path.join("web/0.log")).unwrap();
        let short: Vec<&str> = text.lines().map(|line| line.get(..43).unwrap_or(line)).collect();
        let at = "1970-01-01T00:00:00.000000001Z";
        let wanted = [
            format!("{at} stdout F one"),
            format!("{at} stdout F "),
            format!("{at} stderr P xxx"),
            format!("{at} stderr F xxx"),
            format!("{at} stdout F tw"),
        ];
        assert_eq!(short, wanted);
        assert_eq!(text.matches('x').count(), 20_000);
    }

    #[test]
    fn a_log_that_was_put_aside_goes_on_in_a_new_file() {
        let directory = Directory::new("cri-reopen");
        let mut log = log(&directory, "0.log").unwrap();
        log.write(Output::Stdout, b"old\n", TIME);
        std::fs::rename(directory.path.join("0.log"), directory.path.join("aside")).unwrap();
        log.write(Output::Stdout, b"still old\n", TIME);
        log.reopen().unwrap();
        log.write(Output::Stdout, b"new\n", TIME);
        let read = |name: &str| std::fs::read_to_string(directory.path.join(name)).unwrap();
        assert_eq!(read("aside").lines().count(), 2);
        assert!(read("0.log").ends_with(" F new\n"));
    }

    #[test]
    fn links_fifos_and_ways_out_are_refused() {
        let directory = Directory::new("cri-links");
        let at = |name: &str| directory.path.join(name);
        std::os::unix::fs::symlink("/etc/passwd", at("link")).unwrap();
        std::os::unix::fs::symlink("/etc", at("away")).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), fifo, mode, 0).unwrap();
        for path in ["link", "away/x", "fifo", "../x", "web/../../x"] {
            assert!(log(&directory, path).is_err(), "{path}");
        }
        assert!(!std::path::Path::new("/etc/x").exists());
        // Nor is one in the place of the log directory, or above it.
        std::fs::create_dir(at("real")).unwrap();
        std::os::unix::fs::symlink(at("real"), at("alias")).unwrap();
        for (place, good) in [("real", true), ("alias", false), ("alias/sub", false)] {
            let directory = at(place).to_str().unwrap().to_owned();
            let opened = Log::open_cri(CriLog { directory, path: "0.log".to_owned() });
            assert_eq!(opened.is_ok(), good, "{place}");
        }
        assert_eq!(std::fs::read_dir(at("real")).unwrap().count(), 1);
    }
}
