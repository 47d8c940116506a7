//! Starting programs. The standard library lets them inherit the signals that are blocked here;
//! they must find none blocked.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use isula_sys::process::{self, Spawn, Spawned};
use isula_sys::signal;

/// Starts a program in a copy of this process, which has one thread. `prepare` is called in the
/// copy, while signals are still blocked; `failed` when the program can't be run, and its result is
/// the copy's exit status.
///
/// # Errors
/// Those of `clone3(2)`.
pub fn spawn(
    mut command: Command,
    prepare: impl FnOnce(),
    failed: impl FnOnce(&io::Error) -> u8,
) -> io::Result<Spawned> {
    process::spawn(Spawn::default(), || {
        prepare();
        let error = match signal::reset_all() {
            Ok(()) => command.exec(),
            Err(error) => error,
        };
        failed(&error)
    })
}
