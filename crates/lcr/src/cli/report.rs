//! What went wrong, told to a person and to the engine that reads the log file.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use isula_sys::{clock, errno};
use lcr::StartError;

use super::LogFormat;

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    text: String,
    status: u8,
}

impl Failure {
    /// Anything that a sentence says.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), status: 1 }
    }

    /// An error of the system while doing something.
    pub(super) fn io(action: impl fmt::Display, error: impl Into<io::Error>) -> Self {
        Self::text(format!("cannot {action}: {}", errno::describe(&error.into())))
    }

    /// An error of the system with a file.
    pub(super) fn file(action: &str, path: &Path, error: impl Into<io::Error>) -> Self {
        Self::io(format!("{action} {}", path.display()), error)
    }

    /// A container that could not be started.
    pub(super) fn start(id: &str, error: &StartError) -> Self {
        Self { text: format!("{id}: {error}"), status: error.exit_code() }
    }

    /// What the command exits with.
    pub(super) const fn status(&self) -> u8 {
        self.status
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl From<lcr::Error> for Failure {
    fn from(error: lcr::Error) -> Self {
        Self::text(error.to_string())
    }
}

impl From<lcr::cgroup::CgroupError> for Failure {
    fn from(error: lcr::cgroup::CgroupError) -> Self {
        Self::text(error.to_string())
    }
}

/// The log file, if there is one.
#[derive(Debug)]
pub(super) struct Report {
    file: Option<std::fs::File>,
    format: LogFormat,
}

impl Report {
    /// Opens the file that `--log` names.
    pub(super) fn open(path: Option<PathBuf>, format: LogFormat) -> Result<Self, Failure> {
        let open = |path: PathBuf| {
            let file = OpenOptions::new().create(true).append(true).open(&path);
            file.map_err(|error| Failure::file("open the log", &path, error))
        };
        Ok(Self { file: path.map(open).transpose()?, format })
    }

    /// Something that failed.
    pub(super) fn error(&self, text: &str) {
        self.write("error", text);
    }

    /// Something that could not be done in full; it is shown as well.
    pub(super) fn warning(&self, text: &str) {
        eprintln!("lcr: warning: {text}");
        self.write("warning", text);
    }

    fn write(&self, level: &str, text: &str) {
        let Some(mut file) = self.file.as_ref() else { return };
        let time = clock::rfc3339(clock::now());
        let line = match self.format {
            LogFormat::Text => format!("time=\"{time}\" level={level} msg={text:?}\n"),
            LogFormat::Json => {
                let entry = serde_json::json!({"level": level, "msg": text, "time": time});
                format!("{entry}\n")
            }
        };
        // A log that cannot be written must not stop what it tells about.
        let _ = file.write_all(line.as_bytes());
    }
}
