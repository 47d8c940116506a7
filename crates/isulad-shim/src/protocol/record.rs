//! The exit record: what a shim leaves in the bundle directory before it tells anyone of the end.

use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;

use isula_sys::clock::rfc3339;
use isula_sys::files::{Durability, write_atomic_at};
use rustix::fs::Mode;
use serde::{Deserialize, Serialize};

use super::{EXIT, Ended, Started};

/// How a run of a container ended, as it is in `exit.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// The init process.
    pub pid: i32,
    /// Its start time, proc_pid_stat(5) field 22.
    pub pid_start: u64,
    /// Its exit status, 128+n when signal n ended it.
    pub exit_code: i32,
    /// The kernel killed a process of the container for lack of memory.
    pub oom_killed: bool,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// When it ended, RFC 3339.
    pub finished_at: String,
}

impl ExitRecord {
    /// The record of an end.
    #[must_use]
    pub fn new(started: &Started, ended: &Ended) -> Self {
        Self {
            pid: started.pid,
            pid_start: started.pid_start,
            exit_code: ended.code,
            oom_killed: ended.oom_killed,
            started_at: rfc3339(started.at.into()),
            finished_at: rfc3339(ended.at.into()),
        }
    }

    /// Writes it into a bundle directory, whole or not at all.
    ///
    /// # Errors
    /// Those of writing a file; a full disk among them.
    pub fn write(&self, bundle: BorrowedFd<'_>, durability: Durability) -> io::Result<()> {
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
        let text = self.to_json();
        write_atomic_at(bundle, OsStr::new(EXIT), text.as_bytes(), (mode, durability))
    }

    /// As JSON. Nothing in it needs escaping, and so the shim needs no JSON library.
    #[must_use]
    pub fn to_json(&self) -> String {
        let Self { pid, pid_start, exit_code, oom_killed, started_at, finished_at } = self;
        format!(
            "{{\"pid\":{pid},\"pid_start\":{pid_start},\"exit_code\":{exit_code},\
             \"oom_killed\":{oom_killed},\"started_at\":\"{started_at}\",\
             \"finished_at\":\"{finished_at}\"}}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Time;

    #[test]
    fn a_record_is_one_line_of_json() {
        let at = Time { seconds: 1_795_452_787, nanoseconds: 5 };
        let started = Started { pid: 12, pid_start: 345, at, warnings: Vec::new() };
        let ended = Ended { code: 137, oom_killed: true, at: Time { seconds: 0, ..at } };
        assert_eq!(
            ExitRecord::new(&started, &ended).to_json(),
            "{\"pid\":12,\"pid_start\":345,\"exit_code\":137,\"oom_killed\":true,\
             \"started_at\":\"2026-11-23T16:53:07.000000005Z\",\
             \"finished_at\":\"1970-01-01T00:00:00.000000005Z\"}\n"
        );
    }
}
