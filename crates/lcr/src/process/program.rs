//! The program of a process: found in its `PATH`, then run.

use std::ffi::CString;

use isula_sys::exec::{Strings, execve};
use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;

use crate::error::{OrFail as _, StartError, Step};
use crate::plan::ProcessPlan;

/// Searched when the environment has no `PATH`, as Docker's default.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program with its arguments and environment.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    search: String,
    path: CString,
    arguments: Strings,
    environment: Strings,
}

impl Program {
    /// From the plan, with one more entry of the environment; nothing is looked up yet.
    pub(crate) fn new(process: &ProcessPlan, home: Option<String>) -> Result<Self, StartError> {
        let name = process.args.first().cloned().unwrap_or_default();
        let path = process.env.iter().rev().find_map(|entry| entry.strip_prefix("PATH="));
        Ok(Self {
            search: path.unwrap_or(DEFAULT_PATH).to_owned(),
            path: CString::default(),
            arguments: Strings::new(&process.args).or_fail(Step::Exec, &name)?,
            environment: Strings::new(process.env.iter().chain(&home))
                .or_fail(Step::Exec, &name)?,
            name,
        })
    }

    /// As it was called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Finds the file, as the user that this process is by now.
    pub(crate) fn find(mut self) -> Result<Self, StartError> {
        let refuse = |errno| StartError::new(Step::Exec, errno, self.name.as_str());
        if self.name.is_empty() {
            return Err(refuse(Errno::NOENT));
        }
        if self.name.contains('/') {
            check(&self.name).map_err(refuse)?;
            self.path = CString::new(self.name.as_str()).map_err(|_| refuse(Errno::INVAL))?;
            return Ok(self);
        }
        let mut error = Errno::NOENT;
        // An empty or relative entry means the working directory, which is the container's.
        for directory in self.search.split(':').filter(|directory| directory.starts_with('/')) {
            let path = format!("{directory}/{}", self.name);
            match check(&path) {
                Ok(()) => {
                    self.path = CString::new(path).map_err(|_| refuse(Errno::INVAL))?;
                    return Ok(self);
                }
                // It is there, but not for this user: that says more than that it is not found.
                Err(Errno::ACCESS) => error = Errno::ACCESS,
                Err(_) => {}
            }
        }
        Err(refuse(error))
    }

    /// Replaces this process; returns only to say why it could not.
    pub(crate) fn execute(&self) -> StartError {
        let error = execve(&self.path, &self.arguments, &self.environment);
        StartError::new(Step::Exec, error, self.name.as_str())
    }
}

/// Whether this user may execute the file.
fn check(path: &str) -> Result<(), Errno> {
    let found = rustix::fs::stat(path)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Errno::ISDIR),
        _ => return Err(Errno::ACCESS),
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str, path: &str) -> Result<Program, StartError> {
        let process = ProcessPlan {
            args: vec![name.to_owned()],
            env: vec!["PATH=/ignored".to_owned(), format!("PATH={path}")],
            ..ProcessPlan::default()
        };
        Program::new(&process, None)?.find()
    }

    #[test]
    fn a_program_is_found_in_the_last_path_of_the_environment() {
        let found = program("sh", "/nonexistent::relative:/bin").unwrap();
        assert_eq!(found.path.to_str(), Ok("/bin/sh"));
        assert_eq!(program("/bin/sh", "").unwrap().path.to_str(), Ok("/bin/sh"));
    }

    #[test]
    fn what_cannot_run_is_told_apart_from_what_is_not_there() {
        for (name, path, code) in [
            ("no-such-program", "/bin:/sbin", 127),
            ("", "/bin", 127),
            ("/no/such/program", "", 127),
            ("/etc/passwd", "", 126),
            ("passwd", "/etc", 126),
            ("/etc", "", 126),
            ("/dev/null", "", 126),
        ] {
            assert_eq!(program(name, path).unwrap_err().exit_code(), code, "{name}");
        }
    }
}
