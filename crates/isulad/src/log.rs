//! The daemon's own log: lines on standard error, or a file that is rotated.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Mutex,
};

use tracing_subscriber::fmt::{format::Writer, time::FormatTime};

use crate::config::{Log, Sink};

/// Sends what is traced from now on where the configuration says.
///
/// # Errors
/// The file can't be opened.
pub fn start(log: &Log) -> io::Result<()> {
    let builder =
        tracing_subscriber::fmt().with_max_level(log.level).with_target(false).with_timer(Clock);
    match &log.sink {
        Sink::Stderr => builder.with_writer(io::stderr).init(),
        Sink::File { path, mode, max_size, max_files } => {
            let (max_size, keep) = (*max_size, *max_files);
            let file = Rotated::open(path, *mode, (max_size, keep))?;
            builder.with_writer(Mutex::new(file)).init();
        }
    }
    Ok(())
}

/// RFC 3339, microseconds, UTC.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{:.6}", jiff::Timestamp::now())
    }
}

/// A file that is renamed to `.1`, `.2` and so on when it has grown.
struct Rotated {
    path: PathBuf,
    mode: u32,
    file: File,
    size: u64,
    max_size: u64,
    keep: u32,
}

impl Rotated {
    fn open(path: &Path, mode: u32, (max_size, keep): (u64, u32)) -> io::Result<Self> {
        let file = append(path, mode)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), mode, file, size, max_size, keep })
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            let from = if number == 1 { self.path.clone() } else { self.numbered(number - 1) };
            match fs::rename(from, self.numbered(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.keep <= 1 {
            fs::remove_file(&self.path)?;
        }
        self.file = append(&self.path, self.mode)?;
        self.size = 0;
        Ok(())
    }
}

fn append(path: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(mode).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(file)
}

impl Write for Rotated {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.max_size > 0 && self.size > 0 && self.size.saturating_add(length) > self.max_size {
            self.rotate()?;
        }
        let written = self.file.write(line)?;
        self.size += u64::try_from(written).unwrap_or(0);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::Rotated;
    use std::{fs, io::Write, os::unix::fs::PermissionsExt};

    #[test]
    fn the_file_is_rotated_and_only_so_many_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("isulad.log");
        let mut log = Rotated::open(&path, 0o640, (10, 3)).unwrap();
        for line in ["one\n", "two\n", "three\n", "four\n", "a long line\n", "six\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(read("isulad.log"), "six\n");
        assert_eq!(read("isulad.log.1"), "a long line\n");
        assert_eq!(read("isulad.log.2"), "four\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_single_file_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("isulad.log");
        let mut log = Rotated::open(&path, 0o600, (4, 1)).unwrap();
        log.write_all(b"one\n").unwrap();
        log.write_all(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
