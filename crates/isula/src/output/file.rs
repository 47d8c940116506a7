//! Where an archive goes: a file that appears when it is whole, a directory, or stdout.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::archive::Unpacker;
use crate::error::Failure;

/// The place.
pub enum Target {
    /// A new file beside the one that is wanted, and whether it was completed.
    File {
        /// Open.
        file: File,
        /// Its name until then.
        part: PathBuf,
        /// Its name at last.
        path: PathBuf,
        /// The rename was made.
        done: bool,
    },
    /// A pipe or a device that has a name.
    Special(File),
    /// A directory of an OCI layout.
    Directory(Unpacker, PathBuf),
    /// Stdout.
    Stdout,
}

impl Target {
    /// A file, or stdout without one, which must then be no terminal.
    ///
    /// # Errors
    /// The file can't be made; stdout is a terminal.
    pub fn file(path: Option<&str>) -> Result<Self, Failure> {
        let Some(text) = path else {
            if io::stdout().is_terminal() {
                return Err(Failure::local(
                    "cowardly refusing to write an archive to a terminal: use -o or redirect",
                ));
            }
            return Ok(Self::Stdout);
        };
        let failed = |error| Failure::local(format!("cannot write {text}: {error}"));
        let path = PathBuf::from(text);
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() => {
                return Err(failed(io::ErrorKind::IsADirectory.into()));
            }
            Ok(found) if !found.is_file() => {
                let file = OpenOptions::new().write(true).open(&path);
                return file.map(Self::Special).map_err(failed);
            }
            _ => {}
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let part = path.with_file_name(name);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&part).map_err(failed)?;
        Ok(Self::File { file, part, path, done: false })
    }

    /// A directory.
    ///
    /// # Errors
    /// It can't be made, or is not empty.
    pub fn directory(path: &str) -> Result<Self, Failure> {
        let unpacker = Unpacker::new(Path::new(path));
        let failed = |error| Failure::local(format!("cannot write {path}: {error}"));
        Ok(Self::Directory(unpacker.map_err(failed)?, PathBuf::from(path)))
    }

    /// Takes bytes.
    ///
    /// # Errors
    /// They can't be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let (written, name) = match self {
            Self::File { file, path, .. } => (file.write_all(bytes), path.display().to_string()),
            Self::Special(file) => (file.write_all(bytes), "the output".to_owned()),
            Self::Directory(unpacker, path) => {
                (unpacker.write_all(bytes), path.display().to_string())
            }
            Self::Stdout => return Ok(io::stdout().lock().write_all(bytes)?),
        };
        written.map_err(|error| Failure::local(format!("cannot write {name}: {error}")))
    }

    /// Everything was written: a file gets its name.
    ///
    /// # Errors
    /// It can't.
    pub fn finish(mut self) -> Result<(), Failure> {
        match &mut self {
            Self::File { part, path, done, .. } => {
                let failed =
                    |error| Failure::local(format!("cannot write {}: {error}", path.display()));
                fs::rename(&*part, &*path).map_err(failed)?;
                *done = true;
                Ok(())
            }
            Self::Stdout => Ok(io::stdout().lock().flush()?),
            Self::Special(_) | Self::Directory(..) => Ok(()),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Self::File { part, done: false, .. } = self {
            // Half an archive is of no use; that it can't be removed either adds nothing.
            let _ = fs::remove_file(part);
        }
    }
}
