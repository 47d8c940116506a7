//! `--cidfile`: a file for the container's id.

use std::fs::{File, OpenOptions};
use std::io::Write;

use crate::error::Failure;

/// The file, which must not have been there. It goes away again if no id is ever written.
#[derive(Debug)]
pub struct CidFile {
    path: String,
    file: File,
    written: bool,
}

impl CidFile {
    /// Makes the file.
    ///
    /// # Errors
    /// It exists, or can't be made.
    pub fn create(path: &str) -> Result<Self, Failure> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        match file {
            Ok(file) => Ok(Self { path: path.to_owned(), file, written: false }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Failure::local(format!(
                    "container ID file found, make sure the other container isn't running or \
                     delete {path}"
                )))
            }
            Err(error) => {
                Err(Failure::local(format!("cannot create the container ID file {path}: {error}")))
            }
        }
    }

    /// Writes the id.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write(&mut self, id: &str) -> Result<(), Failure> {
        self.file.write_all(id.as_bytes()).map_err(|error| {
            let path = &self.path;
            Failure::local(format!("cannot write the container ID file {path}: {error}"))
        })?;
        self.written = true;
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if !self.written {
            // Someone else may have removed it already.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
